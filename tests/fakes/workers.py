"""Scans without processes of their own, so that tests of what is found are quick."""

import asyncio
import importlib
import io
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing

from lockstep.images.image import ResolvedImage
from lockstep.images.limits import Limits
from lockstep.images.scan.result import ImageScan
from lockstep.images.scan.scan import Scanner
from lockstep.images.source import ImageSource


class InProcess:
    """Does the work in this process. Implements `Workers`."""

    def __init__(self) -> None:
        self._running: set[asyncio.Future[bytes]] = set()

    async def idle(self) -> None:
        """Wait until nothing is being worked on."""
        while self._running:
            await asyncio.wait(self._running)

    async def run(self, module: str, worker_input: AsyncGenerator[bytes, None], party: str) -> bytes:
        async with aclosing(worker_input):
            stream = io.BytesIO(b"".join([chunk async for chunk in worker_input]))
        asked = json.loads(stream.readline())
        work = importlib.import_module(module).work
        working = asyncio.ensure_future(asyncio.to_thread(work, asked, Limits(**asked["limits"]), stream))
        self._running.add(working)
        working.add_done_callback(self._running.discard)
        answer: bytes = await working
        return answer


async def scan(source: ImageSource, image: ResolvedImage, limits: Limits) -> ImageScan:
    """Scan an image in this process."""
    return await Scanner(limits, workers=InProcess()).scan(source, image)
