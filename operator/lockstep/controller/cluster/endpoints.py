"""Takes away what would lead the traffic of an owned Service elsewhere, where the chart's guards are off or were passed.

An EndpointSlice of somebody else's is deleted at once. Endpoints are one object, which Kubernetes' own controller writes a
moment after pods come and go. They are deleted, for the controller to write them anew, when a second later they still seem
foreign and have not changed.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from lockstep.api.modeldeployment import ModelDeployment
from lockstep.api.reasons import EventReason
from lockstep.controller.cluster import ports
from lockstep.controller.cluster.ports import Clock, Cluster, Events, Kind, Object
from lockstep.rollout.objects import endpoints
from lockstep.rollout.observed.observed import Observed

_MOST = 20
"""So many are taken away at one reconciliation; the next one follows at once."""
_AT_ONCE = 0.2
_LAG = 1.0
"""Seconds for which Endpoints may name pods that are gone."""
_SHOWN = 3
_log = logging.getLogger(__name__)


class ForeignEndpoints:
    """Deletes EndpointSlices and Endpoints that others wrote."""

    def __init__(self, cluster: Cluster, events: Events, clock: Clock, removed: Callable[[], object]) -> None:
        """Take what is called for each that was removed."""
        self._cluster = cluster
        self._events = events
        self._clock = clock
        self._removed = removed
        self._suspects: dict[tuple[str, str], tuple[str, float]] = {}
        """Endpoints that seem foreign: their resourceVersion, and since when."""

    async def remove(self, raw: Object, owner: ModelDeployment, observed: Observed) -> float | None:
        """Remove what is foreign; return in how many seconds to check again, None when nothing seems foreign.

        Raises:
            ClusterError: it could not be read or removed.
        """
        if observed.service is None or observed.conflict is not None:
            self.forget((owner.namespace, owner.name))
            return None
        slices, written = await asyncio.gather(
            self._cluster.list(ports.ENDPOINT_SLICE, owner.namespace, labels={endpoints.SERVICE_NAME: owner.name}),
            self._cluster.get(ports.ENDPOINTS, owner.namespace, owner.name),
        )
        foreign = endpoints.foreign_slices(slices)
        for one in foreign[:_MOST]:
            await self._delete(raw, ports.ENDPOINT_SLICE, one, endpoints.addresses_of(one))
        due = await self._check_endpoints(raw, written, observed.pods)
        return _AT_ONCE if len(foreign) > _MOST else due

    def forget(self, key: tuple[str, str]) -> None:
        """Forget a ModelDeployment (namespace and name) that is gone."""
        self._suspects.pop(key, None)

    async def _check_endpoints(self, raw: Object, written: Object | None, pods: Sequence[Object]) -> float | None:
        key = (raw["metadata"]["namespace"], raw["metadata"]["name"])
        addresses = endpoints.foreign_addresses(written, pods) if written is not None else []
        if written is None or not addresses:
            self.forget(key)
            return None
        version, now = written["metadata"]["resourceVersion"], self._clock.monotonic()
        known, since = self._suspects.get(key, ("", now))
        if known != version:
            self._suspects[key] = (version, now)
            return _LAG
        if now - since < _LAG:
            return _LAG - (now - since)
        self.forget(key)
        await self._delete(raw, ports.ENDPOINTS, written, addresses)
        return None

    async def _delete(self, raw: Object, kind: Kind, found: Object, addresses: Sequence[str]) -> None:
        metadata = found["metadata"]
        await self._cluster.delete(kind, metadata["namespace"], metadata["name"], uid=metadata["uid"])
        self._removed()
        more = f" and {len(addresses) - _SHOWN} more" if len(addresses) > _SHOWN else ""
        led = f"led the Service's traffic to {', '.join(addresses[:_SHOWN])}{more}" if addresses else "held no address"
        note = f"{kind.kind} {metadata['name']} was written by somebody else and {led}; it was removed"
        _log.warning("%s", note, extra={"object": raw["metadata"]["name"]})
        await self._events.post(
            raw,
            type_="Warning",
            reason=str(EventReason.FOREIGN_ENDPOINTS),
            action="Correct",
            note=note,
            # One a minute, however often somebody writes them again.
            key=f"endpoints-{self._clock.now():%Y%m%d%H%M}",
        )
