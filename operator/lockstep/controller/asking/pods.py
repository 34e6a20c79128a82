"""The candidate's pods as facts, and their audits, which run beside the reconciliations once all pods are ready."""

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lockstep.bounded import Bounded
from lockstep.controller.asking.asking import Asking, audit_of
from lockstep.controller.asking.unready import UnreadyPods
from lockstep.controller.background import Background
from lockstep.controller.cluster.ports import Clock, Object
from lockstep.formats.canonical import sha256_of
from lockstep.gates.evidence import AuditFact, CandidatePods, PodFact
from lockstep.readiness.port import Audit, Auditor
from lockstep.rollout.observed.observed import Observed
from lockstep.rollout.observed.pods import pod_fact

_KEPT = 4096
_AT_ONCE = 16
"""Pods of one candidate that are asked at the same time."""
_AGAIN = 5.0
"""Seconds until a pod is asked again that could not be reached."""
_LEAST = 60.0
"""Seconds that all audits have, however near the deadline they begin: pods may be ready late, the operator have been away."""
_log = logging.getLogger(__name__)


@dataclass
class _Entry:
    """What is known of one pod."""

    fact: AuditFact | None = None
    at: float = 0.0
    running: bool = False

    def is_due(self, now: float) -> bool:
        """Return whether the pod is to be asked; what could not be reached stands until a later try has ended."""
        return not self.running and (self.fact is None or (self.fact.unreachable and now - self.at >= _AGAIN))


class PodAudits:
    """Audits each pod once, beside the reconciliations; a pod that could not be reached is asked again."""

    def __init__(self, auditor: Auditor, clock: Clock, chance: random.Random) -> None:
        self._auditor = auditor
        self._clock = clock
        self._chance = chance
        self._background = Background()
        self._unready = UnreadyPods(auditor, clock, self._background)
        self._entries: Bounded[tuple[str, ...], _Entry] = Bounded(_KEPT)
        self._ends: Bounded[tuple[str, ...], float] = Bounded(_KEPT)
        """When the audits of a candidate have to have ended."""

    def candidate_pods(self, asking: Asking, observed: Observed, *, wanted: int) -> CandidatePods:
        """Return the facts about the candidate's pods; audits begin as soon as all are there and can't change any more."""
        snapshot = asking.snapshot
        raw = observed.pods_of(snapshot.revision)
        facts = tuple(pod_fact(pod, snapshot) for pod in raw)
        deployment = observed.deployments.get(snapshot.revision) or {}
        ready = [pod for pod, fact in zip(raw, facts, strict=True) if fact.ready and not fact.tampered]
        unready = [pod for pod, fact in zip(raw, facts, strict=True) if not fact.ready and fact.image_id]
        audits: tuple[AuditFact, ...] = ()
        if len(ready) >= wanted and deployment.get("spec", {}).get("paused"):
            audits = self._audits(asking, ready)
        return CandidatePods(
            wanted=wanted,
            since=asking.since,
            pods=facts,
            audits=audits,
            refused=_creation_failure(deployment),
            unready=self._unready.answers(asking, unready),
        )

    async def stop(self) -> None:
        """End what still runs."""
        await self._background.stop()

    def _audits(self, asking: Asking, pods: Sequence[Object]) -> tuple[AuditFact, ...]:
        """Return what was found so far, and begin what is missing, in random order."""
        # By everything that an answer depends on: under another policy a pod is asked anew.
        example = sha256_of(asking.input_example) if asking.input_example is not None else ""
        question = (asking.policy.spec.hash, str(asking.requests), example)
        known = [(pod, self._entry(str(pod["metadata"]["uid"]), *question)) for pod in pods]
        about = (asking.owner.uid, asking.snapshot.revision)
        for pod, entry in self._chance.sample(known, len(known)):
            if entry.is_due(self._clock.monotonic()) and self._background.running(about) < _AT_ONCE:
                self._begin(asking, pod, entry, about)
        return tuple(entry.fact for _, entry in known if entry.fact is not None)

    def _entry(self, *key: str) -> _Entry:
        entry = self._entries.setdefault(key, _Entry())
        self._entries.move_to_end(key)
        return entry

    def _begin(self, asking: Asking, pod: Object, entry: _Entry, about: tuple[str, str]) -> None:
        name, address = str(pod["metadata"]["name"]), str((pod.get("status") or {}).get("podIP") or "")
        if not address:
            entry.fact = AuditFact(name, passed=False, answered=0, failure="it has no address yet", unreachable=True)
            return
        within = self._deadline(asking) - self._clock.monotonic()
        if within < 1:
            failure = f"it was not asked within {asking.deadline} s: the audits of the others took all the time"
            entry.fact = entry.fact or AuditFact(name, passed=False, answered=0, failure=failure, late=True)
            return
        audit = audit_of(
            asking,
            pod=name,
            address=address,
            port=asking.snapshot.server.port,
            requests=asking.requests,
            within_seconds=within,
        )
        entry.running = True
        self._background.start(about, self._audit(audit, entry, asking.requeue))

    def _deadline(self, asking: Asking) -> float:
        """Return when all audits of a candidate have to have ended: at its deadline, as this process first saw it."""
        key = (asking.owner.uid, asking.snapshot.revision, asking.policy.spec.hash, asking.since.isoformat())
        left = max(asking.deadline - asking.elapsed, min(_LEAST, asking.deadline))
        return self._ends.setdefault(key, self._clock.monotonic() + left)

    async def _audit(self, audit: Audit, entry: _Entry, requeue: Callable[[], None]) -> None:
        try:
            entry.fact = await self._auditor.audit(audit)
        except Exception:
            _log.exception("the audit of pod %s failed", audit.pod)
            failure = "the audit failed; the operator's log has the cause"
            entry.fact = AuditFact(audit.pod, passed=False, answered=0, failure=failure, unreachable=True)
        finally:
            entry.at, entry.running = self._clock.monotonic(), False
        requeue()


def ready_count(pods: tuple[PodFact, ...]) -> int:
    """Return how many pods are ready and what they were asked to be."""
    return sum(1 for pod in pods if pod.ready and not pod.tampered)


def _creation_failure(deployment: Object) -> str | None:
    for condition in (deployment.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            return str(condition.get("message") or condition.get("reason"))
    return None
