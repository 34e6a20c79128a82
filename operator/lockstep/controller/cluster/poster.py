"""Posts Kubernetes events (events.k8s.io/v1), each named after the transition that it is about."""

import logging
from datetime import UTC, datetime

from lockstep.controller.cluster import ports
from lockstep.controller.cluster.ports import Cluster, ClusterError, ConflictError, Object, UnavailableError
from lockstep.rollout.objects.revision import short_hash

_log = logging.getLogger(__name__)
CONTROLLER = "lockstep.dev/controller"
_NOTE_BYTES = 1024


class EventPoster:
    """Implements `Events`."""

    def __init__(self, cluster: Cluster, *, instance: str) -> None:
        self._cluster = cluster
        self._instance = instance

    async def post(self, regarding: Object, *, type_: str, reason: str, action: str, note: str, key: str) -> None:
        """See `Events.post`."""
        metadata = regarding["metadata"]
        namespace = metadata["namespace"]
        body = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{metadata['name']}.{short_hash([metadata['uid'], key])}", "namespace": namespace},
            "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance[:128],
            "type": type_,
            "reason": reason,
            "action": action,
            "note": _truncate(note),
            "regarding": {
                "apiVersion": regarding["apiVersion"],
                "kind": regarding["kind"],
                "name": metadata["name"],
                "namespace": namespace,
                "uid": metadata["uid"],
                "resourceVersion": metadata.get("resourceVersion", ""),
            },
        }
        try:
            await self._create(namespace, body)
        except ConflictError:
            # Posted before a crash or by the leader before us.
            return
        except ClusterError as error:
            _log.warning("the event %s of %s/%s could not be posted: %s", reason, namespace, metadata["name"], error)

    async def _create(self, namespace: str, body: Object) -> None:
        try:
            await self._cluster.create(ports.EVENT, namespace, body)
        except UnavailableError:
            # Once more: the status will not be news a second time. Its name keeps it from being two.
            await self._cluster.create(ports.EVENT, namespace, body)


def _truncate(note: str) -> str:
    """Cut a note to what the API server takes, which counts bytes; an event with a longer one would be refused."""
    data = note.encode()
    if len(data) <= _NOTE_BYTES:
        return note
    ellipsis = "…"
    return data[: _NOTE_BYTES - len(ellipsis.encode())].decode(errors="ignore") + ellipsis
