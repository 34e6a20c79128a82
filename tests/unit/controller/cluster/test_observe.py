"""What is read for one ModelDeployment, and how often the API server is asked for it."""

from typing import Any

import pytest

from lockstep.controller.cluster import ports
from lockstep.controller.cluster.observe import foreign_services, observe
from lockstep.controller.cluster.ports import Object
from lockstep.rollout.objects import labels, manifests
from lockstep.rollout.observed.ownership import foreign_object
from tests.fakes import builders as build
from tests.fakes import live
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster
from tests.fakes.connection import Connection
from tests.flow.world import TEAM, World, serving_world

OF = live.snapshot()
OWNER = build.owner()


class Counting(Connection):
    """Counts what is read."""

    def __init__(self, world: World) -> None:
        super().__init__(world.cluster)
        self.read: list[str] = []

    async def get(self, kind: ports.Kind, namespace: str | None, name: str) -> Object | None:
        self.read.append(f"get {kind.kind} {name}")
        return await super().get(kind, namespace, name)


async def test_what_has_all_its_labels_is_listed_by_them_and_asked_for_no_further() -> None:
    world = await serving_world()
    counting = Counting(world)
    observed = await observe(counting, world.owner)
    assert counting.read == ["get Service iris", "get PodDisruptionBudget iris"]
    assert len(observed.pods_of(str(world.active))) == 2


async def test_a_replica_set_that_has_lost_its_label_is_read_by_the_name_that_its_pods_say() -> None:
    world = await serving_world()
    [made] = world.cluster.all(ports.REPLICA_SET, TEAM)
    name = made["metadata"]["name"]
    world.cluster.edit(ports.REPLICA_SET, TEAM, name, lambda rs: rs["metadata"]["labels"].pop(labels.MODEL_DEPLOYMENT))
    counting = Counting(world)
    observed = await observe(counting, world.owner)
    assert counting.read.count(f"get ReplicaSet {name}") == 1, "once for all its pods"
    assert len(observed.pods_of(str(world.active))) == 2


async def test_pods_that_name_owners_of_other_names_make_nobody_read_them() -> None:
    world = await serving_world()
    [made] = world.cluster.all(ports.REPLICA_SET, TEAM)
    for number in range(50):
        reference = {"kind": "ReplicaSet", "name": f"other-{number}", "uid": f"u-{number}", "controller": True}
        ours = {
            "kind": "ReplicaSet",
            "name": f"{made['metadata']['name'][:-4]}{number:04d}",
            "uid": f"v-{number}",
            "controller": True,
        }
        for kind, one in (("x", reference), ("y", ours)):
            metadata = {
                "name": f"pod-{kind}-{number}",
                "labels": labels.of_revision("iris", str(world.active)),
                "ownerReferences": [one],
            }
            world.cluster.add(ports.POD, {"metadata": metadata, "spec": {"containers": []}}, TEAM)
    counting = Counting(world)
    observed = await observe(counting, world.owner)
    assert len([read for read in counting.read if "ReplicaSet" in read]) <= 8
    assert len(observed.pods_of(str(world.active))) == 2


async def test_a_stranger_under_a_revisions_name_is_told_for_that_revision_alone() -> None:
    world = await serving_world()
    name = f"iris-{world.active}"
    world.cluster.edit(ports.DEPLOYMENT, TEAM, name, lambda d: d["metadata"].pop("ownerReferences"))
    observed = await observe(world.connection, world.owner)
    assert foreign_object(world.owner, observed, None) is None
    assert list(observed.taken) == [world.active]
    assert name in observed.taken[str(world.active)]
    world.cluster.edit(ports.SERVICE, TEAM, "iris", lambda s: s["metadata"].pop("ownerReferences"))
    observed = await observe(world.connection, world.owner)
    assert "the Service iris exists already" in str(foreign_object(world.owner, observed, None))


async def test_only_objects_that_the_model_deployment_controls_are_its_own() -> None:
    cluster = FakeCluster(FakeClock())
    cluster.add(ports.DEPLOYMENT, manifests.deployment(OWNER, OF, replicas=2, paused=True))
    stranger = manifests.deployment(OWNER.model_copy(update={"uid": "another"}), OF, replicas=2, paused=True)
    stranger["metadata"]["name"] = "iris-stranger"
    cluster.add(ports.DEPLOYMENT, stranger)
    observed = await observe(cluster, OWNER)
    assert set(observed.deployments) == {OF.revision}
    assert observed.conflict is None


@pytest.mark.parametrize(
    ("selector", "selects"),
    [
        ({labels.MODEL_DEPLOYMENT: "iris"}, True),
        ({"tier": "gold"}, True),
        ({"tier": "gold", labels.MODEL_DEPLOYMENT: "fraud"}, False),
        ({}, False),
        (None, False),
    ],
)
async def test_a_foreign_service_that_selects_our_pods_is_found(selector: Any, selects: bool) -> None:
    cluster = FakeCluster(FakeClock())
    cluster.add(ports.SERVICE, {"metadata": {"name": "other"}, "spec": {"selector": selector}}, TEAM)
    cluster.add(ports.SERVICE, {"metadata": {"name": "iris"}, "spec": {"selector": selector}}, TEAM)
    assert bool(await foreign_services(cluster, OWNER, OF.revision, {"tier": "gold"})) is selects


@pytest.mark.parametrize(
    ("spec", "selects"),
    [
        ({"selector": {"pod-template-hash": "6d4cf56db6"}}, True),
        ({"selector": {"pod-template-hash": "6d4cf56db6"}, "publishNotReadyAddresses": True}, True),
        ({"selector": {"injected": "yes", labels.MODEL_DEPLOYMENT: "iris"}}, True),
        ({"selector": {"pod-template-hash": "another"}}, False),
        ({"selector": {"pod-template-hash": "6d4cf56db6", "app": "mine"}}, False),
        ({"selector": {}, "publishNotReadyAddresses": True}, False),
        ({"selector": {"injected": "yes"}, "type": "ExternalName", "externalName": "example.com"}, False),
    ],
)
async def test_a_service_that_selects_by_what_only_the_live_pods_bear_is_found(spec: Object, selects: bool) -> None:
    cluster = FakeCluster(FakeClock())
    cluster.add(ports.SERVICE, {"metadata": {"name": "other"}, "spec": spec}, TEAM)
    pods = live.cluster(OWNER, OF).pods_of(OF.revision)
    pods[1]["metadata"]["labels"]["injected"] = "yes"
    assert await foreign_services(cluster, OWNER, OF.revision, {}) == []
    assert bool(await foreign_services(cluster, OWNER, OF.revision, {}, pods)) is selects
