"""The cluster's PriorityClasses."""

from collections.abc import Sequence

from lockstep.controller.cluster import ports
from lockstep.controller.cluster.ports import Clock, Cluster, Object

_SECONDS = 15.0


class PriorityClasses:
    """Keeps the PriorityClasses for some seconds: pods that come up cause many reconciliations."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock
        self._known: tuple[float, Sequence[Object]] | None = None

    async def list(self, *, expected: str | None) -> Sequence[Object]:
        """Return them, read anew where the one that is expected is not among them: somebody may have made it a moment ago.

        Raises:
            ClusterError: the API server did not answer.
        """
        now = self._clock.monotonic()
        if self._known is not None and now - self._known[0] < _SECONDS:
            classes = self._known[1]
            if expected is None or any(one["metadata"]["name"] == expected for one in classes):
                return classes
        classes = await self._cluster.list(ports.PRIORITY_CLASS, None)
        self._known = (now, classes)
        return classes
