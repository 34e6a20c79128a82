"""Killed at any write (kill -9, before and after the API server has carried it out), a fresh process ends in the same state.

So does a process that gets no answer to one of its writes.
"""

import pytest

from lockstep.controller.cluster import ports
from tests.fakes.connection import Kill
from tests.flow.world import TEAM, World, ready_world, serving_world

FIRST_WRITES, SECOND_WRITES, REFUSAL_WRITES = 13, 13, 5
"""How many writes a process makes until all is settled."""


def ended(world: World) -> dict[str, object]:
    """Return what a story ends with, as far as it does not depend on times and ids."""
    status = world.owner.status
    return {
        "active": world.active,
        "candidate": world.candidate,
        "served": world.served,
        "deployments": world.deployments(),
        "paused": [d["spec"].get("paused") for d in world.cluster.all(ports.DEPLOYMENT, TEAM)],
        "history": [entry.revision for entry in status.history],
        "conditions": {c.type: (c.status, c.reason) for c in status.conditions},
        "records": [(record["revision"], record["outcome"]) for record in world.records()],
        "events": world.events(),
        "revisions": len(world.cluster.all(ports.CONTROLLER_REVISION, TEAM)),
    }


def _kills(count: int) -> list[Kill]:
    return [Kill(write, after, lost) for write in range(count) for after in (False, True) for lost in (False, True)]


def _named(kill: Kill) -> str:
    what = "no answer" if kill.only_answer else "killed"
    return f"{what} {'after' if kill.after else 'before'} write {kill.write}"


async def second() -> World:
    """Return a settled world whose ModelDeployment now asks for another image that matches as well."""
    world = await serving_world()
    world.clock.advance(3600)
    await world.image("next", flask="3.0.0")
    world.change(image="registry.example.com/team/iris:next")
    return world


async def refused() -> World:
    world = await ready_world(image="registry.example.com/team/iris:wrong")
    await world.image("wrong", scikit_learn="1.2.0")
    return world


async def test_the_numbers_of_writes_are_right() -> None:
    counts = []
    for make in (ready_world, second, refused):
        world = await make()
        world.start()
        await world.settle_all()
        counts.append(len(world.connection.writes))
    assert counts == [FIRST_WRITES, SECOND_WRITES, REFUSAL_WRITES]


@pytest.mark.parametrize("kill", _kills(FIRST_WRITES), ids=_named)
async def test_a_first_promotion_survives(kill: Kill) -> None:
    smooth = await serving_world()
    world = await ready_world()
    assert await world.survive(kill)
    assert ended(world) == ended(smooth)
    world.clock.advance(3600)
    world.start()
    assert await world.reconciliations(3) == []


@pytest.mark.parametrize("kill", _kills(SECOND_WRITES), ids=_named)
async def test_a_later_promotion_survives_and_something_serves_all_the_time(kill: Kill) -> None:
    smooth = await second()
    await smooth.settle_all()
    world = await second()
    unserved: list[str] = []
    world.cluster.watchers.append(lambda write: None if _serves(world) else unserved.append(str(write)))
    assert await world.survive(kill)
    assert unserved == []
    assert ended(world) == ended(smooth)


@pytest.mark.parametrize("kill", _kills(REFUSAL_WRITES), ids=_named)
async def test_a_refusal_survives(kill: Kill) -> None:
    smooth = await refused()
    await smooth.settle_all()
    world = await refused()
    assert await world.survive(kill)
    assert ended(world) == ended(smooth)


def _serves(world: World) -> bool:
    """Return whether ready pods stand behind the Service."""
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for pod in world.pods(world.served)
        if "deletionTimestamp" not in pod["metadata"]
        for condition in pod["status"].get("conditions", [])
    )
