"""Work that runs beside the reconciliations, so that nobody's slow server holds a worker of the queue."""

import asyncio
from collections.abc import Coroutine, Hashable
from typing import Any


class Background:
    """Tasks by what they are about; each ends by itself, or with the process."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[None], Hashable] = {}

    def start(self, about: Hashable, work: Coroutine[Any, Any, None]) -> None:
        """Begin some work; it may not raise."""
        task = asyncio.create_task(work)
        self._tasks[task] = about
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    def running(self, about: Hashable) -> int:
        """Return how many tasks about something run."""
        return sum(1 for one in self._tasks.values() if one == about)

    async def stop(self) -> None:
        """End what still runs."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
