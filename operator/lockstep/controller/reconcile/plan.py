"""What one reconciliation decided: the next status, what follows from it, and when to requeue."""

from dataclasses import dataclass

from lockstep.gates.verdict import Verdict
from lockstep.rollout.actions import Action
from lockstep.rollout.objects.revision import Snapshot
from lockstep.rollout.status.status import StatusInput


@dataclass(frozen=True)
class Plan:
    """The decision of one reconciliation."""

    status_input: StatusInput
    actions: tuple[Action, ...] = ()
    """To be carried out after the status has been accepted."""
    promoted: bool = False
    """True when the status makes the candidate the active revision."""
    snapshot: Snapshot | None = None
    """The candidate's snapshot, when it is promoted."""
    verdict: Verdict | None = None
    undecided: bool = False
    """True when a fact that was known before is on its way anew: the candidate's status stays what it was."""
    requeue_after: float | None = None
    """Seconds until the next reconciliation; None when only an event brings one."""
