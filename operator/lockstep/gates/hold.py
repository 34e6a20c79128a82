"""What besides the gates keeps a candidate from going on: each hold is a result like a gate's, and part of the verdict.

A hold refuses nothing: the candidate goes on as soon as it is lifted, and what serves goes on serving.
"""

from enum import StrEnum

from lockstep.api.modeldeployment import GateOutcome
from lockstep.api.reasons import Reason
from lockstep.gates.gate import Result, Stage


class HoldName(StrEnum):
    """The holds, in the order in which they are named."""

    SIZE = "size"
    """The pods take more to describe than can be recorded."""
    NAME = "name"
    """Somebody else's object has the name of one of Lockstep's."""
    GUARDS = "guards"
    """The guarding admission policies do not stand."""
    SERVICES = "services"
    """Somebody else's Service selects the candidate's pods."""
    PODS = "pods"
    """Somebody else's pod bears the candidate's labels."""
    PRIORITY = "priority"
    """The candidate's pods could push those that serve off their nodes."""
    CLUSTER = "cluster"
    """The API server did not do what was decided."""
    PAUSE = "pause"
    """Somebody asked for it in the spec."""


_PASSING = {Reason.QUOTA_EXCEEDED: GateOutcome.RETRY, Reason.CLUSTER_FAILED: GateOutcome.RETRY}
"""What is tried again until it passes. Everything else waits for somebody."""


def hold(name: HoldName, reason: Reason, message: str) -> Result:
    """Return a hold. Only a pause is not reported to anybody: whoever asked for it knows."""
    outcome = _PASSING.get(reason, GateOutcome.PENDING)
    stalled = outcome is GateOutcome.PENDING and name is not HoldName.PAUSE
    return Result(str(name), outcome, reason, message, stage=Stage.BEFORE_PODS, stalled=stalled)
