"""What it means for the status that the API server did not do what was decided."""

from dataclasses import replace

from lockstep.api.reasons import ConditionType, Reason
from lockstep.controller.cluster.ports import ClusterError, UnavailableError
from lockstep.controller.reconcile.act import ChangedAtAdmissionError, NameTakenError
from lockstep.controller.reconcile.observation import Observation
from lockstep.controller.reconcile.plan import Plan
from lockstep.gates.rules.refusal import refusal
from lockstep.rollout.status.status import Hold, StatusInput

_WAITED_FOR = (Reason.QUOTA_EXCEEDED, Reason.CLUSTER_FAILED)
_REFUSALS = (
    *_WAITED_FOR,
    Reason.SERVICE_ACCOUNT_MISSING,
    Reason.PODS_FORBIDDEN,
    Reason.PODS_INVALID,
    Reason.SPEC_TOO_LARGE,
    Reason.NAME_CONFLICT,
    Reason.REVISION_FORGED,
)
"""What it can mean that the API server does not do what was decided."""


def still_held(observation: Observation, plan: Plan) -> StatusInput:
    """Go on saying that the API server refuses until it does not: a changed status causes the next reconciliation at once."""
    ready = next((c for c in observation.owner.status.conditions if c.type == ConditionType.READY), None)
    if not plan.actions or plan.status_input.hold is not None or ready is None:
        return plan.status_input
    if ready.reason not in _REFUSALS:
        return plan.status_input
    return replace(plan.status_input, hold=_hold(Reason(ready.reason), ready.message))


def refused(error: ClusterError | NameTakenError) -> Hold:
    """Return what it means that the API server did not do what was decided."""
    if isinstance(error, NameTakenError):
        return _hold(error.reason, str(error))
    if isinstance(error, ChangedAtAdmissionError):
        return _hold(Reason.UPKEEP_REFUSED, str(error))
    reason, step = (Reason.CLUSTER_FAILED, "") if isinstance(error, UnavailableError) else refusal(str(error))
    return _hold(reason, f"{error}. {step}" if step else str(error))


def _hold(reason: Reason, message: str) -> Hold:
    """Room may come by itself, a name that is taken is somebody's to give up."""
    return Hold(reason, message, refusal=reason not in _WAITED_FOR)
