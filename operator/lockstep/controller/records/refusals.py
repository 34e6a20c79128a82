"""How many refusals are recorded: whoever edits a ModelDeployment to and fro between bad images does not fill etcd.

Records are pruned now and then; this bounds what can come in between. A refusal that is not recorded shows in the status, in
events, metrics and the log like every other.
"""

from dataclasses import dataclass
from datetime import datetime

from lockstep.bounded import Bounded

_REMEMBERED = 10_000


@dataclass(frozen=True)
class Rate:
    """So many at once, and one more each so many seconds."""

    burst: int
    seconds: float


PER_DEPLOYMENT = Rate(10, 600.0)
PER_NAMESPACE = Rate(200, 60.0)


class Refusals:
    """Remembers who has had how many refusals recorded. A restart forgets it, and pruning bounds that too."""

    def __init__(self, per_deployment: Rate = PER_DEPLOYMENT, per_namespace: Rate = PER_NAMESPACE) -> None:
        self._buckets = ((_Buckets(per_deployment)), _Buckets(per_namespace))

    def permit(self, uid: str, namespace: str, now: datetime) -> bool:
        """Return whether one more refusal is recorded, and count it."""
        both = list(zip(self._buckets, (uid, namespace), strict=True))
        if not all(bucket.has_room(key, now) for bucket, key in both):
            return False
        for bucket, key in both:
            bucket.take(key)
        return True


class _Buckets:
    """Token buckets by key; the one that was used longest ago is forgotten, and full again."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._left: Bounded[str, tuple[float, datetime]] = Bounded(_REMEMBERED)

    def has_room(self, key: str, now: datetime) -> bool:
        """Fill the bucket up to now and return whether one is left."""
        left, since = self._left.pop(key, (float(self._rate.burst), now))
        left = min(float(self._rate.burst), left + max(0.0, (now - since).total_seconds()) / self._rate.seconds)
        self._left[key] = (left, now)
        return left >= 1

    def take(self, key: str) -> None:
        """Take one."""
        left, since = self._left[key]
        self._left[key] = (left - 1, since)
