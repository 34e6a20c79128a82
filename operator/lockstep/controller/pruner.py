"""Deletes the oldest of the records that only save time, so that they don't fill etcd."""

import logging
from collections.abc import Mapping

from lockstep.controller.ports import Cluster, Kind

_log = logging.getLogger(__name__)


class Pruner:
    """Keeps a number of records of some kinds."""

    def __init__(self, cluster: Cluster, namespace: str, keep: Mapping[Kind, int]) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._keep = keep

    async def prune(self) -> None:
        """Delete what is too much, the oldest first.

        Raises:
            ClusterError: the API server did not do it.
        """
        for kind, number in self._keep.items():
            found = list(await self._cluster.list_metadata(kind, self._namespace))
            found.sort(key=lambda obj: (obj["metadata"]["creationTimestamp"], obj["metadata"]["name"]))
            for old in found[: max(0, len(found) - number)]:
                metadata = old["metadata"]
                await self._cluster.delete(kind, self._namespace, metadata["name"], uid=metadata["uid"])
            if len(found) > number:
                _log.info("%d %ss were deleted, %d are kept", len(found) - number, kind.kind, number)
