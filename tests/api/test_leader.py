"""One leader at a time through a real Lease, with short durations and the real clock."""

import asyncio
import time

import pytest

from lockstep.controller.clock import SystemClock
from lockstep.controller.cluster import ports
from lockstep.controller.cluster.client import KubernetesCluster
from lockstep.controller.cluster.ports import ConflictError, DeposedError, Object
from lockstep.controller.leader import Leader, LostError, Timing
from tests.api.installation import SYSTEM, Installation
from tests.api.wait import eventually

pytestmark = pytest.mark.api

TIMING = Timing(duration=2, renew=0.2, safety=0.5)


class Replicas:
    """Replicas that want one Lease."""

    def __init__(self, cluster: KubernetesCluster, lease: str) -> None:
        self.cluster = cluster
        self.lease = lease

    def replica(self, identity: str) -> Leader:
        return Leader(self.cluster, SystemClock(), namespace=SYSTEM, name=self.lease, identity=identity, timing=TIMING)

    async def spec(self) -> Object:
        found = await self.cluster.get(ports.LEASE, SYSTEM, self.lease)
        assert found is not None
        return dict(found["spec"])

    async def renewed(self, before: Object) -> None:
        """Wait for a renewal. The clock counts whole seconds: one within the same second changes nothing."""

        async def is_renewed() -> bool:
            return bool((await self.spec())["renewTime"] != before["renewTime"])

        await eventually(is_renewed, 5)


@pytest.fixture
async def replicas(cluster: KubernetesCluster, team: str) -> Replicas:
    return Replicas(cluster, f"lease-of-{team}")


async def test_the_real_lease_is_taken_and_renewed(replicas: Replicas) -> None:
    one = replicas.replica("one")
    await one.acquire()
    first = await replicas.spec()
    assert first["holderIdentity"] == "one"
    assert first["leaseDurationSeconds"] == 2
    holding = asyncio.create_task(one.hold())
    await replicas.renewed(first)
    assert one.remaining() > 0
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)


async def test_of_two_that_start_together_one_leads(replicas: Replicas) -> None:
    leaders = [replicas.replica("one"), replicas.replica("two")]
    tasks = [asyncio.create_task(leader.acquire()) for leader in leaders]
    async with asyncio.timeout(10):
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert sum(leader.remaining() > 0 for leader in leaders) == 1
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_standby_takes_over_from_one_that_died_and_not_before(replicas: Replicas) -> None:
    one, two = replicas.replica("one"), replicas.replica("two")
    await one.acquire()
    taken = time.monotonic()
    async with asyncio.timeout(10):
        await two.acquire()
    assert time.monotonic() - taken >= TIMING.duration - 0.1
    assert one.remaining() <= 0 < two.remaining()
    spec = await replicas.spec()
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("two", 1)
    assert spec["acquireTime"] == spec["renewTime"]


async def test_a_lease_that_is_given_up_is_taken_at_once(replicas: Replicas) -> None:
    one, two = replicas.replica("one"), replicas.replica("two")
    await one.acquire()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3 * TIMING.renew):
            await two.acquire()
    await one.release()
    given = time.monotonic()
    async with asyncio.timeout(5):
        await two.acquire()
    assert time.monotonic() - given < 1
    assert one.remaining() <= 0


async def test_who_was_deposed_ends_and_can_write_nothing_more(api: Installation, replicas: Replicas, team: str) -> None:
    one, two = replicas.replica("one"), replicas.replica("two")
    await one.acquire()
    async with api.cluster(fence=one.remaining) as fenced:
        marks = {"lockstep.dev/model-deployment": "iris"}
        body: Object = {"metadata": {"name": "iris", "labels": marks}, "spec": {"ports": [{"port": 80}]}}
        await fenced.create(ports.SERVICE, team, body)
        # It stalls, as a process does that is stopped, until another has taken over.
        async with asyncio.timeout(10):
            await two.acquire()
        with pytest.raises(DeposedError):
            await fenced.delete(ports.SERVICE, team, "iris")
    with pytest.raises(LostError):
        await one.hold()
    assert (await replicas.spec())["holderIdentity"] == "two"
    await one.release()
    assert (await replicas.spec())["holderIdentity"] == "two", "what is another's is not given up"


async def test_a_renewal_from_a_stale_lease_is_a_conflict(replicas: Replicas) -> None:
    one = replicas.replica("one")
    await one.acquire()
    stale = await replicas.cluster.get(ports.LEASE, SYSTEM, replicas.lease)
    assert stale is not None
    holding = asyncio.create_task(one.hold())
    await replicas.renewed(stale["spec"])
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)
    with pytest.raises(ConflictError):
        await replicas.cluster.replace(ports.LEASE, SYSTEM, stale, resource_version=stale["metadata"]["resourceVersion"])
