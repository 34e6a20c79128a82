"""The keyed work queue: one runner a key, duplicates joined, failures backed off with jitter, later looks scheduled."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

Key = tuple[str, str]
"""Namespace and name of a ModelDeployment."""

Work = Callable[[Key], Awaitable[float | None]]
"""Looks at one key; returns in how many seconds to look again, None when only an event should bring it back."""

Done = Callable[[str, float], None]
"""Is told of each look: its result (`ok` or `error`) and its seconds."""

_log = logging.getLogger(__name__)
_FIRST_BACKOFF, _MAX_BACKOFF = 1.0, 60.0


@dataclass
class _State:
    running: bool = False
    again: bool = False
    """Something happened while it was running."""
    failures: int = 0
    timer: asyncio.TimerHandle | None = None


class WorkQueue:
    """Runs `work` for keys that were added."""

    def __init__(self, work: Work, *, workers: int, done: Done) -> None:
        self._work = work
        self._workers = workers
        self._done = done
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: set[Key] = set()
        self._states: dict[Key, _State] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, key: Key) -> None:
        """Ask for a look at a key now; asking twice is asking once."""
        state = self._states.setdefault(key, _State())
        if state.timer is not None:
            state.timer.cancel()
            state.timer = None
        if state.running:
            state.again = True
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Ask for a look later, unless one comes sooner."""
        state = self._states.setdefault(key, _State())
        if state.running or key in self._waiting:
            return
        if state.timer is not None:
            state.timer.cancel()
        state.timer = asyncio.get_running_loop().call_later(seconds, self.add, key)

    async def run(self) -> None:
        """Work until cancelled; a look that has begun is finished or cancelled with the rest."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._worker())

    async def _worker(self) -> None:
        while True:
            key = await self._ready.get()
            self._waiting.discard(key)
            await self._look(key)

    async def _look(self, key: Key) -> None:
        state = self._states.setdefault(key, _State())
        state.running, state.again = True, False
        started = time.monotonic()
        again: float | None
        try:
            again = await self._work(key)
            state.failures = 0
            result = "ok"
        except Exception:
            # Whatever went wrong, this key comes back and the others go on.
            _log.exception("the look at %s/%s failed", *key)
            state.failures += 1
            again = backoff(state.failures)
            result = "error"
        finally:
            state.running = False
        self._done(result, time.monotonic() - started)
        if state.again:
            self.add(key)
        elif again is not None:
            self.add_after(key, again)
        else:
            self._states.pop(key, None)


def backoff(failures: int) -> float:
    """Return the seconds until the next try: doubled with each failure, with jitter so that keys spread."""
    # Bounded before the power, which overflows after a thousand failures.
    longest = min(_MAX_BACKOFF, _FIRST_BACKOFF * 2.0 ** min(failures - 1, 16))
    return longest * random.uniform(0.5, 1.0)
