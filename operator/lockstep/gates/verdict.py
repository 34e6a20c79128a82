"""What all gates and holds together mean for one candidate."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from lockstep.api.modeldeployment import GateOutcome
from lockstep.gates.gate import Result, Stage


class _Answer(Protocol):
    """A result as a verdict or a status has it."""

    @property
    def outcome(self) -> GateOutcome: ...

    @property
    def permits(self) -> bool: ...

    @property
    def awaits_pods(self) -> bool: ...


A = TypeVar("A", bound=_Answer)


def decisive(gates: Iterable[A], holds: Iterable[A]) -> A | None:
    """Return what a candidate is said to wait for: a gate that refuses it, else a hold, else the gate that it waits for.

    A refusal is named first, since lifting the hold would not help. A gate that waits is named last, since it may wait for
    nothing but the hold.
    """
    blocking = [gate for gate in gates if not gate.permits]
    # What waits for the pods is no cause while the pods themselves are not there, or are refused.
    own = [gate for gate in blocking if not gate.awaits_pods]
    gate = next(iter(own or blocking), None)
    if gate is not None and gate.outcome is GateOutcome.REJECTED:
        return gate
    return next(iter(holds), gate)


@dataclass(frozen=True)
class Verdict:
    """All results for one candidate, in the chain's order. An empty verdict permits nothing."""

    results: tuple[Result, ...]
    policy_hash: str
    decided_at: datetime
    environment_digest: str | None = None
    holds: tuple[Result, ...] = ()

    @property
    def permits_traffic(self) -> bool:
        """Return whether every gate of the chain has answered and permits, and nothing holds."""
        return bool(self.results) and all(result.permits for result in self.results) and not self.holds

    @property
    def permits_pods(self) -> bool:
        """Return whether pods may be started: nothing holds, and there are gates of which every one that needs no pod permits,
        or waits for what the pods show.
        """
        before = (result.permits or result.awaits_pods for result in self.results if result.stage is Stage.BEFORE_PODS)
        return bool(self.results) and all(before) and not self.holds

    @property
    def blocking(self) -> Result | None:
        """The result that keeps the candidate from going on, as `decisive` names it."""
        return decisive(self.results, self.holds)
