"""While a dependency can't tell, nothing is promoted and nothing that serves is disturbed; it goes on when it is back."""

import pytest

from lockstep.controller.cluster import ports
from lockstep.controller.cluster.ports import UnavailableError
from tests.fakes import builders as build
from tests.flow.world import TEAM, World, ready_world, serving_world


def take_down(world: World, which: str, *, down: bool = True) -> None:
    if which == "mlflow":
        world.registry.down = down
    else:
        world.images.down = down


OUTAGES = {"mlflow": "RegistryUnreachable", "image-registry": "ImageRegistryUnreachable"}
both = pytest.mark.parametrize(("which", "reason"), OUTAGES.items(), ids=OUTAGES)


@both
async def test_a_first_deployment_waits_and_proceeds_when_it_is_back(which: str, reason: str) -> None:
    world = await ready_world()
    take_down(world, which)
    await world.settle()
    assert world.condition("Ready") == ("False", reason)
    assert world.condition("Reconciling")[0] == "True"
    assert world.deployments() == {}
    assert world.records() == []
    assert world.metric("lockstep_dependency_up", dependency=which) == 0
    assert world.events() == {"PromotionWaiting": 1}
    mark = len(world.log)
    await world.reconciliations(20, apart=60)
    assert world.since(mark) == []
    assert world.due is not None
    assert 50 <= world.due <= 75, "it is tried again, ever more patiently"
    take_down(world, which, down=False)
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")
    assert world.metric("lockstep_dependency_up", dependency=which) == 1


@both
async def test_what_serves_goes_on_scaling_and_being_put_right(which: str, reason: str) -> None:
    world = await serving_world()
    before = world.active
    take_down(world, which)
    world.change(replicas=3)
    await world.cluster.delete(ports.SERVICE, TEAM, "iris")
    await world.settle()
    assert world.deployments() == {before: 3}
    assert world.served == before
    assert world.condition("Ready") == ("True", "Promoted")


@both
async def test_another_spec_is_asked_for_anew_however_fresh_the_answers_are(which: str, reason: str) -> None:
    world = await serving_world()
    before = world.active
    take_down(world, which)
    await world.image("2026-12", flask="3.0.0")
    world.change(image=f"{build.REPOSITORY}:2026-12")
    await world.settle()
    assert world.condition("Ready") == ("False", reason)
    assert world.active == before


async def test_credentials_that_were_taken_away_block_what_is_new_and_leave_what_serves() -> None:
    world = await serving_world()
    before = world.active
    world.images.forbidden = True
    world.clock.advance(60)
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted"), "nothing is asked of anybody while nothing changes"
    await world.image("next", flask="3.0.0")
    world.change(image=f"{build.REPOSITORY}:next")
    await world.settle()
    assert world.condition("Ready") == ("False", "ImageUnauthorized")
    assert (world.active, world.served) == (before, before)
    assert list(world.deployments()) == [before]
    world.images.forbidden = False
    world.clock.advance(600)
    await world.settle_all()
    assert world.condition("Ready") == ("True", "Promoted")
    assert world.served == world.active != before


@both
async def test_a_candidate_whose_pods_run_already_is_not_promoted_during_an_outage(which: str, reason: str) -> None:
    world = await serving_world()
    before = world.active
    await world.image("next", flask="3.0.0")
    world.change(image=f"{build.REPOSITORY}:next")
    world.auditor.unreachable = True
    await world.reconciliations(6)
    world.auditor.unreachable = False
    world.clock.advance(60)
    take_down(world, which)
    await world.reconciliations(20)
    assert (world.active, world.served) == (before, before)
    assert world.condition("Ready") == ("False", reason)
    assert len(world.deployments()) == 2, "its pods are not thrown away"
    take_down(world, which, down=False)
    await world.settle()
    assert world.active != before
    assert world.served == world.active


@both
async def test_what_is_pinned_stays_pinned_during_an_outage(which: str, reason: str) -> None:
    world = await ready_world()
    await world.reconciliations(2)
    pinned = world.owner.status.candidate
    assert pinned is not None
    world.clock.advance(60)
    take_down(world, which)
    world.start()
    await world.reconciliations(3)
    now = world.owner.status.candidate
    assert now is not None
    assert (now.image, now.revision, now.model_version) == (pinned.image, pinned.revision, pinned.model_version)


async def test_a_policy_change_during_an_outage_is_judged_when_it_is_over() -> None:
    world = await serving_world()
    world.clock.advance(60)
    world.registry.down = True
    world.policy(lineage={"require": ["Signature"]}, environment={"python": "Patch"})
    await world.settle()
    active = world.owner.status.active
    assert active is not None
    assert active.evaluated_policy_hash == active.policy_hash
    assert world.due is not None
    world.registry.down = False
    await world.settle()
    active = world.owner.status.active
    assert active is not None
    assert active.evaluated_policy_hash != active.policy_hash


async def test_an_api_server_that_does_not_answer_is_an_error_of_the_reconciliation_and_changes_nothing() -> None:
    world = await serving_world()
    mark = len(world.log)
    world.connection.down = True
    with pytest.raises(UnavailableError):
        await world.reconcile()
    assert world.since(mark) == []


async def unscanned() -> World:
    """Return a world whose image has never been scanned; no interpreter is in it."""
    world = await ready_world(image=f"{build.REPOSITORY}:empty")
    await world.image("empty", scanned=False)
    return world


async def test_a_scan_goes_on_in_the_background_and_its_end_brings_a_reconciliation() -> None:
    world = await unscanned()
    await world.reconcile()
    assert world.condition("ImageVerified") == ("Unknown", "Scanning")
    await world.scanned()
    await world.reconcile()
    assert world.condition("ImageVerified") == ("False", "InterpreterNotFound")
    assert world.condition("Stalled") == ("True", "InterpreterNotFound")
    assert world.events() == {"CandidateStarted": 1, "PromotionBlocked": 1}


async def test_an_image_that_could_not_be_determined_is_not_read_again_at_each_reconciliation() -> None:
    world = await unscanned()
    await world.reconcile()
    await world.scanned()
    await world.settle()
    mark, read = len(world.log), len(world.images.memory.read)
    await world.reconciliations(10, apart=30)
    assert world.since(mark) == []
    layers = len(world.images.memory.read) - read
    assert layers <= 10, "each reconciliation resolves the image: its configuration is read, and no layer"
    assert world.condition("Ready") == ("False", "InterpreterNotFound")


async def test_layers_that_can_not_be_had_are_asked_for_again_and_the_status_does_not_flap() -> None:
    world = await unscanned()
    world.images.blobs_down = True
    await world.reconcile()
    await world.scanned()
    await world.settle()
    assert world.condition("Ready") == ("False", "ImageRegistryUnreachable")
    mark = len(world.log)
    for _ in range(10):
        world.clock.advance(20)
        await world.reconciliations(1)
        await world.scanned()
    assert world.since(mark) == []
    world.clock.advance(20)
    world.images.blobs_down = False
    await world.reconciliations(1)
    await world.scanned()
    await world.reconciliations(1)
    assert world.condition("Ready") == ("False", "InterpreterNotFound")
