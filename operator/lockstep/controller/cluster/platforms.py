"""The platform whose images are checked: that of the cluster's nodes."""

from lockstep.controller.cluster import ports
from lockstep.controller.cluster.ports import Clock, Cluster
from lockstep.images.image import ImagePlatform

_KEPT_SECONDS = 60.0
_ARCHITECTURE = "kubernetes.io/arch"
_DEFAULT = "amd64"


class Platforms:
    """Determines the platform of a pod's nodes; the API server is asked at most once a minute."""

    def __init__(self, cluster: Cluster, clock: Clock, fixed: ImagePlatform | None) -> None:
        self._cluster = cluster
        self._clock = clock
        self._fixed = fixed
        self._known: tuple[float, tuple[str, ...]] | None = None

    async def of(self, node_selector: dict[str, str]) -> ImagePlatform:
        """Return the platform for pods with a node selector; of several architectures, the commonest one."""
        if self._fixed is not None:
            return self._fixed
        if chosen := node_selector.get(_ARCHITECTURE):
            return ImagePlatform("linux", chosen)
        found = await self._architectures()
        return ImagePlatform("linux", max(sorted(set(found)), key=found.count) if found else _DEFAULT)

    async def _architectures(self) -> tuple[str, ...]:
        now = self._clock.monotonic()
        if self._known is not None and now - self._known[0] < _KEPT_SECONDS:
            return self._known[1]
        nodes = await self._cluster.list(ports.NODE, None)
        labels = [(node["metadata"].get("labels") or {}).get(_ARCHITECTURE) for node in nodes]
        found = tuple(label for label in labels if label)
        self._known = (now, found)
        return found
