"""Says what happened: events on transitions, metrics, one log line a transition."""

import logging
from collections.abc import Sequence
from datetime import timedelta

from lockstep.api.modeldeployment import GateOutcome, ModelDeploymentStatus
from lockstep.api.reasons import EventReason, Reason
from lockstep.controller.cluster.ports import Events
from lockstep.controller.reconcile.observation import Observation
from lockstep.controller.reconcile.plan import Plan
from lockstep.gates.evidence import Unknown
from lockstep.gates.gate import Gate
from lockstep.observability.metrics import Key, Metrics
from lockstep.rollout.actions import Action, Correct, Delete, Scale
from lockstep.rollout.status.status import StatusInput, Transition, blocking_gate, transitions

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
        """What this process has looked at to the end."""

    async def before(self, observation: Observation, status: ModelDeploymentStatus) -> None:
        """Report what is news, before the status says it: named events repeat nothing after a crash, a lost one is lost."""
        for news in transitions(observation.owner, status):
            if news.reason is not EventReason.PROMOTED:
                await self._post(observation, news)
            else:
                # Told afterwards; should that not come about, the next reconciliation tells it.
                self._seen.discard(observation.key)

    async def after(self, observation: Observation, status: ModelDeploymentStatus, plan: Plan) -> None:
        """Report what the accepted status made true."""
        for news in transitions(observation.owner, status):
            if news.reason is EventReason.PROMOTED:
                await self._post(observation, news)
                self._metrics.promotions.labels("Promoted").inc()
                self._seen.add(observation.key)
        await self._missed(observation, status)
        self._gauges(observation, status, plan.status_input)
        self._dependencies(observation, plan)

    async def _missed(self, observation: Observation, status: ModelDeploymentStatus) -> None:
        """Tell of a promotion that was not told for sure, perhaps by the process before us; told twice it is one event."""
        active, first = status.active, observation.key not in self._seen
        self._seen.add(observation.key)
        if first and active is not None and active.start_time is not None and observation.now - active.start_time < _MISSED:
            untold = observation.owner.model_copy(update={"status": status.model_copy(update={"active": None})})
            for news in transitions(untold, status):
                await self._post(observation, news)

    async def _post(self, observation: Observation, news: Transition) -> None:
        level = logging.WARNING if news.warning else logging.INFO
        _log.log(level, "%s/%s: %s: %s", *observation.key, news.reason, news.note)
        if news.reason is EventReason.PROMOTION_BLOCKED:
            self._metrics.promotions.labels("Refused").inc()
        await self._events.post(
            observation.raw,
            type_="Warning" if news.warning else "Normal",
            reason=str(news.reason),
            action=news.action,
            note=news.note,
            key=news.key,
        )

    def _gauges(self, observation: Observation, status: ModelDeploymentStatus, status_input: StatusInput) -> None:
        candidate, hold = status.candidate, status_input.hold
        gate = blocking_gate(candidate)
        paused = hold is not None and hold.reason is Reason.PAUSED
        if gate is None or candidate is None or (paused and gate.outcome is GateOutcome.PENDING):
            # Who pauses a rollout knows that it waits.
            self._metrics.clear(observation.key)
        elif gate.outcome is GateOutcome.REJECTED:
            since = candidate.blocked_since or observation.now
            self._metrics.refused(observation.key, gate.name, gate.reason, since.timestamp())
        else:
            reason = str(hold.reason) if hold is not None else gate.reason
            self._metrics.waits(observation.key, gate.name, reason, refused=candidate.blocked_since is not None)
        self._metrics.degraded(observation.key, self._degraded(status, status_input))
        earlier = observation.owner.status.candidate
        before = {one.name: (one.outcome, one.reason) for one in (earlier.gates if earlier else [])}
        for one in candidate.gates if candidate else []:
            if before.get(one.name) != (one.outcome, one.reason):
                self._metrics.gate_results.labels(one.name, str(one.outcome), one.reason).inc()

    def _degraded(self, status: ModelDeploymentStatus, status_input: StatusInput) -> str | None:
        if status.active is None:
            return None
        if status.candidate is None and status_input.hold is not None:
            return str(status_input.hold.reason)
        conditions = {condition.type: condition for condition in status.conditions}
        available = conditions.get("Available")
        if available is not None and (available.status, available.reason) != ("True", Reason.PROMOTED):
            return available.reason
        if status_input.answers is not None and status_input.answers.outcome is GateOutcome.REJECTED:
            return status_input.answers.reason
        if status.candidate is not None:
            return None
        about_gates = [conditions[gate.condition] for gate in self._gates if gate.condition in conditions]
        failing = [condition for condition in about_gates if condition.status == "False"]
        return failing[0].reason if failing else None

    def _dependencies(self, observation: Observation, plan: Plan) -> None:
        if plan.verdict is None or isinstance(observation.policy, Unknown):
            return
        if any(result.reason is Reason.GATHERING for result in plan.verdict.results):
            return
        down = {DEPENDENCIES[r.reason] for r in plan.verdict.results if r.reason in DEPENDENCIES}
        for dependency in set(DEPENDENCIES.values()):
            self._metrics.dependency_up.labels(dependency).set(0 if dependency in down else 1)

    def kept(self, observation: Observation, status: ModelDeploymentStatus) -> None:
        """Report what holds of the active revision while it is being put right."""
        self._metrics.degraded(
            observation.key, self._degraded(status, StatusInput(status.active, status.candidate, status.history))
        )

    def corrected(self, actions: Sequence[Action]) -> None:
        """Count foreign changes that were put right."""
        corrections = [a for a in actions if isinstance(a, Correct | Delete | Scale) and a.why is not None]
        self._metrics.drift.inc(len(corrections))

    def forget(self, key: Key) -> None:
        """Remove the metrics of an object that is gone."""
        self._seen.discard(key)
        self._metrics.forget(key)
