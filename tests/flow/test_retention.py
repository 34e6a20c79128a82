"""Records are bounded, and what vouches for anything that serves is never among those that go, also when pruning is killed."""

from collections.abc import Mapping, Sequence

import pytest

from lockstep.controller.cluster import ports
from lockstep.controller.cluster.ports import Kind, Object
from lockstep.controller.records.pruner import Pruner
from lockstep.controller.records.retention import Retention
from lockstep.rollout.objects import labels
from tests.fakes.connection import Connection, Kill, KilledError
from tests.flow.world import SYSTEM, TEAM, World, ready_world, serving_world

TIGHT = Retention(promotions=1000, promotion_days=1, refusals=2, refusal_days=1, refusals_per_deployment=2)
DAY = 24 * 3600.0


def pruner(world: World, connection: Connection | None = None, retention: Retention = TIGHT) -> Pruner:
    return Pruner(connection or world.connection, SYSTEM, {}, clock=world.clock, retention=retention)


def names(world: World, outcome: str | None = None) -> set[str]:
    marks = {labels.OUTCOME: outcome} if outcome else {}
    return {record["metadata"]["name"] for record in world.cluster.all(ports.PROMOTION_RECORD, SYSTEM, marks)}


async def promoted_often(times: int = 6) -> World:
    """Return a world with records of old promotions that nothing names any more, and of two that something does."""
    world = await serving_world()
    (first,) = world.cluster.all(ports.PROMOTION_RECORD, SYSTEM)
    for number in range(times):
        revision = f"0{number}d"
        world.clock.advance(DAY)
        metadata = {"name": f"iris-{revision}-old", "labels": first["metadata"]["labels"]}
        world.cluster.add(
            ports.PROMOTION_RECORD,
            {"metadata": metadata, "spec": first["spec"] | {"revision": revision}},
            SYSTEM,
        )
    world.clock.advance(DAY)
    await world.image("next", flask="3.0.0")
    world.change(image="registry.example.com/team/iris:next")
    await world.settle_all()
    world.clock.advance(400 * DAY)
    return world


async def refused_often(world: World, times: int, *, apart: float) -> None:
    for number in range(2):
        await world.image(f"bad-{number}", scikit_learn=f"1.2.{number}")
    for number in range(times):
        world.change(image=f"registry.example.com/team/iris:bad-{number % 2}")
        await world.settle()
        world.clock.advance(apart)


async def test_what_serves_and_its_history_keep_their_records() -> None:
    world = await promoted_often()
    await pruner(world).prune()
    assert vouching(world) <= names(world)
    assert len(vouching(world)) == 2
    assert len(names(world)) == 4, "what is active, what was before, and two more of the newest three"
    writes = len(world.connection.writes)
    await pruner(world).prune()
    assert len(world.connection.writes) == writes, "what is settled costs no write"


async def test_a_status_that_was_emptied_is_restored_after_pruning() -> None:
    world = await promoted_often()
    active = world.active
    world.cluster.edit(ports.MODEL_DEPLOYMENT, TEAM, "iris", lambda owner: owner.update(status={}))
    await pruner(world).prune()
    world.start()
    await world.settle_all()
    assert (world.active, world.served) == (active, active)


async def test_alternating_two_bad_images_fills_nothing() -> None:
    world = await ready_world()
    await world.settle()
    before = names(world)
    await refused_often(world, 40, apart=1.0)
    recorded = names(world, "Refused")
    assert 10 <= len(recorded) <= 14, "so many at once, and then one each ten minutes"
    assert world.condition("Ready")[0] == "False", "the refusal shows all the same"
    await pruner(world).prune()
    assert len(names(world, "Refused")) == 4, "the two newest of what lives, and two more"
    assert before <= names(world)


async def test_refusals_that_come_slowly_are_all_recorded() -> None:
    world = await ready_world(image="registry.example.com/team/iris:bad-0")
    await refused_often(world, 12, apart=3600.0)
    assert len(names(world, "Refused")) == 12


async def test_a_refusal_whose_record_went_is_not_recorded_again_and_again() -> None:
    world = await ready_world(image="registry.example.com/team/iris:bad-0")
    await refused_often(world, 6, apart=3600.0)
    world.clock.advance(30 * DAY)
    await pruner(world).prune()
    world.start()
    assert not [write for write in await world.reconciliations(6) if write.kind == "PromotionRecord"]


async def test_promotions_of_what_was_deleted_are_kept_for_the_auditor_until_they_are_old() -> None:
    world = await serving_world()
    world.cluster.remove(ports.MODEL_DEPLOYMENT, TEAM, "iris")
    for revision in world.cluster.all(ports.CONTROLLER_REVISION, TEAM):
        world.cluster.remove(ports.CONTROLLER_REVISION, TEAM, revision["metadata"]["name"])
    a_year = Retention(promotions=100, promotion_days=365)
    world.clock.advance(360 * DAY)
    await pruner(world, retention=a_year).prune()
    assert len(names(world)) == 1
    world.clock.advance(10 * DAY)
    await pruner(world, retention=a_year).prune()
    assert names(world) == set()


@pytest.mark.parametrize("kill", [Kill(n, after, lost) for n in range(4) for after in (False, True) for lost in (False, True)])
async def test_pruning_that_is_killed_ends_in_the_same_state(kill: Kill) -> None:
    smooth = await promoted_often()
    await pruner(smooth).prune()
    world = await promoted_often()
    needed, lost = vouching(world), set[str | None]()
    world.cluster.watchers.append(lambda _: lost.update(needed - names(world)))
    with pytest.raises((KilledError, ports.UnavailableError)):
        await pruner(world, Connection(world.cluster, kill=kill)).prune()
    await pruner(world, Connection(world.cluster)).prune()
    assert names(world) == names(smooth)
    assert lost == set(), "at no time is anything gone that vouches"


def vouching(world: World) -> set[str | None]:
    """Return the names of the records that the status gives."""
    status = world.owner.status
    return {entry.record for entry in (*([status.active] if status.active else []), *status.history)}


async def test_nothing_is_deleted_while_it_is_not_known_what_there_is() -> None:
    world = await promoted_often()
    before = names(world)

    class Blind(Connection):
        async def list(self, kind: Kind, namespace: str | None, *, labels: Mapping[str, str] | None = None) -> Sequence[Object]:
            raise ports.UnavailableError("the API server did not answer")

    with pytest.raises(ports.UnavailableError):
        await pruner(world, Blind(world.cluster)).prune()
    assert names(world) == before
