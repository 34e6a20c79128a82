"""Writes what Lockstep makes of the PromotionPolicies into their status, where it is not said there already."""

import asyncio
import logging
from collections.abc import Sequence

from lockstep.controller.cluster import ports
from lockstep.controller.cluster.ports import Clock, Cluster, ClusterError, Object, RejectedError
from lockstep.rollout.status.policystatus import marked_default, next_policy_status

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 5.0


class PolicyStatuses:
    """Evaluates all policies together, since whether one may be the default depends on the others."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock
        self._asked = asyncio.Event()

    def wake(self) -> None:
        """Ask for an evaluation of the policies; asking twice is asking once."""
        self._asked.set()

    async def run(self) -> None:
        """Evaluate the policies whenever somebody asks, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            if not await self.refresh():
                await asyncio.sleep(_RETRY_SECONDS)
                self._asked.set()

    async def refresh(self) -> bool:
        """Write the statuses that differ from what there is to say; return False where it is worth trying again soon."""
        try:
            policies = await self._cluster.list(ports.PROMOTION_POLICY, None)
        except ClusterError as error:
            _log.warning("the PromotionPolicies could not be listed: %s", error)
            return False
        defaults = marked_default(policies)
        return all([await self._write(raw, defaults) for raw in policies])

    async def _write(self, raw: Object, defaults: Sequence[str]) -> bool:
        metadata = raw["metadata"]
        status = next_policy_status(raw, defaults, self._clock.now()).payload()
        if raw.get("status") == status:
            return True
        try:
            await self._cluster.patch_status(
                ports.PROMOTION_POLICY, None, metadata["name"], status, resource_version=metadata["resourceVersion"]
            )
        except ClusterError as error:
            _log.warning("the status of the PromotionPolicy %s could not be written: %s", metadata["name"], error)
            # What is refused (the operator's rights are those of an older chart) is tried again with the next resync.
            return isinstance(error, RejectedError)
        return True
