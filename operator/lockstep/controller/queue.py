"""The keyed work queue: one runner a key, duplicates joined, failures backed off with jitter, later reconciliations scheduled.

Namespaces take turns, so that one with hundreds of keys delays nobody who has one. What serves has a lane of its own.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from lockstep.controller.cluster.ports import ClusterError, UnavailableError
from lockstep.controller.lanes import FairQueue, Key, Lane

Work = Callable[[Key], Awaitable[float | None]]
"""Reconciles one key; returns in how many seconds to requeue it, None when only an event should bring it back."""

Done = Callable[[str, float], None]
"""Is called after each reconciliation with its result (`ok` or `error`) and its duration in seconds."""

_log = logging.getLogger(__name__)
_FIRST_BACKOFF, _MAX_BACKOFF = 1.0, 60.0
_MAX_ASKED = 300.0
"""Seconds: an API server that asks to wait longer is asked again all the same."""


@dataclass
class _State:
    running: bool = False
    requeue: Lane | None = None
    """Something happened while it was running, and in which lane it is to wait."""
    failures: int = 0
    timer: asyncio.TimerHandle | None = None
    not_before: float = 0.0
    """Until when the API server asked to be left alone with this key."""


class WorkQueue:
    """Runs `work` for keys that were added. One key never waits in two lanes, nor runs twice at once."""

    def __init__(self, work: Work, *, workers: int, done: Done) -> None:
        """Run `workers` reconciliations at a time, whatever their cause, and one more that only upkeep may cause."""
        self._work = work
        self._workers = workers
        self._done = done
        self._lanes = {lane: FairQueue() for lane in Lane}
        self._states: dict[Key, _State] = {}
        self._arrived = asyncio.Event()

    def depth(self, lane: Lane) -> int:
        """Return how many keys wait."""
        return len(self._lanes[lane])

    def oldest(self, lane: Lane) -> float:
        """Return for how many seconds the one waits that waits longest."""
        since = self._lanes[lane].oldest()
        return time.monotonic() - since if since is not None else 0.0

    def add(self, key: Key, lane: Lane = Lane.DECIDE) -> None:
        """Ask for a reconciliation of a key now; asking twice is asking once, in the lane of upkeep when one asks for that."""
        state = self._states.setdefault(key, _State())
        if state.timer is not None:
            state.timer.cancel()
            state.timer = None
        if (left := state.not_before - time.monotonic()) > 0 and not state.running:
            self.add_after(key, left)
        elif state.running:
            state.requeue = Lane.UPKEEP if Lane.UPKEEP in (lane, state.requeue) else lane
        elif lane is Lane.UPKEEP:
            since = self._lanes[Lane.DECIDE].remove(key)
            self._push(key, lane, since)
        elif key not in self._lanes[Lane.UPKEEP]:
            self._push(key, lane, None)

    def _push(self, key: Key, lane: Lane, since: float | None) -> None:
        self._lanes[lane].push(key, time.monotonic() if since is None else since)
        self._arrived.set()

    def add_after(self, key: Key, seconds: float) -> None:
        """Ask for a reconciliation later, unless one comes sooner."""
        state = self._states.setdefault(key, _State())
        if state.running or any(key in waiting for waiting in self._lanes.values()):
            return
        if state.timer is not None:
            state.timer.cancel()
        state.timer = asyncio.get_running_loop().call_later(seconds, self.add, key)

    async def run(self) -> None:
        """Work until cancelled; a reconciliation that has begun is finished or cancelled with the rest."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._workers):
                # Each begins with another lane, so that neither waits for the other.
                group.create_task(self._worker((Lane.UPKEEP, Lane.DECIDE) if number % 2 else (Lane.DECIDE, Lane.UPKEEP)))
            group.create_task(self._worker((Lane.UPKEEP,)))

    async def _worker(self, lanes: Sequence[Lane]) -> None:
        while True:
            while (key := self._next(lanes)) is None:
                self._arrived.clear()
                await self._arrived.wait()
            await self._reconcile(key)
            lanes = (*lanes[1:], lanes[0])

    def _next(self, lanes: Sequence[Lane]) -> Key | None:
        """Take the next key, of the first of these lanes that has one."""
        return next((key for lane in lanes if (key := self._lanes[lane].pop()) is not None), None)

    async def _reconcile(self, key: Key) -> None:
        state = self._states.setdefault(key, _State())
        state.running, state.requeue = True, None
        started = time.monotonic()
        requeue: float | None
        try:
            requeue = await self._work(key)
            state.failures = 0
            result = "ok"
        except Exception as error:
            # Whatever went wrong, this key comes back and the others go on.
            state.failures += 1
            asked = _stated_retry_after(error)
            state.not_before = time.monotonic() + asked
            requeue = max(backoff(state.failures), asked)
            result = "error"
            _log_failure(key, error, requeue)
        finally:
            state.running = False
        self._done(result, time.monotonic() - started)
        if state.requeue is not None:
            self.add(key, state.requeue)
        elif requeue is not None:
            self.add_after(key, requeue)
        else:
            self._states.pop(key, None)


def _log_failure(key: Key, error: Exception, requeue: float) -> None:
    """Log a failed reconciliation. A refusal of the API server is one line: an outage fails thousands of them."""
    if isinstance(error, ClusterError):
        _log.warning("the reconciliation of %s/%s is tried again in %.0f s: %s", *key, requeue, error)
    else:
        _log.error("the reconciliation of %s/%s failed", *key, exc_info=error)


def _stated_retry_after(error: Exception) -> float:
    """Return the seconds for which the API server asked to be left alone."""
    stated = error.retry_after if isinstance(error, UnavailableError) else None
    return min(stated or 0.0, _MAX_ASKED)


def backoff(failures: int) -> float:
    """Return the seconds until the next try: doubled with each failure, with jitter so that keys spread."""
    # Bounded before the power, which overflows after a thousand failures.
    longest = min(_MAX_BACKOFF, _FIRST_BACKOFF * 2.0 ** min(failures - 1, 16))
    return longest * random.uniform(0.5, 1.0)
