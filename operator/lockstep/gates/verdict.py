"""What all gates together mean for one candidate."""

from dataclasses import dataclass
from datetime import datetime

from lockstep.gates.gate import Result, Stage


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
    def permits_pods(self) -> bool:
        """Tell whether pods of the candidate may be started: every gate that needs none permits, and there is one at all."""
        return bool(self.results) and all(result.permits for result in self.results if result.stage is Stage.BEFORE_PODS)

    @property
    def blocking(self) -> Result | None:
        """The first result that holds the candidate back."""
        return next((result for result in self.results if not result.permits), None)
