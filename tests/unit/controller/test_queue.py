"""The keyed work queue."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from lockstep.controller.cluster.ports import UnavailableError
from lockstep.controller.lanes import Key, Lane
from lockstep.controller.queue import WorkQueue, backoff

IRIS, FRAUD = ("team", "iris"), ("team", "fraud")


class Worker:
    """Reconciles keys as long as a test lets it."""

    def __init__(self, answer: Callable[[Key], float | None] = lambda key: None) -> None:
        self.began: list[Key] = []
        self.results: list[str] = []
        self.running: set[Key] = set()
        self.gate = asyncio.Event()
        self.gate.set()
        self._answer = answer
        self._turned = asyncio.Event()

    async def work(self, key: Key) -> float | None:
        assert key not in self.running, "one runner a key"
        self.running.add(key)
        self.began.append(key)
        try:
            await self.gate.wait()
            # As a real reconciliation, it asks somebody.
            await asyncio.sleep(0)
            return self._answer(key)
        finally:
            self.running.discard(key)

    def done(self, result: str, seconds: float) -> None:
        self.results.append(result)

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not holds():
                self._turned.clear()
                asyncio.get_running_loop().call_soon(self._turned.set)
                await self._turned.wait()


@asynccontextmanager
async def running(worker: Worker, workers: int = 2) -> AsyncIterator[WorkQueue]:
    queue = WorkQueue(worker.work, workers=workers, done=worker.done)
    task = asyncio.create_task(queue.run())
    try:
        yield queue
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def settled(turns: int = 20) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


async def test_asking_twice_is_reconciling_once() -> None:
    worker = Worker()
    async with running(worker) as queue:
        queue.add(IRIS)
        queue.add(IRIS)
        assert queue.depth(Lane.DECIDE) == 1
        await settled()
    assert worker.began == [IRIS]
    assert worker.results == ["ok"]


async def test_what_happens_during_a_reconciliation_brings_exactly_one_more() -> None:
    worker = Worker()
    worker.gate.clear()
    async with running(worker) as queue:
        queue.add(IRIS)
        await worker.until(lambda: worker.began == [IRIS])
        for _ in range(3):
            queue.add(IRIS)
        worker.gate.set()
        await settled()
    assert worker.began == [IRIS, IRIS]


async def test_two_keys_are_reconciled_at_the_same_time_and_one_never_is() -> None:
    worker = Worker()
    worker.gate.clear()
    async with running(worker) as queue:
        queue.add(IRIS)
        queue.add(FRAUD)
        await worker.until(lambda: worker.running == {IRIS, FRAUD})
        worker.gate.set()
        await settled()


async def test_a_reconciliation_that_fails_harms_no_other_key_and_is_counted() -> None:
    def fail(key: Key) -> float | None:
        if key == IRIS:
            raise RuntimeError("no")
        return None

    worker = Worker(fail)
    async with running(worker, workers=1) as queue:
        queue.add(IRIS)
        queue.add(FRAUD)
        await settled()
    assert worker.began == [IRIS, FRAUD]
    assert worker.results == ["error", "ok"]


async def test_a_later_reconciliation_comes_by_itself_and_an_event_takes_its_place() -> None:
    answers = iter([0.0, 3600.0, None])
    worker = Worker(lambda key: next(answers))
    async with running(worker) as queue:
        queue.add(IRIS)
        await worker.until(lambda: len(worker.began) == 2)
        await settled()
        queue.add(IRIS)
        await worker.until(lambda: len(worker.began) == 3)


async def test_a_failed_reconciliation_comes_again() -> None:
    tries: list[Callable[[], Awaitable[None]] | int] = []

    def fail_once(key: Key) -> float | None:
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError("no")
        return None

    worker = Worker(fail_once)
    async with running(worker) as queue:
        queue.add(IRIS)
        await worker.until(lambda: worker.results == ["error", "ok"])


async def test_namespaces_take_turns_however_many_keys_one_has() -> None:
    worker = Worker()
    worker.gate.clear()
    async with running(worker, workers=1) as queue:
        for number in range(50):
            queue.add(("noisy", f"iris-{number}"))
        queue.add(IRIS)
        worker.gate.set()
        await worker.until(lambda: len(worker.began) == 51)
    assert worker.began.index(IRIS) <= 1


async def test_upkeep_does_not_wait_for_reconciliations_that_decide_nor_they_for_upkeep() -> None:
    worker = Worker()
    worker.gate.clear()
    async with running(worker, workers=2) as queue:
        for number in range(50):
            queue.add(("noisy", f"iris-{number}"))
        await worker.until(lambda: len(worker.running) == 2)
        queue.add(IRIS, Lane.UPKEEP)
        await worker.until(lambda: IRIS in worker.running)
        assert len(worker.running) == 3
    assert worker.began.index(IRIS) == 2


async def test_a_flood_of_upkeep_leaves_half_of_the_workers_turns_to_deciding() -> None:
    worker = Worker()
    worker.gate.clear()
    async with running(worker, workers=1) as queue:
        for number in range(50):
            queue.add(("noisy", f"iris-{number}"), Lane.UPKEEP)
        for number in range(3):
            queue.add(("team", f"iris-{number}"))
        worker.gate.set()
        await worker.until(lambda: len(worker.began) == 53)
    assert max(worker.began.index(("team", f"iris-{number}")) for number in range(3)) < 15


async def test_a_key_waits_in_one_lane_only_and_upkeep_takes_it_over() -> None:
    worker = Worker()
    async with running(worker) as queue:
        queue.add(IRIS)
        queue.add(IRIS, Lane.UPKEEP)
        queue.add(IRIS)
        assert (queue.depth(Lane.DECIDE), queue.depth(Lane.UPKEEP)) == (0, 1)
        await settled()
    assert worker.began == [IRIS]


async def test_upkeep_that_is_due_during_a_reconciliation_has_its_lane_afterwards() -> None:
    worker = Worker()
    worker.gate.clear()
    async with running(worker) as queue:
        queue.add(IRIS)
        await worker.until(lambda: worker.running == {IRIS})
        queue.add(IRIS, Lane.UPKEEP)
        queue.add(IRIS)
        for number in range(50):
            queue.add(("noisy", f"iris-{number}"))
        worker.gate.set()
        await worker.until(lambda: worker.began.count(IRIS) == 2)
        await worker.until(lambda: len(worker.began) == 52)
    assert worker.began.index(IRIS, 1) < 10


async def test_how_long_a_key_waits_is_known_by_lane() -> None:
    async with running(Worker()) as queue:
        assert (queue.oldest(Lane.DECIDE), queue.oldest(Lane.UPKEEP)) == (0.0, 0.0)
        queue.add(IRIS)
        assert queue.oldest(Lane.DECIDE) > 0.0
        queue.add(IRIS, Lane.UPKEEP)
        assert queue.oldest(Lane.UPKEEP) > queue.oldest(Lane.DECIDE) == 0.0


async def test_an_api_server_that_asks_to_wait_is_left_alone_for_so_long_whatever_happens() -> None:
    def busy(key: Key) -> float | None:
        raise UnavailableError("429: too many requests", retry_after=3600.0 if key == IRIS else 0.0)

    worker = Worker(busy)
    async with running(worker) as queue:
        queue.add(IRIS)
        queue.add(FRAUD)
        await worker.until(lambda: len(worker.results) == 2)
        queue.add(IRIS)
        queue.add(FRAUD)
        await worker.until(lambda: len(worker.results) == 3)
        await settled()
    assert worker.began == [IRIS, FRAUD, FRAUD]


async def test_an_expected_outage_is_one_line_in_the_log_and_a_defect_is_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    errors = {IRIS: UnavailableError("GET /apis/x: timed out"), FRAUD: ZeroDivisionError("ours")}

    def fail(key: Key) -> float | None:
        raise errors[key]

    worker = Worker(fail)
    async with running(worker) as queue:
        queue.add(IRIS)
        queue.add(FRAUD)
        await worker.until(lambda: len(worker.results) == 2)
    outage, defect = (next(one for one in caplog.records if name in one.getMessage()) for name in ("iris", "fraud"))
    assert (outage.levelname, outage.exc_info) == ("WARNING", None)
    assert "timed out" in outage.getMessage()
    assert defect.levelname == "ERROR"
    assert defect.exc_info is not None


@pytest.mark.parametrize(("failures", "least", "most"), [(1, 0.5, 1.0), (3, 2.0, 4.0), (100, 30.0, 60.0), (5000, 30.0, 60.0)])
def test_the_pause_grows_with_the_failures_up_to_a_minute(failures: int, least: float, most: float) -> None:
    assert all(least <= backoff(failures) <= most for _ in range(50))
