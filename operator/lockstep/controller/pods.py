"""The candidate's pods as facts, and their audit once all of them are ready."""

import asyncio
from collections import OrderedDict
from datetime import datetime

from lockstep.api.modeldeployment import ModelDeployment
from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.controller.ports import Object
from lockstep.gates.evidence import AuditFact, CandidatePods, PodFact
from lockstep.gates.readiness import effective_requests
from lockstep.readiness.port import Auditor
from lockstep.rollout.observed import Observed
from lockstep.rollout.pods import pod_fact
from lockstep.rollout.revision import Snapshot

_KEPT = 4096


class PodAudits:
    """Audits each pod once; a pod that could not be reached is asked again at the next look."""

    def __init__(self, auditor: Auditor) -> None:
        self._auditor = auditor
        self._done: OrderedDict[str, AuditFact] = OrderedDict()

    async def candidate_pods(
        self,
        owner: ModelDeployment,
        policy: PromotionPolicy,
        observed: Observed,
        snapshot: Snapshot,
        *,
        wanted: int,
        since: datetime,
        input_example: bytes | None,
    ) -> CandidatePods:
        """Return the facts about the candidate's pods, audited as soon as they are all there and can't change any more."""
        raw = observed.pods_of(snapshot.revision)
        facts = tuple(pod_fact(pod, snapshot) for pod in raw)
        deployment = observed.deployments.get(snapshot.revision) or {}
        ready = [(pod, fact) for pod, fact in zip(raw, facts, strict=True) if fact.ready and not fact.tampered]
        audits: tuple[AuditFact, ...] = ()
        if len(ready) >= wanted and deployment.get("spec", {}).get("paused"):
            requests = effective_requests(owner.spec.readiness, policy.spec.readiness)
            audits = tuple(
                await asyncio.gather(*(self._audit(pod, snapshot, policy, requests, input_example) for pod, _ in ready))
            )
        return CandidatePods(wanted=wanted, since=since, pods=facts, audits=audits, quota=_quota(deployment))

    async def _audit(
        self, pod: Object, snapshot: Snapshot, policy: PromotionPolicy, requests: int, input_example: bytes | None
    ) -> AuditFact:
        uid = f"{pod['metadata']['uid']}-{requests}"
        known = self._done.get(uid)
        if known is not None:
            return known
        address = str((pod.get("status") or {}).get("podIP") or "")
        name = str(pod["metadata"]["name"])
        if not address:
            return AuditFact(name, passed=False, answered=0, failure="it has no address yet", unreachable=True)
        fact = await self._auditor.audit(
            pod=name,
            address=address,
            server=snapshot.server,
            input_example=input_example,
            requests=requests,
            timeout_seconds=float(policy.spec.readiness.timeout_seconds),
        )
        if not fact.unreachable:
            self._done[uid] = fact
            if len(self._done) > _KEPT:
                self._done.popitem(last=False)
        return fact


def ready_count(pods: tuple[PodFact, ...]) -> int:
    """Return how many pods are ready and what they were asked to be."""
    return sum(1 for pod in pods if pod.ready and not pod.tampered)


def _quota(deployment: Object) -> str | None:
    for condition in (deployment.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            return str(condition.get("message") or condition.get("reason"))
    return None
