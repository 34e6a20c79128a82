"""The least pace of a body, so that a registry that trickles can't hold a connection for ever."""

import asyncio

import aiohttp


class TooSlowError(Exception):
    """A body came more slowly than it has to."""


class Pace:
    """Reads one body. Only the time counts that is spent waiting for it, not what its reader takes to use it."""

    def __init__(self, content: aiohttp.StreamReader, rate: float, window: float) -> None:
        """Read `content`, which has to bring `rate` bytes a second over each `window` of seconds but the last."""
        self._content = content
        self._rate = rate
        self._window = window
        self._waited = 0.0
        self._bytes = 0

    async def read(self, size: int) -> bytes:
        """Return the next bytes, at most `size`; none at the end.

        Raises:
            TooSlowError: a window passed with too little.
        """
        while True:
            chunk = await self._next(size)
            if chunk is not None:
                self._bytes += len(chunk)
            if self._waited >= self._window and chunk != b"":
                if self._bytes < self._rate * self._window:
                    raise TooSlowError(f"less than {self._rate / 1000:g} kB/s over {self._window:g} s")
                self._waited, self._bytes = 0.0, 0
            if chunk is not None:
                return chunk

    async def _next(self, size: int) -> bytes | None:
        """Return what comes before the window ends; None when nothing does."""
        now = asyncio.get_running_loop().time
        began = now()
        try:
            async with asyncio.timeout(max(0.0, self._window - self._waited)):
                return await self._content.read(size)
        except TimeoutError:
            self._waited = self._window
            return None
        finally:
            self._waited += now() - began
