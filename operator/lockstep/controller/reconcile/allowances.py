"""How many pods may be removed for each ModelDeployment: a token bucket, kept in the process."""

from lockstep.bounded import Bounded
from lockstep.controller.cluster.ports import Clock
from lockstep.rollout.maintain import Allowance

_BURST = 10
_SECONDS = 10.0
"""Until one more pod may be removed."""
_KEPT = 4096


class Allowances:
    """Counts what was removed, by the ModelDeployment's uid.

    A restart forgets it, and so allows one burst more; what the rule of `rollout.removals` itself paces is not forgotten.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left: Bounded[str, tuple[float, float]] = Bounded(_KEPT)

    def of(self, uid: str) -> Allowance:
        """Return what is allowed now."""
        left = self._now(uid)
        return Allowance(pods=int(left), refill=_SECONDS * (1 - left % 1))

    def spend(self, uid: str, pods: int) -> None:
        """Count pods that were removed."""
        if not pods:
            return
        self._left[uid] = (self._clock.monotonic(), self._now(uid) - pods)

    def _now(self, uid: str) -> float:
        since, left = self._left.get(uid, (0.0, float(_BURST)))
        return min(float(_BURST), left + (self._clock.monotonic() - since) / _SECONDS)
