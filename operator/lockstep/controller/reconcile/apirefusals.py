"""What it means for the status that the API server did not do what was decided."""

from dataclasses import replace

from lockstep.api.reasons import Reason
from lockstep.controller.cluster.ports import ClusterError, UnavailableError
from lockstep.controller.reconcile.act import ChangedAtAdmissionError, NameTakenError
from lockstep.controller.reconcile.observation import Observation
from lockstep.controller.reconcile.plan import Plan
from lockstep.gates.gate import Result
from lockstep.gates.hold import HoldName, hold
from lockstep.gates.rules.refusal import refusal
from lockstep.rollout.status.status import StatusInput

_KNOWN = frozenset(map(str, Reason))


def keep_cluster_hold(observation: Observation, plan: Plan) -> StatusInput:
    """Go on saying that the API server refuses until it does not: a changed status causes the next reconciliation at once."""
    earlier = next((one for one in observation.owner.status.holds if one.name == HoldName.CLUSTER), None)
    # Another version, or another hand, may have written a reason that this one does not know.
    if earlier is not None and earlier.reason not in _KNOWN:
        earlier = None
    if not plan.actions or plan.status_input.holds or earlier is None:
        return plan.status_input
    return replace(plan.status_input, holds=(hold(HoldName.CLUSTER, Reason(earlier.reason), earlier.message),))


def hold_of_refusal(error: ClusterError | NameTakenError) -> Result:
    """Return the hold that follows when the API server did not do what was decided."""
    if isinstance(error, NameTakenError):
        return _cluster_hold(error.reason, str(error))
    if isinstance(error, ChangedAtAdmissionError):
        return _cluster_hold(Reason.UPKEEP_REFUSED, str(error))
    reason, step = (Reason.CLUSTER_FAILED, "") if isinstance(error, UnavailableError) else refusal(str(error))
    return _cluster_hold(reason, f"{error}. {step}" if step else str(error))


def _cluster_hold(reason: Reason, message: str) -> Result:
    return hold(HoldName.CLUSTER, reason, message)
