"""What somebody else changes is put right within a reconciliation or two, and told by an event each."""

from collections.abc import Callable
from typing import Any

import pytest

from lockstep.controller.cluster import ports
from lockstep.controller.cluster.ports import Object
from lockstep.rollout.objects import labels
from tests.fakes import builders as build
from tests.fakes import live
from tests.flow.world import OWNER, SYSTEM, TEAM, World, serving_world


async def changed(world: World, *, reconciliations: int = 4) -> None:
    """Let the operator put right what was changed, and everything settle."""
    await world.reconciliations(reconciliations, apart=0.2)
    await world.settle()


def service(change: Callable[[Object], None]) -> Callable[[World], None]:
    return lambda world: _edit(world, lambda: world.cluster.edit(ports.SERVICE, TEAM, "iris", change))


def deployment(change: Callable[[Object], None]) -> Callable[[World], None]:
    return lambda world: _edit(world, lambda: world.cluster.edit(ports.DEPLOYMENT, TEAM, f"iris-{world.active}", change))


def _edit(world: World, act: Callable[[], object]) -> None:
    act()


def _container(obj: Object) -> Object:
    found: Object = obj["spec"]["template"]["spec"]["containers"][0]
    return found


CHANGES: dict[str, Callable[[World], None]] = {
    "the Service's selector": service(lambda s: s["spec"].update(selector={"app": "mine"})),
    "the Service's ports": service(lambda s: s["spec"]["ports"][0].update(targetPort=9999)),
    "the Service's external IPs": service(lambda s: s["spec"].update(externalIPs=["203.0.113.7"])),
    "the Deployment's image": deployment(lambda d: _container(d).update(image="registry.example.com/team/iris:evil")),
    "the Deployment's environment": deployment(lambda d: _container(d).update(env=[{"name": "PYTHONPATH", "value": "/x"}])),
    "the Deployment's sidecar": deployment(
        lambda d: d["spec"]["template"]["spec"]["containers"].append({"name": "sidecar", "image": "evil"})
    ),
    "the Deployment's pause": deployment(lambda d: d["spec"].pop("paused")),
}


def state(world: World) -> tuple[Any, ...]:
    spec = world.get(ports.SERVICE, TEAM, "iris")["spec"]
    deployed = world.deployment(world.active)["spec"]
    budget = world.get(ports.POD_DISRUPTION_BUDGET, TEAM, "iris")["spec"]
    images = {pod["spec"]["containers"][0]["image"] for pod in world.pods(world.active)}
    return spec, deployed, budget, images, len(world.pods(world.active)), world.condition("Ready")


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_a_change_of_what_serves_is_put_right_and_told(change: Callable[[World], None]) -> None:
    world = await serving_world()
    before = state(world)
    change(world)
    assert state(world) != before
    await world.reconciliations(1, apart=0.2)
    assert state(world)[:2] == before[:2], "at the next reconciliation"
    await changed(world)
    assert state(world) == before
    assert world.events()["DriftCorrected"] == 1
    assert world.events()["Promoted"] == 1
    assert world.metric("lockstep_drift_corrections_total") == 1
    assert await world.reconciliations(5) == []


async def test_an_edit_that_was_rolled_out_already_is_put_right_with_its_replica_set_and_pods() -> None:
    world = await serving_world()
    before = state(world)

    def take_over(live_one: Object) -> None:
        _container(live_one)["image"] = "evil"
        del live_one["spec"]["paused"]

    world.cluster.edit(ports.DEPLOYMENT, TEAM, f"iris-{world.active}", take_over)
    world.workloads.step()
    assert {pod["spec"]["containers"][0]["image"] for pod in world.pods(world.active)} >= {"evil"}
    await changed(world)
    assert state(world) == before
    assert len(world.cluster.all(ports.REPLICA_SET, TEAM)) <= 2
    assert await world.reconciliations(5) == []


async def test_the_same_change_made_twice_is_told_twice() -> None:
    world = await serving_world()
    for _ in range(2):
        world.cluster.edit(ports.SERVICE, TEAM, "iris", lambda s: s["spec"].update(selector={"app": "mine"}))
        await changed(world)
    assert world.events()["DriftCorrected"] == 2


async def test_a_changed_scale_is_put_right() -> None:
    world = await serving_world()
    await world.cluster.scale(ports.DEPLOYMENT, TEAM, f"iris-{world.active}", 7)
    await changed(world)
    assert world.deployments() == {world.active: 2}


async def test_a_changed_budget_is_put_right() -> None:
    world = await serving_world()
    world.cluster.edit(ports.POD_DISRUPTION_BUDGET, TEAM, "iris", lambda b: b["spec"].update(maxUnavailable=100))
    await changed(world)
    assert world.get(ports.POD_DISRUPTION_BUDGET, TEAM, "iris")["spec"]["maxUnavailable"] == 1
    assert world.events()["DriftCorrected"] == 1


@pytest.mark.parametrize("kind", [ports.SERVICE, ports.POD_DISRUPTION_BUDGET, ports.CONTROLLER_REVISION, ports.DEPLOYMENT])
async def test_what_is_deleted_is_made_again_from_the_record(kind: ports.Kind) -> None:
    world = await serving_world()
    name = "iris" if kind in (ports.SERVICE, ports.POD_DISRUPTION_BUDGET) else f"iris-{world.active}"
    spec = state(world)
    await world.cluster.delete(kind, TEAM, name)
    await changed(world)
    if kind is not ports.CONTROLLER_REVISION:
        assert world.cluster.find(kind, TEAM, name) is not None
    assert state(world)[3:] == spec[3:]
    assert world.deployment(world.active)["spec"]["paused"] is True
    assert world.events()["Promoted"] == 1


async def test_a_pod_whose_image_was_changed_is_replaced() -> None:
    world = await serving_world()
    pod = world.pods(world.active)[0]["metadata"]["name"]
    world.cluster.edit(ports.POD, TEAM, pod, lambda p: p["spec"]["containers"][0].update(image="evil"))
    await changed(world)
    assert pod not in {one["metadata"]["name"] for one in world.pods(world.active)}
    assert len(world.pods(world.active)) == 2
    assert world.events()["DriftCorrected"] == 1
    assert "image" in world.notes("DriftCorrected")[0]


async def test_a_pod_with_an_ephemeral_container_is_replaced() -> None:
    world = await serving_world()
    pod = world.pods(world.active)[0]["metadata"]["name"]
    world.cluster.edit(ports.POD, TEAM, pod, lambda p: p["spec"].update(ephemeralContainers=[{"name": "debugger"}]))
    await changed(world)
    assert pod not in {one["metadata"]["name"] for one in world.pods(world.active)}


async def test_a_foreign_pod_with_the_reserved_labels_is_deleted() -> None:
    world = await serving_world()
    marks = live.reserved("iris", world.active or "")
    spec = {"containers": [{"name": "server", "image": "evil"}]}
    world.cluster.add(ports.POD, {"metadata": {"name": "stranger", "labels": marks}, "spec": spec}, TEAM)
    await changed(world)
    assert world.cluster.find(ports.POD, TEAM, "stranger") is None
    assert len(world.pods(world.active)) == 2
    assert world.events()["DriftCorrected"] == 1


async def test_a_foreign_replica_set_with_the_reserved_labels_is_deleted_with_its_pods() -> None:
    world = await serving_world()
    marks = live.reserved("iris", world.active or "") | {"pod-template-hash": "other"}
    template = {"metadata": {"labels": marks}, "spec": {"containers": [{"name": "server", "image": "evil"}]}}
    body = {"metadata": {"name": "stranger", "labels": marks}, "spec": {"replicas": 1, "template": template}}
    world.cluster.add(ports.REPLICA_SET, body, TEAM)
    world.workloads.step()
    assert len(world.pods(world.active)) == 3
    await changed(world)
    assert world.cluster.find(ports.REPLICA_SET, TEAM, "stranger") is None
    assert len(world.pods(world.active)) == 2


async def test_an_edited_replica_set_is_put_right_with_its_pods() -> None:
    world = await serving_world()
    before = state(world)
    [made] = world.cluster.all(ports.REPLICA_SET, TEAM)
    name = made["metadata"]["name"]
    world.cluster.edit(ports.REPLICA_SET, TEAM, name, lambda rs: _container(rs).update(image="evil"))
    await changed(world)
    assert world.get(ports.REPLICA_SET, TEAM, name)["spec"] == made["spec"]
    assert state(world) == before
    assert world.events()["DriftCorrected"] == 1


MARKS = [labels.MODEL_DEPLOYMENT, labels.REVISION, labels.MANAGED_BY]


@pytest.mark.parametrize("value", [None, "other"])
@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("kind", [ports.DEPLOYMENT, ports.SERVICE, ports.CONTROLLER_REVISION], ids=lambda kind: kind.kind)
async def test_a_label_of_ours_that_somebody_changes_is_put_right_and_no_pod_is_touched(
    kind: ports.Kind, mark: str, value: str | None
) -> None:
    world = await serving_world()
    name = "iris" if kind is ports.SERVICE else f"iris-{world.active}"
    pods = {pod["metadata"]["uid"] for pod in world.pods(world.active)}
    before = world.get(kind, TEAM, name)["metadata"]["labels"]

    def relabel(obj: Object) -> None:
        obj["metadata"]["labels"].pop(mark, None)
        obj["metadata"]["labels"] |= {mark: value} if value else {}

    world.cluster.edit(kind, TEAM, name, relabel)
    await changed(world)
    assert {pod["metadata"]["uid"] for pod in world.pods(world.active)} == pods
    if kind is not ports.CONTROLLER_REVISION:
        assert world.get(kind, TEAM, name)["metadata"]["labels"].items() >= before.items()
    assert await world.reconciliations(5) == []


async def test_a_deployment_that_is_no_longer_ours_is_said_and_left_alone_without_a_hot_loop() -> None:
    world = await serving_world()
    name = f"iris-{world.active}"
    world.cluster.edit(ports.DEPLOYMENT, TEAM, name, lambda d: d["metadata"].pop("ownerReferences"))
    await world.settle()
    assert world.condition("Ready") == ("False", "NameConflict")
    assert name in world.message("Ready")
    mark = len(world.log)
    for _ in range(5):
        due = await world.reconcile()
        assert due is not None
        assert due >= 5
    assert world.since(mark) == []
    assert world.served == world.active
    assert len(world.pods(world.active)) == 2


async def test_a_correction_that_admission_refuses_is_said_once_and_tried_again() -> None:
    world = await serving_world()
    refusing = [True]
    world.cluster.admission.append(
        lambda verb, kind, body: "denied by a webhook" if kind is ports.SERVICE and verb != "edit" and refusing else None
    )
    world.cluster.edit(ports.SERVICE, TEAM, "iris", lambda s: s["spec"].update(selector={"app": "mine"}))
    for _ in range(5):
        assert (await world.reconcile() or 0) >= 5
    assert world.events()["ActiveDegraded"] == 1
    refusing.clear()
    await changed(world)
    assert world.served == world.active


async def test_in_a_namespace_that_is_being_deleted_nobody_is_told_that_nothing_can_be_made_any_more() -> None:
    world = await serving_world()
    world.cluster.edit(ports.NAMESPACE, None, TEAM, lambda n: n["metadata"].update(deletionTimestamp="2026-11-20T12:00:00Z"))
    ending = f"forbidden: unable to create new content in namespace {TEAM} because it is being terminated"
    world.cluster.admission.append(lambda verb, kind, body: ending if verb == "create" else None)
    await world.cluster.delete(ports.SERVICE, TEAM, "iris")
    assert await world.reconcile() is None
    assert "ActiveDegraded" not in world.events()


# --- the status ---------------------------------------------------------------------------------------------------------


async def test_a_status_that_somebody_edits_is_put_right_and_told() -> None:
    world = await serving_world()
    before = world.owner.status

    def lie(owner: Object) -> None:
        owner["status"]["conditions"][0] |= {"status": "False", "reason": "Waiting"}
        owner["status"]["active"]["modelVersion"] = "99"

    world.cluster.edit(*OWNER, lie)
    await changed(world, reconciliations=2)
    assert world.owner.status == before
    assert world.events()["StatusCorrected"] == 1
    assert world.events()["Promoted"] == 1


@pytest.mark.parametrize("restarted", [False, True], ids=["the same process", "a fresh process"])
async def test_an_emptied_status_is_restored_from_the_record(restarted: bool) -> None:
    world = await serving_world()
    before = world.active
    world.clock.advance(3600)
    world.cluster.edit(*OWNER, lambda owner: owner.pop("status"))
    if restarted:
        world.start()
    await changed(world, reconciliations=2)
    assert (world.active, world.served) == (before, before)
    assert world.condition("Ready") == ("True", "Promoted")
    assert world.deployments() == {before: 2}
    assert world.events()["Promoted"] == 1, "it has served all the time"


@pytest.mark.parametrize("restarted", [False, True], ids=["the same process", "a fresh process"])
async def test_a_status_that_calls_an_unrecorded_revision_active_is_not_believed(restarted: bool) -> None:
    world = await serving_world()
    before = world.active
    await world.image("wrong", scikit_learn="1.2.0")
    world.change(image=f"{build.REPOSITORY}:wrong")
    await world.settle()
    candidate = world.owner.status.candidate
    assert candidate is not None

    def lie(owner: Object) -> None:
        status = owner["status"]
        status["active"] = {k: v for k, v in status["candidate"].items() if k not in ("gates", "final", "blockedSince")}
        status["active"]["record"] = f"iris-{candidate.revision}-forged"
        del status["candidate"]

    world.cluster.edit(*OWNER, lie)
    if restarted:
        world.start()
    await changed(world, reconciliations=2)
    assert (world.active, world.served) == (before, before)
    assert world.deployments() == {before: 2}
    assert world.condition("EnvironmentMatched") == ("False", "EnvironmentMismatch")


async def test_a_refused_record_vouches_for_nothing() -> None:
    world = await serving_world()
    before = world.active
    await world.image("wrong", scikit_learn="1.2.0")
    world.change(image=f"{build.REPOSITORY}:wrong")
    await world.settle()
    [refused] = [r for r in world.cluster.all(ports.PROMOTION_RECORD, SYSTEM) if r["spec"]["outcome"] == "Refused"]

    def lie(owner: Object) -> None:
        owner["status"]["active"] |= {"record": refused["metadata"]["name"], "revision": refused["spec"]["revision"]}

    world.cluster.edit(*OWNER, lie)
    world.start()
    await changed(world, reconciliations=2)
    assert (world.active, world.served) == (before, before)


async def test_a_status_that_can_not_be_read_is_put_right() -> None:
    world = await serving_world()
    before = world.active
    world.cluster.edit(*OWNER, lambda owner: owner.update(status={"conditions": "none", "replicas": -1}))
    await changed(world, reconciliations=2)
    assert (world.active, world.served) == (before, before)
    assert world.condition("Ready") == ("True", "Promoted")


async def test_the_labels_of_foreign_objects_without_a_revision_are_nobodys_business() -> None:
    world = await serving_world()
    body = {"metadata": {"name": "job", "labels": {labels.MODEL_DEPLOYMENT: "iris"}}, "spec": {"containers": []}}
    world.cluster.add(ports.POD, body, TEAM)
    await changed(world)
    assert world.cluster.find(ports.POD, TEAM, "job") is not None
