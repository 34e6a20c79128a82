"""A matching image is promoted, in the one order in which nothing unproven gets traffic."""

from lockstep.controller.cluster import ports
from tests.flow.world import SYSTEM, TEAM, ready_world, serving_world


def _first(log: list[str], start: str) -> int:
    return next(at for at, line in enumerate(log) if line.startswith(start))


async def test_a_matching_image_is_promoted_on_first_deployment() -> None:
    world = await ready_world()
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")
    assert world.condition("Available") == ("True", "Promoted")
    assert world.condition("EnvironmentMatched") == ("True", "Passed")
    assert world.condition("ReadinessProven") == ("True", "Passed")
    assert world.active is not None
    assert world.candidate is None
    assert world.served == world.active
    assert world.deployments() == {world.active: 2}
    assert world.deployment(world.active)["spec"]["paused"] is True
    assert len(world.auditor.audited) == 2
    assert world.owner.status.ready_replicas == 2


async def test_nothing_is_made_before_the_gates_permit_and_the_service_comes_last() -> None:
    world = await ready_world()
    mark = len(world.log)
    await world.settle()
    log = world.since(mark)
    name = f"iris-{world.active}"
    pin = _first(log, "create LineagePin")
    revision = _first(log, f"create ControllerRevision {name}")
    deployment = _first(log, f"create Deployment {name}")
    paused = _first(log, f"apply Deployment {name}")
    record = _first(log, "create PromotionRecord")
    service = _first(log, "create Service iris")
    status = max(at for at, line in enumerate(log[:service]) if line == "patch_status ModelDeployment iris")
    assert pin < revision < deployment < paused < record < status < service


async def test_the_pods_are_audited_only_once_their_deployment_can_not_change_them_any_more() -> None:
    world = await ready_world()
    for _ in range(20):
        await world.reconciliations(1)
        if world.auditor.audited:
            break
    assert world.cluster.all(ports.DEPLOYMENT, TEAM)[0]["spec"]["paused"] is True


async def test_a_promotion_is_told_once_by_event_and_metric() -> None:
    world = await serving_world()
    assert world.events() == {"CandidateStarted": 1, "Promoted": 1}
    assert world.metric("lockstep_promotions_total", outcome="Promoted") == 1


async def test_the_record_holds_the_whole_verdict() -> None:
    world = await serving_world()
    [record] = world.records()
    assert record["outcome"] == "Promoted"
    assert record["revision"] == world.active
    assert [gate["name"] for gate in record["gates"]] == ["lineage", "image", "environment", "readiness"]
    assert {gate["outcome"] for gate in record["gates"]} == {"Passed"}
    active = world.owner.status.active
    assert active is not None
    assert world.get(ports.PROMOTION_RECORD, SYSTEM, active.record or "")["spec"] == record


async def test_a_second_reconciliation_of_what_is_settled_writes_nothing_and_asks_nobody() -> None:
    world = await serving_world()
    assert await world.reconciliations(5, apart=60) == [], "the Service is asked, and nothing is written"
    asked = world.registry.asked, world.images.asked, len(world.auditor.audits)
    assert await world.reconciliations(20, apart=60) == []
    assert (world.registry.asked, world.images.asked, len(world.auditor.audits)) == asked


async def test_a_restart_on_settled_objects_writes_nothing() -> None:
    world = await serving_world()
    mark = len(world.log)
    world.start()
    await world.reconciliations(5)
    assert world.since(mark) == []
    world.clock.advance(3600)
    for _ in range(3):
        world.start()
        assert await world.reconciliations(5) == [], "nothing is even asked for"


async def test_replicas_are_scaled_without_a_new_candidate() -> None:
    world = await serving_world()
    before = world.active
    world.change(replicas=5)
    await world.settle()
    assert world.deployments() == {before: 5}
    assert world.owner.status.ready_replicas == 5
    assert world.events() == {"CandidateStarted": 1, "Promoted": 1}


async def test_nothing_is_asked_to_run_and_yet_one_pod_proves_the_revision() -> None:
    world = await serving_world(replicas=0)
    assert world.condition("Ready") == ("True", "Promoted")
    assert len(world.auditor.audited) == 1
    assert world.deployments() == {world.active: 0}
    assert await world.reconciliations(5) == []
    world.change(replicas=2)
    await world.settle()
    assert world.owner.status.ready_replicas == 2


async def test_a_spec_that_changes_while_its_candidate_is_checked_starts_another() -> None:
    world = await ready_world()
    await world.image("next", flask="3.0.0")
    world.auditor.unreachable = True
    await world.reconciliations(4)
    first = world.candidate
    assert first in world.deployments()
    world.auditor.unreachable = False
    world.change(image="registry.example.com/team/iris:next", replicas=3)
    await world.settle()
    assert world.active not in (None, first)
    assert world.deployments() == {world.active: 3}
    assert [record["revision"] for record in world.records()] == [world.active]


async def test_a_deleted_model_deployment_takes_everything_with_it() -> None:
    world = await serving_world()
    await world.cluster.delete(ports.MODEL_DEPLOYMENT, TEAM, "iris")
    assert await world.reconcile() is None
    for _ in range(3):
        world.workloads.step()
    kinds = (ports.DEPLOYMENT, ports.REPLICA_SET, ports.POD, ports.SERVICE, ports.CONTROLLER_REVISION)
    assert {kind.kind: len(world.cluster.all(kind, TEAM)) for kind in kinds} == dict.fromkeys((k.kind for k in kinds), 0)
    assert len(world.records()) == 1, "the record outlives what it is about"
