"""Deletes records so that they don't fill etcd: caches by their number, PromotionRecords when nothing needs them any more.

LineagePins are never deleted: what a version declared when it was first seen would be asked of MLflow anew, and who trains
could have changed it by then. There is one of about a kilobyte for each version that was ever deployed.
"""

import logging
from collections.abc import Iterable, Mapping

from lockstep.controller.cluster import ports
from lockstep.controller.cluster.ports import Clock, Cluster, Kind, Object
from lockstep.controller.records.retention import Kept, Needed, Retention, superfluous
from lockstep.rollout.objects import labels

_AT_ONCE = 1000
"""Deletions in one pass, so that an old installation with many records does not keep the resync from its other work."""
_log = logging.getLogger(__name__)


class Pruner:
    """Keeps the newest records of the kinds that only save time, and the PromotionRecords that retention asks for."""

    def __init__(
        self, cluster: Cluster, namespace: str, keep: Mapping[Kind, int], *, clock: Clock, retention: Retention
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._keep = keep
        self._clock = clock
        self._retention = retention

    async def prune(self) -> None:
        """Delete what is too much, the oldest first.

        Raises:
            ClusterError: the API server did not do it.
        """
        for kind, number in self._keep.items():
            found = [Kept.of(raw) for raw in await self._cluster.list_metadata(kind, self._namespace)]
            found.sort(key=lambda record: (record.created, record.name))
            await self._delete(kind, found[: max(0, len(found) - number)])
        # First the records, then what may need them: what is promoted in between has a record that is not in the list.
        records = [Kept.of(raw) for raw in await self._cluster.list_metadata(ports.PROMOTION_RECORD, self._namespace)]
        if records:
            needed = await self._needed()
            await self._delete(
                ports.PROMOTION_RECORD, superfluous(records, needed, self._retention, self._clock.now())[:_AT_ONCE]
            )

    async def _needed(self) -> Needed:
        owners = await self._cluster.list(ports.MODEL_DEPLOYMENT, None)
        snapshots = await self._cluster.list_metadata(
            ports.CONTROLLER_REVISION, None, labels={labels.MANAGED_BY: labels.MANAGER}
        )
        stated = [revision for owner in owners for revision in _revisions(owner.get("status"))]
        marks = [raw["metadata"].get("labels") or {} for raw in snapshots]
        return Needed(
            owners=frozenset(str(owner["metadata"]["uid"]) for owner in owners),
            records=frozenset(str(one["record"]) for one in stated if one.get("record")),
            revisions=frozenset(
                [str(one["revision"]) for one in stated if one.get("revision")]
                + [mark[labels.REVISION] for mark in marks if labels.REVISION in mark]
            ),
        )

    async def _delete(self, kind: Kind, records: Iterable[Kept]) -> None:
        number = 0
        for record in records:
            await self._cluster.delete(kind, self._namespace, record.name, uid=record.uid)
            number += 1
        if number:
            _log.info("%d %ss were deleted", number, kind.kind)


def _revisions(status: object) -> list[Object]:
    """Return every revision that a status names, whoever wrote it: what it names too much is kept too long, no more."""
    if not isinstance(status, dict):
        return []
    history = status.get("history")
    found = [status.get("active"), status.get("candidate"), *(history if isinstance(history, list) else [])]
    return [one for one in found if isinstance(one, dict)]
