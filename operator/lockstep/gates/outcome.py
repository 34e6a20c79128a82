"""What a gate answers, and what all of them together mean: the verdict."""

from dataclasses import dataclass
from datetime import datetime

from lockstep.api.modeldeployment import GateMode, GateOutcome
from lockstep.api.reasons import Reason
from lockstep.environment.compare import Difference


@dataclass(frozen=True)
class Result:
    """The answer of one gate."""

    gate: str
    outcome: GateOutcome
    reason: Reason
    message: str
    mode: GateMode = GateMode.ENFORCE
    differences: tuple[Difference, ...] = ()
    """Only of the environment gate: what differs, most decisive first."""
    next_step: str | None = None
    """Who has to do what, ending with the exact command; part of what people see."""
    final: bool = False
    """True for a Rejected that only another spec, policy or a raised spec.retry can change: a fault of the candidate."""
    retry_after: float | None = None
    """Seconds until it is worth looking again, when the gate knows."""

    @property
    def permits(self) -> bool:
        """Tell whether this result lets the candidate go on: Passed, or not enforced. Off never reaches a Result."""
        return self.outcome is GateOutcome.PASSED or self.mode is GateMode.AUDIT


@dataclass(frozen=True)
class Verdict:
    """All results for one candidate, in the chain's order. An empty verdict permits nothing."""

    results: tuple[Result, ...]
    policy_hash: str
    decided_at: datetime
    environment_digest: str | None = None

    @property
    def permits_traffic(self) -> bool:
        """Tell whether every gate of the chain has answered and permits (design, "Passing")."""
        return bool(self.results) and all(result.permits for result in self.results)

    @property
    def blocking(self) -> Result | None:
        """The first result that holds the candidate back."""
        return next((result for result in self.results if not result.permits), None)
