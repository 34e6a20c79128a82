"""ModelDeployments whose current spec is active: nothing is asked of anybody unless the policy or an alias moved."""

import logging
from collections.abc import Sequence

from lockstep.api.modeldeployment import GateOutcome, GateStatus, RevisionStatus
from lockstep.api.reasons import EventReason, Reason
from lockstep.controller.cluster.ports import Events
from lockstep.controller.reconcile.holds import name_hold
from lockstep.controller.reconcile.observation import Observation
from lockstep.controller.reconcile.plan import Plan
from lockstep.controller.records.active import Active
from lockstep.controller.sources.gather import Gatherer
from lockstep.gates.chain import evaluate
from lockstep.gates.evidence import Unknown
from lockstep.gates.gate import Gate, Result, Stage
from lockstep.gates.verdict import Verdict
from lockstep.rollout.objects.revision import spec_hash
from lockstep.rollout.status.results import gate_status
from lockstep.rollout.status.status import StatusInput

_log = logging.getLogger(__name__)
_ALIAS_SECONDS = 60.0
_CONFLICT_SECONDS = 30.0


class ActiveRevision:
    """Determines whether there is anything to decide, and evaluates the active revision anew when its policy changed."""

    def __init__(self, gatherer: Gatherer, events: Events, gates: Sequence[Gate]) -> None:
        self._gatherer = gatherer
        self._events = events
        self._gates = gates

    async def evaluate(self, observation: Observation) -> Plan | None:
        """Return the outcome for a settled object; None when there is a candidate to decide about.

        Raises:
            ClusterError: the API server did not answer.
        """
        active = observation.active
        if active is None or active.status.spec_hash != spec_hash(observation.owner.spec):
            return None
        requeue_after = None
        if observation.owner.spec.model.alias is not None:
            requeue_after = _ALIAS_SECONDS
            if await self._has_alias_moved(observation, active):
                return None
        status, findings, pending = await self._evaluate_if_stale(observation, active)
        if pending:
            requeue_after = min(requeue_after or _ALIAS_SECONDS, 15.0)
        conflict = name_hold(observation, active.snapshot.revision)
        status_input = StatusInput(
            active=status,
            candidate=None,
            history=observation.owner.status.history,
            findings=findings,
            holds=(conflict,) if conflict is not None else (),
        )
        return Plan(status_input=status_input, requeue_after=requeue_after if conflict is None else _CONFLICT_SECONDS)

    async def _has_alias_moved(self, observation: Observation, active: Active) -> bool:
        """Return whether the alias names another version now. While MLflow does not answer, what was found last stands."""
        lineage = (
            await self._gatherer.lineage(observation.subject, observation.requeue) if observation.subject is not None else None
        )
        if lineage is None or isinstance(lineage, Unknown):
            candidate = observation.owner.status.candidate
            return candidate is not None and candidate.spec_hash == active.status.spec_hash
        return lineage.version != active.status.model_version

    async def _evaluate_if_stale(
        self, observation: Observation, active: Active
    ) -> tuple[RevisionStatus, tuple[GateStatus, ...], bool]:
        policy, subject = observation.known_policy, observation.subject
        # The conditions of a candidate that is gone were not about what serves: it is evaluated once more.
        alone = observation.owner.status.candidate is None
        if policy is None or subject is None or (alone and active.status.evaluated_policy_hash == policy.spec.hash):
            return active.status, (), False
        evidence = await self._gatherer.evidence(
            subject,
            observation.requeue,
            now=observation.now,
            version=active.status.model_version,
            reference=active.snapshot.image,
            since=None,
        )
        if any(fact.retry and fact.reason is not Reason.WAITING for fact in evidence.unknown()):
            return active.status, (), True
        verdict = evaluate(evidence, self._gates)
        await self._gatherer.pin(subject, evidence, verdict)
        findings = tuple(gate_status(result) for result in verdict.results if _is_about_active(result))
        await self._report(observation, verdict)
        return active.status.model_copy(update={"evaluated_policy_hash": policy.spec.hash}), findings, False

    async def _report(self, observation: Observation, verdict: Verdict) -> None:
        """Say once that what serves no longer meets the policy. It goes on serving: a policy does not take models down."""
        failing = [r for r in verdict.results if _is_about_active(r) and not r.permits]
        if not failing:
            return
        worst = failing[0]
        _log.warning("%s/%s: the active revision no longer meets the policy: %s", *observation.key, worst.message)
        await self._events.post(
            observation.raw,
            type_="Warning",
            reason=str(EventReason.ACTIVE_DEGRADED),
            action="Check",
            note=f"the active revision no longer meets the policy: {worst.gate} gate: {worst.message}",
            key=f"degraded-{observation.active.status.revision if observation.active else ''}-{verdict.policy_hash}",
        )


def _is_about_active(result: Result) -> bool:
    """Return whether a result is about the active revision too: readiness is where no pod would be needed to refuse it, and
    what only a candidate's pods show is not.
    """
    return not result.awaits_pods and (result.stage is Stage.BEFORE_PODS or result.outcome is GateOutcome.REJECTED)
