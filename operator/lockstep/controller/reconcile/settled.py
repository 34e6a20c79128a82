"""ModelDeployments whose current spec is active: nothing is asked of anybody unless the policy or an alias moved."""

import logging
from collections.abc import Sequence

from lockstep.api.modeldeployment import GateOutcome, GateStatus, RevisionStatus
from lockstep.api.reasons import EventReason, Reason
from lockstep.controller.cluster.ports import Events
from lockstep.controller.reconcile.look import Look
from lockstep.controller.reconcile.outcome import Outcome
from lockstep.controller.records.active import Active
from lockstep.controller.sources.gather import Gatherer
from lockstep.gates.chain import evaluate
from lockstep.gates.evidence import Unknown
from lockstep.gates.gate import Gate, Result, Stage
from lockstep.gates.verdict import Verdict
from lockstep.rollout.candidate import gate_status
from lockstep.rollout.objects.revision import spec_hash
from lockstep.rollout.status.status import Hold, Outlook

_log = logging.getLogger(__name__)
_ALIAS_SECONDS = 60.0
_CONFLICT_SECONDS = 30.0


class Settled:
    """Tells whether there is anything to decide, and evaluates the active revision anew when its policy changed."""

    def __init__(self, gatherer: Gatherer, events: Events, gates: Sequence[Gate]) -> None:
        self._gatherer = gatherer
        self._events = events
        self._gates = gates

    async def evaluate(self, look: Look) -> Outcome | None:
        """Return the outcome for a settled object; None when there is a candidate to look at."""
        active = look.active
        if active is None or active.status.spec_hash != spec_hash(look.owner.spec):
            return None
        again = None
        if look.owner.spec.model.alias is not None:
            again = _ALIAS_SECONDS
            if await self._moved(look, active):
                return None
        status, findings, pending = await self._evaluated(look, active)
        if pending:
            again = min(again or _ALIAS_SECONDS, 15.0)
        conflict = look.observed.conflict or look.observed.taken.get(active.snapshot.revision)
        outlook = Outlook(
            active=status,
            candidate=None,
            history=look.owner.status.history,
            findings=findings,
            hold=Hold(Reason.NAME_CONFLICT, conflict) if conflict is not None else None,
        )
        return Outcome(outlook=outlook, again=again if conflict is None else _CONFLICT_SECONDS)

    async def _moved(self, look: Look, active: Active) -> bool:
        """Tell whether the alias names another version now. While MLflow can't tell, what was found last stands."""
        lineage = await self._gatherer.lineage(look.subject, look.again) if look.subject is not None else None
        if lineage is None or isinstance(lineage, Unknown):
            candidate = look.owner.status.candidate
            return candidate is not None and candidate.spec_hash == active.status.spec_hash
        return lineage.version != active.status.model_version

    async def _evaluated(self, look: Look, active: Active) -> tuple[RevisionStatus, tuple[GateStatus, ...], bool]:
        policy, subject = look.known_policy, look.subject
        # The conditions of a candidate that is gone were not about what serves: it is looked at once more.
        alone = look.owner.status.candidate is None
        if policy is None or subject is None or (alone and active.status.evaluated_policy_hash == policy.spec.hash):
            return active.status, (), False
        evidence = await self._gatherer.evidence(
            subject,
            look.again,
            now=look.now,
            version=active.status.model_version,
            reference=active.snapshot.image,
            since=None,
        )
        if any(fact.retry and fact.reason is not Reason.WAITING for fact in evidence.unknown()):
            return active.status, (), True
        verdict = evaluate(evidence, self._gates)
        await self._gatherer.pin(subject, evidence, verdict)
        findings = tuple(gate_status(result) for result in verdict.results if _about_active(result))
        await self._report(look, verdict)
        return active.status.model_copy(update={"evaluated_policy_hash": policy.spec.hash}), findings, False

    async def _report(self, look: Look, verdict: Verdict) -> None:
        """Say once that what serves no longer meets the policy. It goes on serving: a policy does not take models down."""
        failing = [r for r in verdict.results if _about_active(r) and not r.permits]
        if not failing:
            return
        worst = failing[0]
        _log.warning("%s/%s: the active revision no longer meets the policy: %s", *look.key, worst.message)
        await self._events.post(
            look.raw,
            type_="Warning",
            reason=str(EventReason.ACTIVE_DEGRADED),
            action="Check",
            note=f"the active revision no longer meets the policy: {worst.gate} gate: {worst.message}",
            key=f"degraded-{look.active.status.revision if look.active else ''}-{verdict.policy_hash}",
        )


def _about_active(result: Result) -> bool:
    """Tell whether a result is about the active revision too: readiness is where no pod would be needed to refuse it."""
    return result.stage is Stage.BEFORE_PODS or result.outcome is GateOutcome.REJECTED
