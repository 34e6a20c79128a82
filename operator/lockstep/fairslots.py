"""Slots that are given in turns: a party that asks for hundreds of them delays nobody who asks for one."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(eq=False)
class _Waiter:
    place: Hashable | None
    turn: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class FairSlots:
    """Lets a bounded number go on at a time, and those who wait one party after another.

    The last half of all slots, and of those at one place, is only for parties that hold none: whoever never gives
    a slot back is in nobody's way but their own.
    """

    def __init__(self, total: int, *, each: int, at_one_place: int | None = None) -> None:
        """Allow `total` slots in all, `each` to one party, and so many at one place (a server that is asked)."""
        self._total = total
        self._each = each
        self._at_one_place = at_one_place
        self._parties: Counter[Hashable] = Counter()
        self._places: Counter[Hashable] = Counter()
        self._waiting: dict[Hashable, list[_Waiter]] = {}
        self._turns = itertools.count(1)
        self._last_turn: dict[Hashable, int] = {}
        """Of parties that hold a slot or wait for one: whose is longest ago comes next."""

    @asynccontextmanager
    async def held(self, party: Hashable, place: Hashable | None = None) -> AsyncIterator[None]:
        """Wait for a slot and hold it."""
        await self._acquire(party, place)
        try:
            yield
        finally:
            self._give_back(party, place)

    async def _acquire(self, party: Hashable, place: Hashable | None) -> None:
        waiter = _Waiter(place)
        self._waiting.setdefault(party, []).append(waiter)
        self._admit()
        try:
            await waiter.turn
        except asyncio.CancelledError:
            if waiter.turn.done() and not waiter.turn.cancelled():
                self._give_back(party, place)
            else:
                self._leave(party, waiter)
            raise

    def _give_back(self, party: Hashable, place: Hashable | None) -> None:
        _less(self._parties, party)
        if place is not None:
            _less(self._places, place)
        self._forget(party)
        self._admit()

    def _admit(self) -> None:
        """Let in whoever fits, one of each party in turn."""
        while (found := self._next()) is not None:
            party, waiter = found
            self._leave(party, waiter)
            self._last_turn[party] = next(self._turns)
            self._parties[party] += 1
            if waiter.place is not None:
                self._places[waiter.place] += 1
            waiter.turn.set_result(None)

    def _next(self) -> tuple[Hashable, _Waiter] | None:
        free = self._total - self._parties.total()
        for party in sorted(self._waiting, key=lambda party: self._last_turn.get(party, 0)):
            mine = self._parties[party]
            if mine >= self._each or free <= (self._total // 2 if mine else 0):
                continue
            # Not the first alone: whom it asks may be busy, and who is asked by the others not.
            for waiter in self._waiting[party]:
                if not waiter.turn.done() and self._has_room(waiter.place, mine):
                    return party, waiter
        return None

    def _has_room(self, place: Hashable | None, mine: int) -> bool:
        if place is None or self._at_one_place is None:
            return True
        return self._at_one_place - self._places[place] > (self._at_one_place // 2 if mine else 0)

    def _leave(self, party: Hashable, waiter: _Waiter) -> None:
        waiters = self._waiting[party]
        waiters.remove(waiter)
        if not waiters:
            del self._waiting[party]
        self._forget(party)

    def _forget(self, party: Hashable) -> None:
        if party not in self._parties and party not in self._waiting:
            self._last_turn.pop(party, None)


def _less(counted: Counter[Hashable], key: Hashable) -> None:
    counted[key] -= 1
    if not counted[key]:
        del counted[key]
