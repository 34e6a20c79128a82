"""The chain of gates in their order, and the verdict that they make together."""

from dataclasses import replace

from lockstep.api.modeldeployment import GateMode, GateOutcome
from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.api.reasons import Reason
from lockstep.gates import environment, readiness
from lockstep.gates import image as image_gate
from lockstep.gates import lineage as lineage_gate
from lockstep.gates.evidence import Evidence, Fact, Unknown
from lockstep.gates.nextstep import resolved_once
from lockstep.gates.outcome import Result, Verdict
from lockstep.images.image import CONTENT_REASONS

PREREQUISITES = (lineage_gate.NAME, image_gate.NAME, environment.NAME)
"""Gates that have to permit before a pod of the candidate starts."""

_ALWAYS_ENFORCED = (readiness.NAME,)
_NAMES = (*PREREQUISITES, readiness.NAME)


def evaluate(evidence: Evidence) -> Verdict:
    """Run every gate on the evidence. A gate that raises is a defect of ours and is not caught here: nothing passes."""
    environment_result, digest = environment.evaluate(evidence)
    results = (
        lineage_gate.evaluate(evidence),
        _with_tag(image_gate.evaluate(evidence), evidence),
        environment_result,
        *_strangers(evidence.policy),
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


_OF_THE_IMAGE = CONTENT_REASONS | {
    Reason.BASE_IMAGE_NOT_LISTED,
    Reason.IMAGE_LACKS_VERSION,
    Reason.MODEL_NOT_IN_IMAGE,
    Reason.MODEL_FILES_DIFFER,
    Reason.SERVED_MODEL_UNKNOWN,
}
"""What only another image mends, so that people push one again under the same tag and nothing happens."""


def _with_tag(result: Result, evidence: Evidence) -> Result:
    """Say that a tag is resolved once, where it is pinned and the image behind it is refused."""
    again = resolved_once(evidence.spec.image)
    if not again or isinstance(evidence.image, Unknown) or result.reason not in _OF_THE_IMAGE:
        return result
    step = f"{result.next_step}; {again}" if result.next_step else f"Next step (image): mend it; {again}"
    return replace(result, next_step=step)


def _with_mode(result: Result, evidence: Evidence) -> Result | None:
    """Apply the policy's mode. What pins digests and lineage stays in force: without a pin nothing can be promoted."""
    policy = evidence.policy
    if isinstance(policy, Unknown) or result.gate in _ALWAYS_ENFORCED or result.gate not in _NAMES:
        return result
    if result.outcome is not GateOutcome.PASSED and _unpinned(result.gate, evidence):
        return result
    mode = policy.spec.mode(result.gate)
    return None if mode is GateMode.OFF else replace(result, mode=mode)


def _unpinned(gate: str, evidence: Evidence) -> bool:
    """Tell whether a gate's fact is one without which no revision can be named."""
    lineage, image, scan = evidence.lineage, evidence.image, evidence.scan
    if gate == lineage_gate.NAME:
        return isinstance(lineage, Unknown) or lineage.run is None
    if gate == image_gate.NAME:
        return isinstance(image, Unknown) or (not isinstance(scan, Unknown) and scan.digest != image.digest)
    return False


def _strangers(policy: Fact[PromotionPolicy]) -> tuple[Result, ...]:
    """Refuse for the gates that a policy of a newer version names: what can't be evaluated has not passed."""
    if isinstance(policy, Unknown):
        return ()
    strangers = unknown_gates(policy)
    if not strangers:
        return ()
    names = ", ".join(strangers)
    enforced = any(policy.spec.mode(name) is GateMode.ENFORCE for name in strangers)
    return (
        Result(
            strangers[0],
            GateOutcome.REJECTED,
            Reason.GATE_UNKNOWN,
            f"the policy {policy.name} names gates that this version of Lockstep does not have: {names}",
            mode=GateMode.ENFORCE if enforced else GateMode.AUDIT,
            next_step="Next step (platform team): upgrade the operator, or remove them from the policy",
        ),
    )


def unknown_gates(policy: PromotionPolicy) -> list[str]:
    """Return the gates that a policy wants evaluated and that this version does not have."""
    return [rule.name for rule in policy.spec.gates if rule.name not in _NAMES and rule.mode is not GateMode.OFF]


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
