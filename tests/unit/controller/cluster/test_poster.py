"""Events as they are posted."""

from lockstep.controller.cluster import ports
from lockstep.controller.cluster.ports import Object
from lockstep.controller.cluster.poster import EventPoster
from tests.fakes import builders as build
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster
from tests.fakes.connection import Connection

TEAM = "team"
RAW: Object = {
    "apiVersion": "lockstep.dev/v1alpha1",
    "kind": "ModelDeployment",
    "metadata": {"name": "iris", "namespace": TEAM, "uid": build.UID, "resourceVersion": "7"},
}


async def post(connection: Connection, **changes: str) -> None:
    said = {"type_": "Normal", "reason": "Promoted", "action": "Promote", "note": "it serves", "key": "promoted-1"} | changes
    await EventPoster(connection, instance="lockstep-1").post(RAW, **said)


async def test_an_event_names_the_object_and_the_controller() -> None:
    cluster = FakeCluster(FakeClock())
    await post(Connection(cluster), note="x" * 3000)
    [event] = cluster.all(ports.EVENT, TEAM)
    assert event["regarding"]["uid"] == build.UID
    assert (event["type"], event["reason"], event["action"]) == ("Normal", "Promoted", "Promote")
    assert event["reportingController"]
    assert event["reportingInstance"] == "lockstep-1"
    assert 1000 < len(event["note"].encode()) <= 1024


async def test_one_transition_is_one_event_whoever_tells_it() -> None:
    cluster = FakeCluster(FakeClock())
    for _ in range(3):
        await post(Connection(cluster))
    await post(Connection(cluster), key="promoted-2")
    assert len(cluster.all(ports.EVENT, TEAM)) == 2


async def test_an_event_that_can_not_be_posted_stops_nothing() -> None:
    connection = Connection(FakeCluster(FakeClock()), fence=lambda: 0.0)
    await post(connection)
    connection.down = True
    await post(connection)
