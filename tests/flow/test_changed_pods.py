"""Pods that are not what was asked for: a candidate is refused, what serves goes on, and nothing is deleted in a loop."""

import itertools
from collections.abc import Callable

import pytest

from lockstep.controller.cluster import ports
from lockstep.controller.cluster.ports import Kind, Object
from lockstep.rollout.objects import labels
from tests.fakes import builders as build
from tests.fakes import live
from tests.flow.world import TEAM, World, ready_world, serving_world

VARIABLE = {"name": "AWS_ROLE_ARN", "value": "arn:x"}
Mutation = Callable[[Kind, Object], None]


def inject(kind: Kind, body: Object) -> None:
    """Add a variable to every pod, as an injector of cloud identities does."""
    if kind is ports.POD:
        server = body["spec"]["containers"][0]
        server["env"] = [*server.get("env", []), VARIABLE]


def injected(world: World) -> list[str]:
    """Return the names of the pods that have the variable."""
    return [p["metadata"]["name"] for p in world.pods(world.active) if VARIABLE in p["spec"]["containers"][0].get("env", [])]


def deleted_pods(world: World) -> list[str]:
    return [write.name for write in world.connection.writes if write.verb == "delete" and write.kind == "Pod"]


def end(world: World, *pods: str) -> None:
    """Let somebody delete pods."""
    for pod in pods or [p["metadata"]["name"] for p in world.pods(world.active)]:
        world.cluster.remove(ports.POD, TEAM, pod)


async def test_a_candidate_whose_pods_are_changed_at_admission_is_refused_by_name_and_withdrawn_as_a_whole() -> None:
    world = await serving_world()
    before = world.active
    world.cluster.mutations.append(inject)
    await world.image("next", flask="3.0.0")
    world.change(image=f"{build.REPOSITORY}:next")
    await world.settle()
    assert world.condition("Ready") == ("False", "PodTampered")
    assert "AWS_ROLE_ARN" in world.message("Ready")
    candidate = world.owner.status.candidate
    assert candidate is not None
    assert candidate.final
    assert deleted_pods(world) == []
    assert world.deployments() == {before: 2}
    assert world.condition("Available") == ("True", "Promoted")
    assert "DriftCorrected" not in world.events()
    assert await world.reconciliations(20, apart=60) == []


async def test_a_deployment_that_is_changed_at_admission_is_judged_by_its_pods_and_not_written_again_and_again() -> None:
    def inject_into_templates(kind: Kind, body: Object) -> None:
        if kind is ports.DEPLOYMENT:
            body["spec"]["template"]["spec"]["containers"][0]["env"] = [VARIABLE]

    world = await ready_world()
    world.cluster.mutations.append(inject_into_templates)
    await world.settle()
    assert world.condition("Ready") == ("False", "PodTampered")
    assert "AWS_ROLE_ARN" in world.message("Ready")
    assert len([write for write in world.connection.writes if write.kind == "Deployment"]) <= 4


async def test_a_label_that_admission_adds_to_deployments_keeps_nothing_from_being_promoted() -> None:
    def annotate(kind: Kind, body: Object) -> None:
        if kind is ports.DEPLOYMENT:
            body["spec"]["template"]["metadata"]["annotations"] = {"team": "a"}

    world = await ready_world()
    world.cluster.mutations.append(annotate)
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")
    assert await world.reconciliations(5) == []
    world.start()
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")
    assert "DriftCorrected" not in world.events(), "nobody changed anything"
    world.cluster.edit(
        ports.DEPLOYMENT,
        TEAM,
        f"iris-{world.active}",
        lambda d: d["spec"]["template"]["spec"]["containers"][0].update(image="evil"),
    )
    await world.settle()
    assert world.deployment(world.active)["spec"]["template"]["spec"]["containers"][0]["image"] != "evil"
    assert world.events()["DriftCorrected"] == 1


@pytest.mark.parametrize("replicas", [1, 3])
async def test_what_serves_goes_on_with_pods_that_admission_changed_when_there_are_no_others_and_says_so(replicas: int) -> None:
    world = await serving_world(replicas=replicas)
    world.cluster.mutations.append(inject)
    end(world)
    await world.reconcile()
    assert world.condition("Available") == ("False", "PodsNotReady"), "they are not up yet"
    await world.settle()
    mark = len(world.log)
    await world.reconciliations(100, apart=10)
    assert world.since(mark) == []
    assert deleted_pods(world) == []
    assert len(injected(world)) == replicas
    assert world.condition("Ready") == ("False", "ActivePodTampered")
    assert world.condition("Available") == ("True", "ActivePodTampered")
    assert "AWS_ROLE_ARN" in world.message("Ready")
    assert world.owner.status.ready_replicas == replicas
    assert [note for note in world.notes("ActiveDegraded") if "AWS_ROLE_ARN" in note] != []
    by = {"namespace": TEAM, "name": "iris", "reason": "ActivePodTampered"}
    assert world.metric("lockstep_active_degraded", **by) == 1
    world.cluster.mutations.clear()
    end(world)
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")
    assert world.metric("lockstep_active_degraded", **by) == 0


async def test_a_pod_that_admission_changed_stays_while_the_next_one_would_be_changed_too() -> None:
    world = await serving_world(replicas=3)
    world.cluster.mutations.append(inject)
    end(world, world.pods(world.active)[0]["metadata"]["name"])
    await world.reconciliations(60, apart=10)
    assert deleted_pods(world) == []
    assert len(injected(world)) == 1
    assert world.condition("Ready") == ("False", "ActivePodTampered")


async def test_pods_that_admission_changed_go_one_after_the_other_once_it_does_so_no_more() -> None:
    world = await serving_world(replicas=4)
    world.cluster.mutations.append(inject)
    end(world, *(pod["metadata"]["name"] for pod in world.pods(world.active)[:2]))
    await world.reconciliations(5, apart=10)
    world.cluster.mutations.clear()
    end(world, world.pods(world.active)[-1]["metadata"]["name"])
    end(world, next(name for name in [p["metadata"]["name"] for p in world.pods(world.active)] if name not in injected(world)))
    started = world.clock.monotonic()
    gone: list[float] = []
    for _ in range(60):
        before = len(deleted_pods(world))
        await world.reconciliations(1, apart=2)
        if len(deleted_pods(world)) > before:
            gone.append(world.clock.monotonic() - started)
        assert world.owner.status.ready_replicas >= 2
    assert injected(world) == []
    assert len(gone) >= 1
    assert all(later - earlier >= 30 for earlier, later in itertools.pairwise(gone))
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")


async def test_the_only_pod_is_replaced_when_its_image_was_changed_later() -> None:
    world = await serving_world(replicas=1)
    world.clock.advance(60)
    pod = world.pods(world.active)[0]["metadata"]["name"]
    world.cluster.edit(ports.POD, TEAM, pod, lambda p: p["spec"]["containers"][0].update(image="evil"))
    await world.settle()
    assert deleted_pods(world) == [pod]
    assert world.condition("Ready") == ("True", "Promoted")


async def test_pods_whose_images_are_changed_again_and_again_are_replaced_at_a_bounded_pace() -> None:
    world = await serving_world(replicas=1)
    for _ in range(200):
        for pod in world.pods(world.active):
            name = pod["metadata"]["name"]
            world.cluster.edit(ports.POD, TEAM, name, lambda p: p["spec"]["containers"][0].update(image="evil"))
        await world.reconciliations(1, apart=1)
    assert 200 / 30 - 1 <= len(deleted_pods(world)) <= 200 / 30 + 1


# --- lost labels and owners --------------------------------------------------------------------------------------------


def loses_a_label(obj: Object) -> None:
    del obj["metadata"]["labels"][labels.MODEL_DEPLOYMENT]


def loses_its_labels(obj: Object) -> None:
    obj["metadata"]["labels"] = {"a": "b"}


def gets_another_label(obj: Object) -> None:
    obj["metadata"]["labels"][labels.MODEL_DEPLOYMENT] = "another"


def loses_its_owner(obj: Object) -> None:
    del obj["metadata"]["ownerReferences"]


@pytest.mark.parametrize("change", [loses_a_label, loses_its_labels, gets_another_label, loses_its_owner])
@pytest.mark.parametrize("replicas", [1, 2])
async def test_a_replica_set_that_loses_labels_or_owner_keeps_its_pods_and_gets_them_back(
    change: Callable[[Object], None], replicas: int
) -> None:
    world = await serving_world(replicas=replicas)
    pods = {pod["metadata"]["uid"] for pod in world.pods(world.active)}
    [made] = world.cluster.all(ports.REPLICA_SET, TEAM)
    world.cluster.edit(ports.REPLICA_SET, TEAM, made["metadata"]["name"], change)
    await world.reconcile()
    await world.reconciliations(30, apart=2)
    await world.settle()
    assert {pod["metadata"]["uid"] for pod in world.pods(world.active)} == pods
    assert deleted_pods(world) == []
    assert world.condition("Ready") == ("True", "Promoted")
    [again] = world.cluster.all(ports.REPLICA_SET, TEAM)
    assert again["metadata"]["labels"].items() >= made["metadata"]["labels"].items() or change is loses_its_labels
    assert again["metadata"]["labels"][labels.MODEL_DEPLOYMENT] == "iris"
    assert again["metadata"]["ownerReferences"][0]["uid"] == world.deployment(world.active)["metadata"]["uid"]


async def test_while_a_replica_set_has_no_owner_its_pods_are_known_to_serve() -> None:
    world = await serving_world()
    [made] = world.cluster.all(ports.REPLICA_SET, TEAM)
    world.cluster.edit(ports.REPLICA_SET, TEAM, made["metadata"]["name"], loses_its_labels)
    world.workloads.step()
    world.workloads.step()
    refusing = [True]
    world.cluster.admission.append(
        lambda verb, kind, body: "denied" if refusing and verb == "replace" and kind is ports.REPLICA_SET else None
    )
    for _ in range(5):
        assert (await world.reconcile() or 0) >= 5
    assert deleted_pods(world) == []
    assert world.condition("Available") == ("True", "UpkeepRefused")
    assert world.condition("Ready") == ("False", "UpkeepRefused")
    assert "denied" in world.message("Ready")
    assert world.events()["ActiveDegraded"] == 1
    refusing.clear()
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")


async def test_a_pod_that_loses_its_owner_is_adopted_again_and_not_deleted() -> None:
    world = await serving_world()
    pods = {pod["metadata"]["uid"] for pod in world.pods(world.active)}
    world.cluster.edit(ports.POD, TEAM, world.pods(world.active)[0]["metadata"]["name"], loses_its_owner)
    await world.reconcile()
    await world.settle()
    assert {pod["metadata"]["uid"] for pod in world.pods(world.active)} == pods


async def test_a_pod_that_its_replica_set_no_longer_knows_goes_once_another_one_is_ready_in_its_place() -> None:
    world = await serving_world(replicas=1)
    world.clock.advance(60)
    [pod] = world.pods(world.active)
    name = pod["metadata"]["name"]
    world.cluster.edit(ports.POD, TEAM, name, lambda p: p["metadata"]["labels"].update({"pod-template-hash": "another"}))
    await world.reconcile()
    assert deleted_pods(world) == []
    for _ in range(40):
        await world.reconciliations(1, apart=2)
        assert world.owner.status.ready_replicas >= 1
        assert world.condition("Available") == ("True", "Promoted")
    assert deleted_pods(world) == [name]
    assert len(world.pods(world.active)) == 1


async def test_a_forged_owner_makes_no_pod_one_of_ours() -> None:
    world = await serving_world()
    [made] = world.cluster.all(ports.REPLICA_SET, TEAM)
    forged = live.pod(made, "stranger")
    for key in ("uid", "resourceVersion", "generation", "creationTimestamp"):
        del forged["metadata"][key]
    forged["spec"]["containers"][0]["image"] = "evil"
    world.cluster.add(ports.POD, forged, TEAM)
    await world.reconcile()
    assert deleted_pods(world) == ["stranger"]


# --- strangers that somebody makes again and again ----------------------------------------------------------------------


def stranger(world: World, revision: str | None, number: int) -> None:
    marks = live.reserved("iris", revision or "")
    spec = {"containers": [{"name": "server", "image": "evil"}]}
    world.cluster.add(ports.POD, {"metadata": {"name": f"stranger-{number}", "labels": marks}, "spec": spec}, TEAM)


async def test_strangers_that_come_again_and_again_are_deleted_at_a_bounded_pace_and_told() -> None:
    world = await serving_world()
    for number in range(300):
        if not [p for p in world.pods(world.active) if p["metadata"]["name"].startswith("stranger")]:
            stranger(world, world.active, number)
        await world.reconciliations(1, apart=1)
    assert len(deleted_pods(world)) <= 10 + 300 / 10 + 1
    assert world.condition("Ready") == ("False", "ForeignPod")
    assert "stranger-" in world.message("Ready")
    assert world.condition("Available") == ("True", "ForeignPod"), "its own pods are ready"
    for pod in world.pods(world.active):
        if pod["metadata"]["name"].startswith("stranger"):
            world.cluster.remove(ports.POD, TEAM, pod["metadata"]["name"])
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")


async def test_while_strangers_bear_a_candidates_labels_it_is_not_promoted() -> None:
    world = await serving_world()
    before = world.active
    await world.image("next", flask="3.0.0")
    world.change(image=f"{build.REPOSITORY}:next")
    await world.reconciliations(2)
    candidate = world.candidate
    assert candidate is not None
    for number in range(40):
        stranger(world, candidate, number)
    world.clock.advance(1)
    for number in range(40, 60):
        await world.reconciliations(1, apart=0.2)
        stranger(world, candidate, number)
    assert world.active == before
    assert world.condition("Ready") == ("False", "ForeignPod")
    await world.reconciliations(120, apart=10)
    assert world.active == candidate
    assert world.condition("Ready") == ("True", "Promoted")
