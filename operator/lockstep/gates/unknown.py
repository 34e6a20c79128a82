"""What a fact that could not be had means for a gate: it never passes."""

from lockstep.api.modeldeployment import GateOutcome
from lockstep.api.reasons import Reason
from lockstep.gates.evidence import Unknown
from lockstep.gates.outcome import Result

_NEXT_STEPS = {
    Reason.REGISTRY_ADDRESS_REFUSED: "Next step (platform team): list it in registries.private, if images may come from there",
}


def result_of_unknown(gate: str, fact: Unknown) -> Result:
    """Return Retry where waiting may help, Rejected where the answer was a plain no."""
    if fact.reason in (Reason.SCANNING, Reason.GATHERING, Reason.MODEL_READING, Reason.WAITING):
        # Nothing failed: the answer is on its way.
        return Result(gate, GateOutcome.PENDING, fact.reason, fact.message)
    outcome = GateOutcome.RETRY if fact.retry else GateOutcome.REJECTED
    step = _NEXT_STEPS.get(fact.reason, "")
    return Result(gate, outcome, fact.reason, fact.message, next_step=step, retry_after=fact.retry_after)
