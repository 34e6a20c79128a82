"""What is read for one ModelDeployment, and how often the API server is asked for it."""

from lockstep.controller.cluster import ports
from lockstep.controller.cluster.observe import observe
from lockstep.controller.cluster.ports import Object
from lockstep.rollout.objects import labels
from lockstep.rollout.observed.ownership import foreign_object
from tests.fakes.connection import Connection
from tests.flow.world import TEAM, World, serving_world


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
