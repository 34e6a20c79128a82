"""Scans an image: reads its layers, two at a time, puts them together, and describes the environment that it starts."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import TypeVar

from lockstep.api.reasons import Reason
from lockstep.environment.observation import Observation
from lockstep.images.image import ImageError, ResolvedImage
from lockstep.images.limits import Limits
from lockstep.images.scan.analyser import ANALYSER
from lockstep.images.scan.layers import LayerCache, Layers, NoCache
from lockstep.images.scan.result import ImageScan, UndeterminedImageError
from lockstep.images.scan.worker import describe, identity, observed
from lockstep.images.scan.worker.port import Workers
from lockstep.images.scan.worker.processes import Processes
from lockstep.images.source import ImageSource
from lockstep.observer.report import Report

T = TypeVar("T")


class Scanner:
    """Scans images. Nothing is executed, nothing written to disk, and strangers' bytes are read in other processes."""

    def __init__(self, limits: Limits, *, workers: Workers | None = None, cache: LayerCache | None = None) -> None:
        self._limits = limits
        self._workers = workers or Processes(limits.record)
        self._layers = Layers(self._workers, cache or NoCache(), limits)

    async def scan(self, source: ImageSource, image: ResolvedImage, party: str = "") -> ImageScan:
        """Read an image's layers as streams and describe what it starts.

        Args:
            source: where the layers are read.
            image: the image.
            party: on whose behalf; parties take turns.

        Raises:
            UndeterminedImageError: its files do not say what it starts, and what it could run is listed.
            ImageError: with the reason why the image can't be determined.
        """
        request = describe.request(image.config, len(image.layers), self._limits)
        found = await self._ask(describe.__name__, describe.result_of, request, source, image, party)
        if found.document is None:
            raise UndeterminedImageError(found.undetermined, image.digest, found.models, found.candidates)
        return ImageScan(digest=image.digest, analyser=ANALYSER, document=found.document, models=found.models)

    async def explain(
        self, source: ImageSource, image: ResolvedImage, report: Report, variables: Mapping[str, str], party: str = ""
    ) -> Observation:
        """Say by an image's layers what was seen in one of its pods.

        Args:
            source: where layers are read that are not cached.
            image: the image.
            report: what the observer saw; it names at least one process.
            variables: what the pod sets besides the image's own.
            party: on whose behalf; parties take turns.

        Raises:
            ImageError: with the reason why it can't be said.
        """
        request = observed.request(image.config, variables, report, len(image.layers), self._limits)
        return await self._ask(observed.__name__, observed.result_of, request, source, image, party)

    async def identify(self, source: ImageSource, image: ResolvedImage, user: str, party: str = "") -> tuple[int, int]:
        """Return the user and group id of a user of the image, by its own /etc/passwd.

        Args:
            source: where layers are read that are not cached.
            image: the image.
            user: a number or a name; empty for root.
            party: on whose behalf; parties take turns.

        Raises:
            ImageError: with the reason why it can't be said.
        """
        request = identity.request(user, len(image.layers), self._limits)
        return await self._ask(identity.__name__, identity.result_of, request, source, image, party)

    async def wait_for_cache(self) -> None:
        """Wait until the cache has taken what was found so far."""
        await self._layers.wait_for_cache()

    async def _ask(
        self, module: str, read: Callable[[bytes], T], request: bytes, source: ImageSource, image: ResolvedImage, party: str
    ) -> T:
        """Have a module of the workers read the image, and read its answer."""
        try:
            async with asyncio.timeout(self._limits.seconds):
                answer = await self._run(module, request, source, image, party)
        except TimeoutError as error:
            message = f"the scan of {image.pinned} did not end within {self._limits.seconds:.0f} s"
            raise ImageError(Reason.SCAN_TIMEOUT, message, retry=True) from error
        try:
            return read(answer)
        except ValueError as error:
            message = f"the process that read the image ({module.rpartition('.')[2]}) gave no answer: {error}"
            raise ImageError(Reason.SCAN_FAILED, message, retry=True) from error

    async def _run(self, module: str, request: bytes, source: ImageSource, image: ResolvedImage, party: str) -> bytes:
        reading = self._start_readings(source, image, party)
        try:
            # It is started with the layers, so that it has put the lower ones together when the last one comes.
            return await self._workers.run(module, self._worker_input(request, reading), party)
        finally:
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)

    def _start_readings(self, source: ImageSource, image: ResolvedImage, party: str) -> list[asyncio.Task[bytes]]:
        """Begin to read all layers; return the tasks in the layers' order."""
        numbered = list(enumerate(zip(image.layers, image.config.diff_ids, strict=True)))
        # The largest first, so that none is left alone at the end.
        numbered.sort(key=lambda one: -one[1][0].size)
        tasks = {
            number: asyncio.create_task(self._layers.get(source, descriptor, diff_id, party))
            for number, (descriptor, diff_id) in numbered
        }
        return [tasks[number] for number in sorted(tasks)]

    async def _worker_input(self, request: bytes, reading: Sequence[asyncio.Task[bytes]]) -> AsyncGenerator[bytes, None]:
        yield request
        size = 0
        for task in reading:
            while not task.done():
                done, _ = await asyncio.wait([one for one in reading if not one.done()], return_when=asyncio.FIRST_COMPLETED)
                for one in done:
                    # The first failure ends the scan, whichever layer's turn it is.
                    one.result()
            record = task.result()
            size += len(record)
            if size > self._limits.record:
                message = f"what was found in the layers has more than {self._limits.record} bytes"
                raise ImageError(Reason.LIMIT_EXCEEDED, message)
            yield describe.frame_record(record)
