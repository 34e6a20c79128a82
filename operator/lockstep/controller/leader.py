"""One active replica through a Lease (coordination.k8s.io/v1). Losing it ends the process; a deposed leader can't write."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lockstep.controller.cluster import ports
from lockstep.controller.cluster.ports import Clock, Cluster, ClusterError, Object

_log = logging.getLogger(__name__)

DURATION = 15.0
"""Seconds after which a standby may take the Lease over."""
RENEW = 3.0
"""Seconds between renewals."""
SAFETY = 5.0
"""Writing stops so many seconds before a standby may take over."""


@dataclass(frozen=True)
class Timing:
    """How long the Lease lasts; a test's may be shorter."""

    duration: float = DURATION
    renew: float = RENEW
    safety: float = SAFETY


_TIMING = Timing()


class LostError(Exception):
    """The Lease could not be renewed in time, or somebody else holds it."""


class Leader:
    """Takes, renews and releases the Lease."""

    def __init__(
        self,
        cluster: Cluster,
        clock: Clock,
        *,
        namespace: str,
        name: str,
        identity: str,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        timing: Timing = _TIMING,
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._pause = pause
        self._timing = timing
        self._held_until = float("-inf")
        self._seen: tuple[Any, float] | None = None

    def remaining(self) -> float:
        """Return for how many seconds this process may still write for sure; the fence of every write."""
        return self._held_until - self._clock.monotonic()

    async def acquire(self) -> None:
        """Wait until the Lease is ours."""
        while True:
            try:
                if await self._try():
                    _log.info("this replica leads")
                    return
            except ClusterError as error:
                _log.warning("the Lease could not be read or taken: %s", error)
            await self._pause(self._timing.renew)

    async def hold(self) -> None:
        """Renew the Lease until it is lost.

        Raises:
            LostError: always, in the end.
        """
        while True:
            await self._pause(self._timing.renew)
            try:
                if not await self._try():
                    self._held_until = float("-inf")
                    raise LostError("another replica holds the Lease")
            except ClusterError as error:
                _log.warning("the Lease could not be renewed: %s", error)
            if self.remaining() <= 0:
                raise LostError("the Lease could not be renewed in time")

    async def release(self) -> None:
        """Give the Lease up, so that a standby takes over at once."""
        if self.remaining() <= 0:
            return
        self._held_until = float("-inf")
        try:
            lease = await self._cluster.get(ports.LEASE, self._namespace, self._name)
            if lease is not None and lease["spec"].get("holderIdentity") == self._identity:
                body = self._body(lease, holder="", seconds=1)
                await self._cluster.replace(
                    ports.LEASE, self._namespace, body, resource_version=lease["metadata"]["resourceVersion"]
                )
        except ClusterError as error:
            _log.info("the Lease was not released: %s", error)

    async def _try(self) -> bool:
        """Take or renew the Lease; False when another replica holds it."""
        asked = self._clock.monotonic()
        lease = await self._cluster.get(ports.LEASE, self._namespace, self._name)
        if lease is None:
            await self._cluster.create(ports.LEASE, self._namespace, self._body(None, holder=self._identity))
        else:
            if not self._free(lease):
                return False
            body = self._body(lease, holder=self._identity)
            version = lease["metadata"]["resourceVersion"]
            await self._cluster.replace(ports.LEASE, self._namespace, body, resource_version=version)
        # Counted from before the request: the API server may have taken it any time since then.
        self._held_until = asked + self._timing.duration - self._timing.safety
        return True

    def _free(self, lease: Object) -> bool:
        """Return whether the Lease may be taken: ours, given up, or not renewed for its duration by our own clock."""
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        if holder in ("", self._identity):
            return True
        state = (holder, spec.get("renewTime"))
        now = self._clock.monotonic()
        if self._seen is None or self._seen[0] != state:
            self._seen = (state, now)
        return now - self._seen[1] > float(spec.get("leaseDurationSeconds") or self._timing.duration)

    def _body(self, lease: Object | None, *, holder: str, seconds: float | None = None) -> Object:
        spec: Object = dict((lease or {}).get("spec") or {})
        now = _micro_time(self._clock.now())
        if spec.get("holderIdentity") != holder:
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + (1 if lease is not None else 0)
            spec["acquireTime"] = now
        # A part of a second would let a standby come too early.
        lasts = math.ceil(self._timing.duration if seconds is None else seconds)
        spec |= {"holderIdentity": holder, "leaseDurationSeconds": lasts, "renewTime": now}
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": spec,
        }


def _micro_time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
