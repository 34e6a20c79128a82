"""The candidate's pods as facts, and their audit once all of them are ready."""

import asyncio
from collections import OrderedDict
from dataclasses import replace
from datetime import datetime, timedelta

from lockstep.api.modeldeployment import ModelDeployment
from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.controller.ports import Object
from lockstep.gates.evidence import AuditFact, CandidatePods, PodFact
from lockstep.gates.readiness import effective_deadline, effective_requests
from lockstep.readiness.port import Auditor
from lockstep.readiness.probe import Prober
from lockstep.rollout.observed import Observed
from lockstep.rollout.pods import pod_fact
from lockstep.rollout.revision import Snapshot

_KEPT = 4096
_ASKED = 3
"""Pods that are asked why they are not ready: a refusal names one."""


class PodAudits:
    """Audits each pod once; a pod that could not be reached is asked again at the next look."""

    def __init__(self, auditor: Auditor, prober: Prober) -> None:
        self._auditor = auditor
        self._prober = prober
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
        now: datetime,
        input_example: bytes | None,
    ) -> CandidatePods:
        """Return the facts about the candidate's pods, audited as soon as they are all there and can't change any more.

        At their deadline those that are not ready are asked once why: after the refusal they are gone, with their logs.
        """
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
        elif now - since >= timedelta(seconds=effective_deadline(owner.spec.readiness, policy.spec.readiness)):
            facts = await self._asked(raw, facts, snapshot)
        return CandidatePods(wanted=wanted, since=since, pods=facts, audits=audits, refused=_refused(deployment))

    async def _asked(self, raw: list[Object], facts: tuple[PodFact, ...], snapshot: Snapshot) -> tuple[PodFact, ...]:
        addresses = {str(pod["metadata"]["name"]): str((pod.get("status") or {}).get("podIP") or "") for pod in raw}
        runs = [fact.name for fact in facts if not fact.ready and fact.image_id and not fact.waiting_reason]
        names = [name for name in runs if addresses[name]][:_ASKED]
        said = await asyncio.gather(*(self._prober.said(address=addresses[n], server=snapshot.server) for n in names))
        answers = dict(zip(names, said, strict=True))
        return tuple(replace(fact, said=answers.get(fact.name)) for fact in facts)

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


def _refused(deployment: Object) -> str | None:
    for condition in (deployment.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            return str(condition.get("message") or condition.get("reason"))
    return None
