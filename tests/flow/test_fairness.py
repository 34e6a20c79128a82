"""One tenant can't stop the others, and what comes late costs nobody a write."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from lockstep.controller.cluster import ports
from lockstep.controller.lanes import Key, Lane
from lockstep.controller.queue import WorkQueue
from lockstep.controller.records.store import Records
from lockstep.images.scan.analyser import ANALYSER
from tests.fakes import builders as build
from tests.flow.world import OWNER, SYSTEM, TEAM, World, ready_world, serving_world

NOISY = "noisy"
IRIS: Key = (TEAM, "iris")


class Queued:
    """A world whose reconciliations come from the queue."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.reconciled: list[Key] = []
        self._ended = asyncio.Event()
        self.queue = WorkQueue(self._work, workers=2, done=lambda result, seconds: None)

    async def _work(self, key: Key) -> float | None:
        again = await self.world.reconciler.reconcile(*key, lambda: self.queue.add(key))
        self.reconciled.append(key)
        self._ended.set()
        return again

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds after a reconciliation."""
        async with asyncio.timeout(30):
            while not holds():
                self._ended.clear()
                await self._ended.wait()

    def flood(self, objects: int) -> list[Key]:
        """Another tenant asks for many images at once."""
        world = self.world
        world.cluster.add(ports.NAMESPACE, {"metadata": {"name": NOISY}})
        spec = build.spec().model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
        keys = [(NOISY, f"iris-{number}") for number in range(objects)]
        for _, name in keys:
            world.cluster.add(ports.MODEL_DEPLOYMENT, {"metadata": {"name": name}, "spec": spec}, NOISY)
        for key in keys:
            self.queue.add(key)
        return keys

    def reasons(self, keys: list[Key]) -> list[str]:
        """Return why objects of the other tenant are not ready; empty for those that have no status."""
        found = [self.world.get(ports.MODEL_DEPLOYMENT, *key).get("status") or {} for key in keys]
        return [next((c["reason"] for c in one.get("conditions", []) if c["type"] == "Ready"), "") for one in found]


@asynccontextmanager
async def queued(world: World) -> AsyncIterator[Queued]:
    found = Queued(world)
    task = asyncio.create_task(found.queue.run())
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await world.assembly.stop()


# --- the others go on ---------------------------------------------------------------------------------------------------


async def test_a_registry_that_never_answers_keeps_no_other_tenant_from_a_verdict() -> None:
    world = await ready_world(image=f"{build.REPOSITORY}:wrong")
    await world.image("wrong", scikit_learn="1.2.0")
    world.images.held[NOISY] = asyncio.Event()
    async with queued(world) as found:
        keys = found.flood(40)
        found.queue.add(IRIS)
        await found.until(lambda: world.owner.status.candidate is not None)
        await found.until(lambda: world.condition("Ready") == ("False", "EnvironmentMismatch"))
        assert "" in found.reasons(keys), "it has not waited for them"
        await found.until(lambda: found.reasons(keys) == ["Gathering"] * 40)


async def test_a_registry_that_never_answers_keeps_nothing_that_serves_from_being_put_right() -> None:
    world = await serving_world()
    world.images.held[NOISY] = asyncio.Event()
    async with queued(world) as found:
        keys = found.flood(40)
        await found.until(lambda: bool(found.reconciled))
        await world.cluster.delete(ports.SERVICE, TEAM, "iris")
        found.queue.add(IRIS, Lane.UPKEEP)
        await found.until(lambda: world.served == world.active)
        assert "" in found.reasons(keys)


async def test_pods_that_never_answer_the_audit_keep_nobody_waiting() -> None:
    world = await ready_world()
    world.auditor.held = asyncio.Event()
    async with queued(world) as found:
        for _ in range(6):
            world.workloads.step()
            await world.reconcile()
        assert world.condition("ReadinessProven") == ("Unknown", "Auditing")
        keys = found.flood(3)
        await found.until(lambda: "Promoted" not in found.reasons(keys) and "" not in found.reasons(keys))
        assert world.active is None
        world.auditor.held.set()
        async with asyncio.timeout(10):
            await world.woken.wait()
        await world.reconcile()
        assert world.active is not None, "the end of the audit brought the reconciliation that promotes"


async def test_what_is_deleted_gives_up_its_questions() -> None:
    world = await ready_world()
    world.images.held[NOISY] = asyncio.Event()
    async with queued(world) as found:
        keys = found.flood(20)
        await found.until(lambda: "" not in found.reasons(keys))
        gatherings = world.assembly.gatherings
        assert sum(gatherings.running().values()) == world.settings.gatherings_per_namespace
        for key in keys:
            await world.cluster.delete(ports.MODEL_DEPLOYMENT, *key)
            found.queue.add(key)
        reconciled = len(found.reconciled)
        await found.until(lambda: len(found.reconciled) >= reconciled + 20)
        assert sum(gatherings.waiting().values()) == 0
        await asyncio.sleep(0)
        assert sum(gatherings.running().values()) == 0


# --- what comes late costs nothing --------------------------------------------------------------------------------------


def statuses(world: World, mark: int) -> int:
    return sum("patch_status ModelDeployment" in line for line in world.since(mark))


async def test_what_is_asked_for_is_said_once_and_its_answer_brings_the_reconciliation() -> None:
    world = await ready_world()
    world.registry.held = asyncio.Event()
    await world.reconcile()
    assert world.condition("Ready") == ("False", "Gathering")
    assert world.condition("LineageVerified") == ("Unknown", "Gathering")
    assert "MLflow at" in world.message("LineageVerified")
    assert world.condition("Reconciling")[0] == "True"
    assert world.events() == {}, "nobody is told that a question was asked"
    mark = len(world.log)
    for _ in range(5):
        await world.reconcile()
    assert world.since(mark) == []
    world.registry.held.set()
    await world.scanned()
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")


@pytest.mark.parametrize("which", ["mlflow", "image-registry"])
async def test_facts_that_are_asked_for_anew_change_no_status_and_promote_nothing_meanwhile(which: str) -> None:
    world = await ready_world(paused=True)
    await world.settle()
    assert world.condition("Ready") == ("False", "Paused")
    answers = asyncio.Event()
    if which == "mlflow":
        world.registry.held = answers
    else:
        world.images.held[TEAM] = answers
    world.clock.advance(60)
    mark = len(world.log)
    await world.reconciliations(4)
    assert world.since(mark) == []
    world.change(paused=False)
    for _ in range(8):
        await world.reconciliations(1, apart=1.0)
    assert world.active is None, "facts that are no longer fresh promote nothing"
    answers.set()
    await world.scanned()
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")


async def test_a_refused_candidate_stays_refused_while_its_facts_are_asked_for_anew() -> None:
    world = await ready_world(image=f"{build.REPOSITORY}:wrong")
    await world.image("wrong", scikit_learn="1.2.0")
    await world.settle()
    assert world.condition("Ready") == ("False", "EnvironmentMismatch")
    told, mark = world.events(), len(world.log)
    world.registry.held = world.images.held[TEAM] = asyncio.Event()
    world.clock.advance(60)
    await world.reconciliations(3, apart=20)
    world.registry.held.set()
    await world.scanned()
    await world.reconciliations(3)
    assert world.since(mark) == []
    assert world.events() == told


async def test_a_slow_server_costs_no_more_writes_than_a_quick_one() -> None:
    world = await ready_world(image=f"{build.REPOSITORY}:wrong")
    await world.image("wrong", scikit_learn="1.2.0")
    world.images.held[TEAM] = asyncio.Event()
    mark = len(world.log)
    await world.reconcile()
    world.images.held[TEAM].set()
    await world.scanned()
    await world.settle()
    assert world.condition("Ready") == ("False", "EnvironmentMismatch")
    assert statuses(world, mark) == 2, "that it is asked, and that it is refused"
    assert world.events() == {"CandidateStarted": 1, "PromotionBlocked": 1}


async def test_a_candidate_that_an_alias_led_to_is_not_given_up_while_mlflow_is_asked_anew() -> None:
    world = await ready_world(model={"name": "iris", "alias": "champion"}, image=f"{build.REPOSITORY}:plain")
    digest = world.images.push("plain", "a server that downloads its model")
    plain = build.scan(digest=digest, analyser=ANALYSER, document=build.document(build.TRAINED), models=())
    await Records(world.cluster, SYSTEM).keep_scan(plain)
    world.registry.aliases["iris", "champion"] = "3"
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")
    world.version("4")
    world.registry.aliases["iris", "champion"] = "4"
    world.auditor.unreachable = True
    world.clock.advance(60)
    await world.reconciliations(6)
    candidate = world.candidate
    assert candidate is not None
    world.registry.held = asyncio.Event()
    world.clock.advance(60)
    await world.reconciliations(3)
    assert world.candidate == candidate
    assert len(world.pods(candidate)) == 2, "its pods are not thrown away"
    world.registry.held.set()


async def test_a_restart_writes_nothing_however_late_the_answers_are() -> None:
    world = await ready_world(image=f"{build.REPOSITORY}:wrong")
    await world.image("wrong", scikit_learn="1.2.0")
    await world.settle()
    world.start()
    world.registry.held = world.images.held[TEAM] = asyncio.Event()
    mark = len(world.log)
    await world.reconciliations(2)
    world.registry.held.set()
    await world.scanned()
    await world.reconciliations(3)
    assert world.since(mark) == []
    assert world.get(*OWNER)["status"]["candidate"]["gates"]
