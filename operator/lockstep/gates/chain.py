"""The chain of gates in their order, and the verdict that they make together."""

from dataclasses import replace

from lockstep.api.modeldeployment import GateMode, GateOutcome
from lockstep.api.reasons import Reason
from lockstep.gates import environment, image, lineage, readiness
from lockstep.gates.evidence import Evidence, Unknown
from lockstep.gates.outcome import Result, Verdict

PREREQUISITES = (lineage.NAME, image.NAME, environment.NAME)
"""Gates that have to permit before a pod of the candidate starts."""

_NEVER_OFF = (readiness.NAME,)


def evaluate(evidence: Evidence) -> Verdict:
    """Run every gate on the evidence. A gate that raises is a defect of ours and is not caught here: nothing passes."""
    environment_result, digest = environment.evaluate(evidence)
    results = (
        lineage.evaluate(evidence),
        image.evaluate(evidence),
        environment_result,
        readiness.evaluate(evidence),
    )
    judged = tuple(result for result in (_with_mode(result, evidence) for result in results) if result is not None)
    policy = evidence.policy
    return Verdict(
        results=_ordered(judged),
        policy_hash=policy.spec.hash if not isinstance(policy, Unknown) else "",
        decided_at=evidence.now,
        environment_digest=digest,
    )


def _with_mode(result: Result, evidence: Evidence) -> Result | None:
    """Apply the policy's mode. What pins digests and lineage stays in force: without a pin nothing can be promoted."""
    policy = evidence.policy
    if isinstance(policy, Unknown):
        return result
    mode = policy.spec.mode(result.gate)
    if mode is GateMode.OFF:
        return None if result.gate not in _NEVER_OFF else result
    if mode is GateMode.AUDIT and result.outcome is not GateOutcome.PASSED:
        if _unpinned(result.gate, evidence) or result.gate in _NEVER_OFF:
            return result
        return replace(result, mode=mode)
    return replace(result, mode=mode)


def _unpinned(gate: str, evidence: Evidence) -> bool:
    """Tell whether a gate's fact is one without which no revision can be named."""
    if gate == lineage.NAME:
        return isinstance(evidence.lineage, Unknown) or evidence.lineage.run is None
    return gate == image.NAME and isinstance(evidence.image, Unknown)


def _ordered(results: tuple[Result, ...]) -> tuple[Result, ...]:
    """Say of gates behind a refusal that they wait, so that people read the cause first; findings of their own stay."""
    blocked = False
    ordered: list[Result] = []
    for result in results:
        if blocked and result.outcome is GateOutcome.PASSED and result.gate == readiness.NAME:
            result = replace(result, outcome=GateOutcome.PENDING, reason=Reason.WAITING, message="an earlier gate blocks")
        blocked = blocked or not result.permits
        ordered.append(result)
    return tuple(ordered)


def prerequisites_permit(verdict: Verdict) -> bool:
    """Tell whether pods of the candidate may be started: every gate but readiness permits, and there is one at all."""
    before = [result for result in verdict.results if result.gate != readiness.NAME]
    return bool(verdict.results) and all(result.permits for result in before)
