"""Slots that are given in turns."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

import pytest

from lockstep.fairslots import FairSlots


class Holders:
    """Takes slots, and gives them back when a test says so."""

    def __init__(self, slots: FairSlots) -> None:
        self._slots = slots
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.let_in: list[str] = []

    def ask(self, name: str, party: Hashable, place: Hashable | None = None) -> None:
        self._ends[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._hold(name, party, place))

    async def _hold(self, name: str, party: Hashable, place: Hashable | None) -> None:
        async with self._slots.held(party, place):
            self.let_in.append(name)
            await self._ends[name].wait()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await self._tasks[name]
        await settled()

    async def give_up(self, name: str) -> None:
        self._tasks[name].cancel()
        await asyncio.gather(self._tasks[name], return_exceptions=True)
        await settled()

    async def stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@asynccontextmanager
async def holders(total: int, *, each: int, at_one_place: int | None = None) -> AsyncIterator[Holders]:
    found = Holders(FairSlots(total, each=each, at_one_place=at_one_place))
    try:
        yield found
    finally:
        await found.stop()


async def test_parties_take_turns_however_many_one_of_them_asks_for() -> None:
    async with holders(1, each=1) as found:
        for number in range(100):
            found.ask(f"noisy-{number}", "noisy")
        found.ask("quiet", "quiet")
        await settled()
        assert found.let_in == ["noisy-0"]
        await found.end("noisy-0")
        assert found.let_in == ["noisy-0", "quiet"]
        await found.end("quiet")
        assert found.let_in == ["noisy-0", "quiet", "noisy-1"]


async def test_one_party_never_holds_more_than_its_share() -> None:
    async with holders(10, each=3) as found:
        for number in range(5):
            found.ask(f"noisy-{number}", "noisy")
        await settled()
        assert found.let_in == ["noisy-0", "noisy-1", "noisy-2"]


async def test_the_last_half_is_for_parties_that_hold_none() -> None:
    async with holders(8, each=4) as found:
        for party in ("one", "two"):
            for number in range(4):
                found.ask(f"{party}-{number}", party)
        await settled()
        assert found.let_in == ["one-0", "one-1", "one-2", "one-3", "two-0"]
        for number in range(4):
            found.ask(f"quiet-{number}", f"quiet-{number}")
        await settled()
        assert found.let_in[5:] == ["quiet-0", "quiet-1", "quiet-2"]


async def test_a_busy_place_keeps_nobody_from_another() -> None:
    async with holders(10, each=4, at_one_place=2) as found:
        found.ask("first", "team", "busy")
        found.ask("second", "team", "busy")
        found.ask("third", "team", "idle")
        await settled()
        assert found.let_in == ["first", "third"], "of a place too, the last half is for parties that hold none"
        found.ask("other", "others", "busy")
        await settled()
        assert found.let_in == ["first", "third", "other"]
        await found.end("other")
        await found.end("first")
        assert found.let_in[-1] == "second"


async def test_who_gives_up_waiting_or_is_cancelled_leaves_its_slot() -> None:
    async with holders(1, each=1) as found:
        for name in ("holds", "waits", "last"):
            found.ask(name, name)
        await settled()
        await found.give_up("waits")
        await found.give_up("holds")
        assert found.let_in == ["holds", "last"]


async def test_who_is_cancelled_at_the_moment_of_its_turn_leaves_its_slot() -> None:
    slots = FairSlots(1, each=1)

    async def hold() -> None:
        async with slots.held("waits"):
            raise AssertionError("it was cancelled before")

    async with slots.held("holds"):
        waits = asyncio.create_task(hold())
        await settled()
    # Its turn has come, and it has not noticed yet.
    waits.cancel()
    await asyncio.gather(waits, return_exceptions=True)
    async with asyncio.timeout(5), slots.held("last"):
        assert waits.cancelled()


async def test_what_fails_while_it_holds_a_slot_gives_it_back() -> None:
    slots = FairSlots(1, each=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with slots.held("team", "place"):
                raise ZeroDivisionError
