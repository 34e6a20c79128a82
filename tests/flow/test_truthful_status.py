"""Ready and Available follow what is there, also while Lockstep is busy, is refused, or has nothing to do with it any more."""

import pytest

from lockstep.controller.cluster import ports
from lockstep.controller.cluster.ports import Object, UnavailableError
from tests.fakes import builders as build
from tests.fakes.workloads import Fate
from tests.flow.world import OWNER, TEAM, World, serving_world

LATER = "2026-11-20T12:00:00Z"


def unready(world: World) -> None:
    """Let the pods of the active revision come up no more."""
    active = world.owner.status.active
    assert active is not None
    world.workloads.fates[str(active.image)] = Fate.STARTING
    world.workloads.step()


def steal(service: Object) -> None:
    service["spec"]["selector"] = {"app": "mine"}


async def test_while_somebody_undoes_what_is_put_right_the_status_says_that_no_pod_is_ready() -> None:
    world = await serving_world()
    unready(world)
    for _ in range(10):
        world.cluster.edit(ports.SERVICE, TEAM, "iris", steal)
        await world.reconcile()
    assert world.condition("Available") == ("False", "PodsNotReady")
    assert world.condition("Ready") == ("False", "PodsNotReady")
    assert world.owner.status.ready_replicas == 0
    by = {"namespace": TEAM, "name": "iris", "reason": "PodsNotReady"}
    assert world.metric("lockstep_active_degraded", **by) == 1
    world.workloads.fates.clear()
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")
    assert world.metric("lockstep_active_degraded", **by) == 0
    assert world.events()["ActiveDegraded"] == 1


async def test_a_change_that_the_api_server_keeps_from_being_put_right_is_said_where_one_looks() -> None:
    world = await serving_world()
    refusing = [True]
    world.cluster.admission.append(
        lambda verb, kind, body: "denied by a webhook" if kind is ports.SERVICE and verb != "edit" and refusing else None
    )
    world.cluster.edit(ports.SERVICE, TEAM, "iris", steal)
    await world.reconcile()
    assert world.condition("Ready") == ("False", "UpkeepRefused")
    assert world.condition("Available") == ("False", "UpkeepRefused"), "the Service selects none of its pods"
    assert "denied by a webhook" in world.message("Available")
    mark = len(world.log)
    for _ in range(5):
        await world.reconcile()
    assert world.since(mark) == []
    refusing.clear()
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")


async def test_an_api_server_that_fails_keeps_nobody_from_learning_that_the_service_selects_nothing() -> None:
    world = await serving_world()

    def fail(verb: str, kind: ports.Kind, body: Object) -> str | None:
        if kind is ports.SERVICE and verb != "edit" and failing:
            raise UnavailableError("PUT /api/v1/…/services/iris was answered with 500: failed calling webhook")
        return None

    failing = [True]
    world.cluster.admission.append(fail)
    world.cluster.edit(ports.SERVICE, TEAM, "iris", steal)
    with pytest.raises(UnavailableError):
        await world.reconcile()
    assert world.condition("Available") == ("False", "Switching")
    failing.clear()
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")


async def test_a_service_that_admission_makes_another_one_is_said_and_not_written_without_end() -> None:
    world = await serving_world()

    def expose(kind: ports.Kind, body: Object) -> None:
        if kind is ports.SERVICE:
            body["spec"]["externalIPs"] = ["203.0.113.7"]

    world.cluster.mutations.append(expose)
    world.cluster.edit(ports.SERVICE, TEAM, "iris", steal)
    for _ in range(5):
        assert (await world.reconcile() or 0) >= 5
    assert world.condition("Ready") == ("False", "UpkeepRefused")
    assert "spec.externalIPs is changed at admission" in world.message("Ready")
    world.cluster.mutations.clear()
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")


async def test_what_is_being_deleted_and_is_kept_by_a_finalizer_claims_nothing_that_is_not_so() -> None:
    world = await serving_world()
    world.cluster.edit(*OWNER, lambda o: o["metadata"].update(deletionTimestamp=LATER, finalizers=["mine"]))
    await world.reconcile()
    assert world.condition("Ready") == ("False", "Deleting")
    assert world.condition("Available") == ("True", "Deleting")
    await world.cluster.scale(ports.DEPLOYMENT, TEAM, f"iris-{world.active}", 0)
    world.workloads.step()
    assert await world.reconcile() is None
    assert world.condition("Available") == ("False", "PodsNotReady")
    assert world.owner.status.ready_replicas == 0
    assert world.deployment(world.active)["spec"]["replicas"] == 0, "nobody keeps it up"
    mark = len(world.log)
    await world.reconcile()
    assert world.since(mark) == []


async def test_what_is_being_deleted_and_can_not_be_understood_is_left_alone() -> None:
    world = await serving_world()
    world.cluster.edit(*OWNER, lambda o: o["metadata"].update(deletionTimestamp=LATER))
    world.cluster.edit(*OWNER, lambda o: o["spec"].pop("model"))
    assert await world.reconcile() is None


async def test_who_scales_the_deployment_is_told_once_what_to_scale_instead() -> None:
    world = await serving_world()
    for _ in range(5):
        await world.cluster.scale(ports.DEPLOYMENT, TEAM, f"iris-{world.active}", 5)
        await world.reconciliations(2)
        assert world.deployment(world.active)["spec"]["replicas"] == 2
    assert world.events()["DriftCorrected"] == 1
    assert "scale the ModelDeployment" in world.notes("DriftCorrected")[0]


async def test_who_asks_for_more_replicas_is_told_nothing() -> None:
    world = await serving_world()
    world.change(replicas=4)
    await world.settle()
    assert "DriftCorrected" not in world.events()
    assert "ActiveDegraded" not in world.events()
    world.change(replicas=0)
    await world.settle()
    world.change(replicas=2)
    await world.settle()
    assert "ActiveDegraded" not in world.events()


async def test_pods_that_fail_after_the_promotion_are_told() -> None:
    world = await serving_world()
    unready(world)
    await world.settle()
    assert world.condition("Ready") == ("False", "PodsNotReady")
    assert world.events()["ActiveDegraded"] == 1
    assert world.notes("ActiveDegraded") == ["PodsNotReady: The active revision has no ready pods."]


async def test_a_blocked_candidate_does_not_hide_that_what_serves_has_no_ready_pods() -> None:
    world = await serving_world()
    await world.image("wrong", scikit_learn="1.2.0")
    world.change(image=f"{build.REPOSITORY}:wrong")
    await world.settle()
    unready(world)
    await world.settle()
    assert world.condition("Ready") == ("False", "EnvironmentMismatch")
    assert world.condition("Available") == ("False", "PodsNotReady")
    assert world.metric("lockstep_active_degraded", namespace=TEAM, name="iris", reason="PodsNotReady") == 1
