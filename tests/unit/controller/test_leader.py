"""One leader at a time through the Lease, told by a clock that a test turns."""

import asyncio

import pytest

from lockstep.controller.cluster import ports
from lockstep.controller.cluster.ports import Object
from lockstep.controller.leader import DURATION, RENEW, SAFETY, Leader, LostError
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster
from tests.fakes.connection import Connection

SYSTEM, NAME = "lockstep-system", "lockstep-controller"


class Replicas:
    """Some replicas with one Lease; a pause lets time pass instead of waiting for it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.cluster = FakeCluster(self.clock)

    def replica(self, identity: str, cluster: ports.Cluster | None = None) -> Leader:
        return Leader(cluster or self.cluster, self.clock, namespace=SYSTEM, name=NAME, identity=identity, pause=self.pause)

    async def pause(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await asyncio.sleep(0)

    @property
    def lease(self) -> Object:
        found = self.cluster.find(ports.LEASE, SYSTEM, NAME)
        assert found is not None
        spec: Object = found["spec"]
        return spec


async def test_the_first_takes_the_lease_and_may_write_for_less_than_it_lasts() -> None:
    world = Replicas()
    one = world.replica("one")
    assert one.remaining() <= 0
    await one.acquire()
    assert world.lease["holderIdentity"] == "one"
    assert one.remaining() == DURATION - SAFETY
    world.clock.advance(DURATION - SAFETY)
    assert one.remaining() <= 0, "it stops before a standby may start"


async def test_a_standby_waits_until_the_lease_has_not_been_renewed_for_its_duration() -> None:
    world = Replicas()
    one, two = world.replica("one"), world.replica("two")
    await one.acquire()
    taken = world.clock.monotonic()
    await two.acquire()
    assert world.clock.monotonic() - taken > DURATION
    assert world.lease["holderIdentity"] == "two"
    assert world.lease["leaseTransitions"] == 1
    assert one.remaining() <= 0
    assert two.remaining() > 0


async def test_a_standby_with_a_wrong_clock_takes_nothing_that_is_renewed() -> None:
    world = Replicas()
    one, two = world.replica("one"), world.replica("two")
    await one.acquire()
    standby = asyncio.create_task(two.acquire())
    for _ in range(20):
        world.clock.advance(RENEW)
        await one.acquire()
        await asyncio.sleep(0)
    assert world.lease["holderIdentity"] == "one"
    standby.cancel()
    await asyncio.gather(standby, return_exceptions=True)


async def test_losing_the_lease_to_another_ends_the_process_and_the_right_to_write_at_once() -> None:
    world = Replicas()
    one = world.replica("one")
    await one.acquire()
    world.cluster.edit(ports.LEASE, SYSTEM, NAME, lambda lease: lease["spec"].update(holderIdentity="two", renewTime="now"))
    with pytest.raises(LostError, match="another replica"):
        await one.hold()
    assert one.remaining() <= 0


async def test_a_lease_that_can_not_be_renewed_in_time_is_lost() -> None:
    world = Replicas()
    connection = Connection(world.cluster)
    one = world.replica("one", connection)
    await one.acquire()
    connection.down = True
    with pytest.raises(LostError, match="in time"):
        await one.hold()


async def test_a_lease_that_was_given_up_is_taken_at_once() -> None:
    world = Replicas()
    one, two = world.replica("one"), world.replica("two")
    await one.acquire()
    await one.release()
    assert one.remaining() <= 0
    before = world.clock.monotonic()
    await two.acquire()
    assert world.clock.monotonic() == before


async def test_a_restarted_replica_takes_its_own_lease_at_once() -> None:
    world = Replicas()
    await world.replica("one").acquire()
    before = world.clock.monotonic()
    await world.replica("one").acquire()
    assert world.clock.monotonic() == before
    assert world.lease["leaseTransitions"] == 0


async def test_somebody_elses_lease_is_not_given_up() -> None:
    world = Replicas()
    one = world.replica("one")
    await one.acquire()
    world.cluster.edit(ports.LEASE, SYSTEM, NAME, lambda lease: lease["spec"].update(holderIdentity="two"))
    await one.release()
    assert world.lease["holderIdentity"] == "two"


class Contested(Connection):
    """A Lease that is always written by somebody else between reading and replacing it."""

    contested = False

    async def replace(self, kind: ports.Kind, namespace: str | None, body: Object, *, resource_version: str) -> Object:
        if self.contested:
            raise ports.ConflictError("the object has been modified")
        return await super().replace(kind, namespace, body, resource_version=resource_version)


async def test_a_lease_that_can_not_be_renewed_for_conflicts_is_lost_too() -> None:
    world = Replicas()
    connection = Contested(world.cluster)
    one = world.replica("one", connection)
    await one.acquire()
    connection.contested = True
    async with asyncio.timeout(2):
        with pytest.raises(LostError, match="in time"):
            await one.hold()
