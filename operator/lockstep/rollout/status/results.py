"""Results of gates and holds as a status shows them."""

from lockstep.api.modeldeployment import MAX_DIFFERENCES, DifferenceStatus, GateStatus
from lockstep.gates.gate import Result
from lockstep.gates.verdict import Verdict
from lockstep.rollout.status.conditions import shorten

_TEXT = 256


def gate_status(result: Result) -> GateStatus:
    """Return the result of a gate, or a hold, as a status shows it."""
    return GateStatus(
        name=result.gate,
        outcome=result.outcome,
        mode=result.mode,
        reason=str(result.reason),
        message=shorten(message_of(result)),
    )


def message_of(result: Result) -> str:
    """Return what people read: the cause first, then what to do."""
    return f"{result.message}. {result.next_step}" if result.next_step else result.message


def difference_statuses(verdict: Verdict) -> list[DifferenceStatus]:
    """Return the first differences of the environment gate."""
    differences = [d for result in verdict.results for d in result.differences]
    return [
        DifferenceStatus(
            kind=shorten(str(d.kind), _TEXT),
            subject=shorten(d.subject, _TEXT),
            trained=shorten(d.trained, _TEXT) if d.trained else None,
            image=shorten(d.image, _TEXT) if d.image else None,
            message=shorten(d.sentence),
        )
        for d in differences[:MAX_DIFFERENCES]
    ]
