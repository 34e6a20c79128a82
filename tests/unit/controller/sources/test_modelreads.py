"""Readings in the background: one a model, never a reconciliation that waits for it, and none that is older than it may be."""

import asyncio
from datetime import datetime, timedelta

import pytest

from lockstep.api.reasons import Reason
from lockstep.controller.sources.modelreads import ModelReads
from lockstep.formats.modelfiles import ModelFiles
from lockstep.gates.evidence import Fact, Unknown
from lockstep.lineage.lineage import LineageError, Place
from lockstep.lineage.reading import ReadingLimits
from tests.fakes import builders as build
from tests.fakes.clock import FakeClock
from tests.fakes.model_registry import FakeModelRegistry

URI = "http://mlflow"


class Reading:
    def __init__(self, *, at_once: int = 2) -> None:
        self.clock = FakeClock()
        self.registry = FakeModelRegistry()
        self.registry.put(build.lineage())
        self.reads = ModelReads(self.clock, ReadingLimits(), at_once)
        self.woken = asyncio.Event()

    @property
    def files(self) -> dict[str, bytes]:
        return self.registry.contents[build.place().uri]

    async def get(self, since: datetime | None = None, place: Place | None = None) -> Fact[ModelFiles]:
        since = since or self.clock.now()
        return await self.reads.get(self.registry, URI, place or build.place(), "team", since=since, when_done=self.woken.set)

    async def ended(self) -> None:
        async with asyncio.timeout(20):
            await self.woken.wait()
        self.woken.clear()


def reason(fact: Fact[ModelFiles]) -> Reason:
    assert isinstance(fact, Unknown), fact
    return fact.reason


async def test_a_small_model_is_read_at_the_first_reconciliation() -> None:
    reading = Reading()
    assert await reading.get() == build.files_of(build.contents())


async def test_a_large_one_is_read_in_the_background_and_says_how_far_it_is() -> None:
    reading = Reading()
    reading.registry.gate = asyncio.Event()
    found = await reading.get()
    assert reason(found) is Reason.MODEL_READING
    assert isinstance(found, Unknown)
    assert "0 bytes of" in found.message
    reading.registry.gate.set()
    await reading.ended()
    assert await reading.get(since=reading.clock.now() - timedelta(minutes=1)) == build.files_of(build.contents())
    await reading.reads.stop()


async def test_however_many_ask_a_model_is_read_once() -> None:
    reading = Reading()
    since = reading.clock.now()
    found = await asyncio.gather(*(reading.get(since) for _ in range(20)))
    assert set(map(type, found)) == {ModelFiles}
    assert sorted(reading.registry.read) == sorted(build.contents())


async def test_retries_within_the_hour_read_nothing_and_later_ones_do() -> None:
    reading = Reading()
    since = reading.clock.now()
    await reading.get(since)
    reading.registry.read.clear()
    reading.clock.advance(3000)
    await reading.get(since)
    assert reading.registry.read == []
    reading.clock.advance(700)
    await reading.get(since)
    assert reading.registry.read != []


async def test_a_file_that_was_replaced_by_one_of_the_same_size_is_seen_by_the_next_candidate() -> None:
    reading = Reading()
    first = await reading.get()
    reading.files["model.skops"] = bytes(len(reading.files["model.skops"]))
    reading.clock.advance(1)
    second = await reading.get(since=reading.clock.now())
    assert isinstance(first, ModelFiles)
    assert isinstance(second, ModelFiles)
    assert first.files["model.skops"].size == second.files["model.skops"].size
    assert first != second


async def test_a_reading_that_began_before_a_candidate_does_not_count_for_it() -> None:
    reading = Reading()
    reading.registry.gate = asyncio.Event()
    await reading.get()
    reading.clock.advance(5)
    later = reading.clock.now()
    assert reason(await reading.get(later)) is Reason.MODEL_READING
    reading.registry.gate.set()
    await reading.ended()
    reading.registry.read.clear()
    assert await reading.get(later) == build.files_of(build.contents())
    assert reading.registry.read != [], "what the older candidate waited for is not enough"


async def test_what_a_failed_reading_read_before_a_candidate_does_not_count_for_it_either() -> None:
    reading = Reading()
    reading.registry.broken.add("serving_input_example.json")
    assert reason(await reading.get()) is Reason.REGISTRY_UNREACHABLE
    assert "model.skops" in reading.registry.read
    reading.registry.broken.clear()
    reading.files["model.skops"] = bytes(len(reading.files["model.skops"]))
    reading.clock.advance(11)
    found = await reading.get(since=reading.clock.now())
    assert found == build.files_of(reading.files)


async def test_a_reading_that_failed_is_tried_again_after_a_while_and_does_not_begin_anew() -> None:
    reading = Reading()
    since = reading.clock.now()
    reading.registry.down = True
    assert reason(await reading.get(since)) is Reason.REGISTRY_UNREACHABLE
    reading.registry.down = False
    assert reason(await reading.get(since)) is Reason.REGISTRY_UNREACHABLE, "it is not asked down"
    reading.clock.advance(11)
    assert await reading.get(since) == build.files_of(build.contents())


async def test_a_plain_no_stands_for_a_minute() -> None:
    reading = Reading()
    since = reading.clock.now()
    reading.registry.refuses = LineageError(Reason.MODEL_FILES_REFUSED, "too many")
    assert reason(await reading.get(since)) is Reason.MODEL_FILES_REFUSED
    reading.registry.refuses = None
    reading.clock.advance(30)
    assert reason(await reading.get(since)) is Reason.MODEL_FILES_REFUSED
    reading.clock.advance(31)
    assert isinstance(await reading.get(since), ModelFiles)


async def test_a_replica_whose_clock_is_ahead_makes_nobody_read_for_ever() -> None:
    reading = Reading()
    assert isinstance(await reading.get(reading.clock.now() + timedelta(minutes=5)), ModelFiles)


async def test_a_defect_of_ours_is_no_pass_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    reading = Reading()
    reading.registry.contents.clear()
    assert reason(await reading.get()) is Reason.INTERNAL_ERROR
    assert "could not be read" in caplog.text


class Sized(FakeModelRegistry):
    """Models that say how large they are and keep who is being read."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.under_way: set[str] = set()
        self.began = asyncio.Event()

    async def files(self, place: Place) -> dict[str, int]:
        return {"w": 2 * 10**9 if place.uri.startswith("large") else 10}

    async def digest(self, place: Place, path: str, took: object) -> tuple[str, int]:
        self.under_way.add(place.uri)
        self.began.set()
        assert self.gate is not None
        await self.gate.wait()
        return build.DIGEST, (await self.files(place))[path]


async def ask(reading: Reading, registry: Sized, name: str, namespace: str = "team") -> Fact[ModelFiles]:
    place, since = Place("m", name, uri=name), reading.clock.now()
    return await reading.reads.get(registry, URI, place, namespace, since=since, when_done=reading.woken.set)


async def test_large_models_hold_up_no_small_one() -> None:
    reading, registry = Reading(at_once=1), Sized()
    await asyncio.gather(*(ask(reading, registry, name) for name in ("large-1", "large-2", "small")))
    assert registry.under_way == {"large-1", "small"}
    assert registry.gate is not None
    registry.gate.set()
    await reading.ended()
    await reading.reads.stop()


async def test_the_large_models_of_one_namespace_hold_up_nobody_elses() -> None:
    reading, registry = Reading(at_once=1), Sized()
    await asyncio.gather(*(ask(reading, registry, f"large-{number}", "flood") for number in range(5)))
    assert len(registry.under_way) == 1
    await ask(reading, registry, "large-other", "other")
    assert "large-other" in registry.under_way
    await reading.reads.stop()


async def test_who_asks_for_what_waits_in_anothers_queue_does_not_wait_there() -> None:
    reading, registry = Reading(at_once=1), Sized()
    await asyncio.gather(*(ask(reading, registry, f"large-{number}", "flood") for number in range(5)))
    waiting = next(f"large-{number}" for number in range(5) if f"large-{number}" not in registry.under_way)
    await ask(reading, registry, waiting, "other")
    assert waiting in registry.under_way
    assert registry.gate is not None
    registry.gate.set()
    await reading.ended()
    assert isinstance(await ask(reading, registry, waiting, "flood"), ModelFiles)
    await reading.reads.stop()


async def test_stopping_ends_what_runs() -> None:
    reading = Reading()
    reading.registry.gate = asyncio.Event()
    await reading.get()
    await reading.reads.stop()
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
