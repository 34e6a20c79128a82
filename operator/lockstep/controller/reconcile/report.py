"""Says what happened: events on transitions, metrics, one log line a transition."""

import logging
from collections.abc import Sequence
from datetime import timedelta

from lockstep.api.modeldeployment import GateOutcome, GateStatus, ModelDeploymentStatus
from lockstep.api.reasons import EventReason, Reason
from lockstep.api.records import RecordOutcome
from lockstep.controller.cluster.ports import Events
from lockstep.controller.reconcile.observation import Observation
from lockstep.controller.reconcile.plan import Plan
from lockstep.gates.evidence import Unknown
from lockstep.gates.gate import Gate
from lockstep.observability.metrics import Key, Metrics
from lockstep.rollout.actions import Action, Correct, Delete, Scale
from lockstep.rollout.status.status import Transition, blocking, transitions

_log = logging.getLogger(__name__)
_MISSED = timedelta(minutes=10)
DEPENDENCIES = {
    Reason.REGISTRY_UNREACHABLE: "mlflow",
    Reason.REGISTRY_REFUSED: "mlflow",
    Reason.IMAGE_REGISTRY_UNREACHABLE: "image-registry",
    Reason.IMAGE_REGISTRY_RATE_LIMITED: "image-registry",
}
"""Who did not answer, by reason; a label of metrics."""


class Reporter:
    """Reports on ModelDeployments."""

    def __init__(self, events: Events, metrics: Metrics, gates: Sequence[Gate]) -> None:
        self._events = events
        self._gates = gates
        self._metrics = metrics
        self._seen: set[Key] = set()
        """What this process has reconciled to the end."""

    async def before_write(self, observation: Observation, status: ModelDeploymentStatus) -> None:
        """Report what is news, before the status says it: named events repeat nothing after a crash, a lost one is lost."""
        for news in transitions(observation.owner, status):
            if news.reason is not EventReason.PROMOTED:
                await self._post(observation, news)
            else:
                # Reported afterwards; should that not come about, the next reconciliation reports it.
                self._seen.discard(observation.key)

    async def after_write(self, observation: Observation, status: ModelDeploymentStatus, plan: Plan) -> None:
        """Report what the accepted status made true."""
        for news in transitions(observation.owner, status):
            if news.reason is EventReason.PROMOTED:
                await self._post(observation, news)
                self._metrics.promotions.labels(str(RecordOutcome.PROMOTED)).inc()
                self._seen.add(observation.key)
        await self._report_missed_promotion(observation, status)
        self._set_gauges(observation, status, plan.status_input.answers)
        self._set_dependencies(observation, plan)

    async def _report_missed_promotion(self, observation: Observation, status: ModelDeploymentStatus) -> None:
        """Report a promotion that perhaps was not reported, by the process before us for instance; twice it is one event."""
        active, first = status.active, observation.key not in self._seen
        self._seen.add(observation.key)
        if first and active is not None and active.start_time is not None and observation.now - active.start_time < _MISSED:
            unreported = observation.owner.model_copy(update={"status": status.model_copy(update={"active": None})})
            for news in transitions(unreported, status):
                await self._post(observation, news)

    async def _post(self, observation: Observation, news: Transition) -> None:
        level = logging.WARNING if news.warning else logging.INFO
        _log.log(level, "%s/%s: %s: %s", *observation.key, news.reason, news.note)
        if news.reason is EventReason.PROMOTION_BLOCKED:
            self._metrics.promotions.labels(str(RecordOutcome.REFUSED)).inc()
        await self._events.post(
            observation.raw,
            type_="Warning" if news.warning else "Normal",
            reason=str(news.reason),
            action=news.action,
            note=news.note,
            key=news.key,
        )

    def report_hold(self, observation: Observation, status: ModelDeploymentStatus) -> None:
        """Report the status of what the API server refused to do."""
        self._set_gauges(observation, status, None)

    def _set_gauges(self, observation: Observation, status: ModelDeploymentStatus, answers: GateStatus | None) -> None:
        candidate, now = status.candidate, blocking(status)
        if now is None or candidate is None or now.reason == Reason.PAUSED:
            # Whoever pauses a rollout knows that it waits.
            self._metrics.clear(observation.key)
        elif now.outcome is GateOutcome.REJECTED:
            since = candidate.blocked_since or observation.now
            self._metrics.set_refused(observation.key, now.name, now.reason, since.timestamp())
        else:
            self._metrics.set_waiting(observation.key, now.name, now.reason, refused=candidate.blocked_since is not None)
        self._metrics.set_degraded(observation.key, self._degraded_reason(status, answers))
        earlier = observation.owner.status.candidate
        before = {gate.name: (gate.outcome, gate.reason) for gate in (earlier.gates if earlier else [])}
        for gate in candidate.gates if candidate else []:
            if before.get(gate.name) != (gate.outcome, gate.reason):
                self._metrics.gate_results.labels(gate.name, str(gate.outcome), gate.reason).inc()

    def _degraded_reason(self, status: ModelDeploymentStatus, answers: GateStatus | None) -> str | None:
        if status.active is None:
            return None
        if status.candidate is None and status.holds:
            return status.holds[0].reason
        conditions = {condition.type: condition for condition in status.conditions}
        available = conditions.get("Available")
        if available is not None and (available.status, available.reason) != ("True", Reason.PROMOTED):
            return available.reason
        if answers is not None and answers.outcome is GateOutcome.REJECTED:
            return answers.reason
        if status.candidate is not None:
            return None
        about_gates = [conditions[gate.condition] for gate in self._gates if gate.condition in conditions]
        failing = [condition for condition in about_gates if condition.status == "False"]
        return failing[0].reason if failing else None

    def _set_dependencies(self, observation: Observation, plan: Plan) -> None:
        if plan.verdict is None or isinstance(observation.policy, Unknown):
            return
        if any(result.reason is Reason.GATHERING for result in plan.verdict.results):
            return
        down = {DEPENDENCIES[r.reason] for r in plan.verdict.results if r.reason in DEPENDENCIES}
        for dependency in set(DEPENDENCIES.values()):
            self._metrics.dependency_up.labels(dependency).set(0 if dependency in down else 1)

    def report_degraded(self, observation: Observation, status: ModelDeploymentStatus) -> None:
        """Report what holds of the active revision while it is being put right."""
        self._metrics.set_degraded(observation.key, self._degraded_reason(status, None))

    def count_corrections(self, actions: Sequence[Action]) -> None:
        """Count foreign changes that were put right."""
        corrections = [a for a in actions if isinstance(a, Correct | Delete | Scale) and a.why is not None]
        self._metrics.drift.inc(len(corrections))

    def forget(self, key: Key) -> None:
        """Remove the metrics of an object that is gone."""
        self._seen.discard(key)
        self._metrics.forget(key)
