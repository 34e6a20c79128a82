"""Asks the Service after a promotion what any client asks it: a server that knew the audit does not know these requests.

When it is asked follows from when the promotion was, so that a restart of the operator forgets nothing. Nothing is written
while all is well. What is found out takes nothing down: it is said, and asked again until it is right.
"""

import logging
import random
from dataclasses import dataclass, field

from lockstep.api.modeldeployment import GateOutcome, GateStatus, ModelDeployment
from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.api.reasons import ConditionType, EventReason, Reason
from lockstep.bounded import Bounded
from lockstep.controller.asking.asking import Asking, audit_of
from lockstep.controller.background import Background
from lockstep.controller.cluster.ports import Clock, Events
from lockstep.controller.reconcile.observation import Observation
from lockstep.controller.records.active import Active
from lockstep.controller.sources.gather import Gatherer
from lockstep.gates import readiness
from lockstep.gates.evidence import AuditFact, Unknown
from lockstep.readiness.port import Auditor
from lockstep.rollout.observed.observed import selected_revision
from lockstep.rollout.status.conditions import shorten

_WINDOW = 120.0
"""Seconds after a promotion in which the Service is asked."""
_FIRST = 10.0
"""Seconds until the first request, at most."""
_PATIENCE = 60.0
"""Seconds that one of these audits may take, at most; and the pause while the Service fails."""
_UNANSWERED = 3
"""Requests in a row that stay without any answer before that is said: kube-proxy takes a moment, and a node may be slow."""
_UNANSWERED_SECONDS = 5.0
_UNKNOWN_SECONDS = 15.0
"""The pause where MLflow did not say what to ask, or nothing serves."""
_KEPT = 4096
_log = logging.getLogger(__name__)


@dataclass
class _Course:
    """What is to be asked after one promotion, and what came of it."""

    moments: list[float] = field(default_factory=list)
    """When the Service is asked, by the monotonic clock."""
    end: float = 0.0
    """When the time after the promotion is over."""
    failure: str | None = None
    unanswered: int = 0
    running: bool = False


class ServiceChecks:
    """Asks the Services of what was promoted lately."""

    def __init__(self, auditor: Auditor, gatherer: Gatherer, events: Events, clock: Clock, chance: random.Random) -> None:
        self._auditor = auditor
        self._gatherer = gatherer
        self._events = events
        self._clock = clock
        self._chance = chance
        self._background = Background()
        self._courses: Bounded[tuple[str, str], _Course] = Bounded(_KEPT)

    def check(self, observation: Observation) -> tuple[GateStatus | None, float | None]:
        """Ask, if it is time to; return what was found out, if that is news or a failure, and when to check again."""
        active, policy = observation.active, observation.known_policy
        if active is None:
            return None, None
        if policy is None:
            return _finding(observation.owner, self._courses.get(_key(observation.owner, active))), None
        course = self._course(observation, active, policy)
        serves, now = _serves(observation, active), self._clock.monotonic()
        if course.moments and course.moments[0] <= now and not course.running and serves:
            del course.moments[0]
            course.running = True
            self._background.start(observation.key, self._ask(observation, active, policy, course))
        if not course.moments or course.running:
            return _finding(observation.owner, course), None
        return _finding(observation.owner, course), max(0.0 if serves else _UNKNOWN_SECONDS, course.moments[0] - now)

    async def stop(self) -> None:
        """End what still runs."""
        await self._background.stop()

    def _course(self, observation: Observation, active: Active, policy: PromotionPolicy) -> _Course:
        key, number = _key(observation.owner, active), policy.spec.readiness.requests_after_switch
        known = self._courses.get(key)
        if known is not None:
            return known
        course = _Course()
        now, start = self._clock.monotonic(), active.status.start_time
        left = _WINDOW - (observation.now - start).total_seconds() if start is not None else 0.0
        if (reported := _reported_failure(observation.owner)) is not None:
            course.failure, course.moments = reported, [now]
        elif left > 0 and number:
            rest = (self._chance.uniform(0, left) for _ in range(number - 1))
            course.moments = sorted(now + moment for moment in (self._chance.uniform(0, min(_FIRST, left)), *rest))
            course.end = now + left
        self._courses[key] = course
        return course

    async def _ask(self, observation: Observation, active: Active, policy: PromotionPolicy, course: _Course) -> None:
        try:
            fact = await self._answer(observation, active, policy, failing=course.failure is not None)
        except Exception:
            _log.exception("the Service of %s/%s could not be asked", *observation.key)
            fact = None
        finally:
            course.running = False
        if fact is None:
            if course.failure is not None or self._clock.monotonic() < course.end:
                self._schedule_again(course, _UNKNOWN_SECONDS)
        elif fact.passed:
            course.failure, course.unanswered = None, 0
        else:
            await self._record_failure(observation, active, course, fact)
        observation.requeue()

    async def _answer(
        self, observation: Observation, active: Active, policy: PromotionPolicy, *, failing: bool
    ) -> AuditFact | None:
        """Ask the Service; None where there is nothing to ask, or it is not known what."""
        if observation.subject is None:
            return None
        lineage = await self._gatherer.lineage(observation.subject, observation.requeue, active.status.model_version)
        if isinstance(lineage, Unknown):
            return None
        asking = Asking(
            observation.owner,
            policy,
            active.snapshot,
            observation.now,
            observation.now,
            lineage.input_example,
            observation.requeue,
        )
        service = observation.observed.service or {}
        if not asking.requests:
            return AuditFact(observation.owner.name, passed=True, answered=0)
        # One at a time, as clients come; as many as before the switch where it is to be believed again.
        requests = asking.requests if failing else 1
        audit = audit_of(
            asking,
            pod=observation.owner.name,
            address=str(service["spec"]["clusterIP"]),
            port=observation.owner.spec.service.port,
            requests=requests,
            within_seconds=min(_PATIENCE, (requests + 1) * policy.spec.readiness.timeout_seconds + 5),
            ready=False,
        )
        return await self._auditor.audit(audit)

    async def _record_failure(self, observation: Observation, active: Active, course: _Course, fact: AuditFact) -> None:
        if fact.unreachable or fact.late:
            course.unanswered += 1
            if course.failure is None and course.unanswered < _UNANSWERED:
                self._schedule_again(course, _UNANSWERED_SECONDS)
                return
        course.moments = [self._clock.monotonic() + _PATIENCE]
        if course.failure is not None:
            # The first failure stands: another row of the example is no news.
            return
        course.failure = shorten(
            f"the Service {observation.owner.name} does not answer as the audited pods did: {fact.failure}. "
            "Next step: see what serves; apply the revision before (status.history) or a corrected image"
        )
        _log.warning("%s/%s: %s", *observation.key, course.failure)
        await self._events.post(
            observation.raw,
            type_="Warning",
            reason=str(EventReason.ACTIVE_DEGRADED),
            action="Check",
            note=course.failure,
            key=f"service-{active.status.record}",
        )

    def _schedule_again(self, course: _Course, seconds: float) -> None:
        course.moments = sorted([*course.moments, self._clock.monotonic() + seconds])


def _key(owner: ModelDeployment, active: Active) -> tuple[str, str]:
    return owner.uid, str(active.status.record)


def _serves(observation: Observation, active: Active) -> bool:
    """Return whether the Service leads to ready pods of the active revision; where it does not, the status says so."""
    revision = str(active.status.revision)
    service, deployment = observation.observed.service, observation.observed.deployments.get(revision)
    address = str((service or {}).get("spec", {}).get("clusterIP") or "None")
    ready = ((deployment or {}).get("status") or {}).get("readyReplicas", 0)
    return address != "None" and selected_revision(service) == revision and ready > 0


def _reported_failure(owner: ModelDeployment) -> str | None:
    """Return the failure that the status reports, found out by this process or the one before it."""
    conditions = owner.status.conditions if owner.status.candidate is None else []
    proven = next((one for one in conditions if one.type == ConditionType.READINESS_PROVEN), None)
    return proven.message if proven is not None and proven.reason == Reason.SERVICE_FAILED else None


def _finding(owner: ModelDeployment, course: _Course | None) -> GateStatus | None:
    reported = _reported_failure(owner)
    failure = course.failure if course is not None else reported
    if failure is not None:
        reason = str(Reason.SERVICE_FAILED)
        return GateStatus(name=readiness.NAME, outcome=GateOutcome.REJECTED, reason=reason, message=failure)
    if reported is None:
        return None
    message = "the Service answers again as the audited pods did"
    return GateStatus(name=readiness.NAME, outcome=GateOutcome.PASSED, reason=str(Reason.PASSED), message=message)
