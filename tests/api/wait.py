"""Waiting in asynchronous tests: asked again and again, with a timeout."""

import asyncio
from collections.abc import Awaitable, Callable


async def eventually(condition: Callable[[], Awaitable[bool]], seconds: float, *, every: float = 0.05) -> None:
    """Return once the condition is true.

    Raises:
        TimeoutError: it did not become true within the timeout.
    """
    async with asyncio.timeout(seconds):
        while True:
            if await condition():
                return
            await asyncio.sleep(every)
