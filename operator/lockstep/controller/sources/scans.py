"""Scans images in the background, so that a long scan never delays the upkeep of what serves."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from lockstep.api.reasons import Reason
from lockstep.bounded import Bounded
from lockstep.controller.cluster.ports import Clock, ClusterError
from lockstep.controller.records.store import Records
from lockstep.fairslots import FairSlots
from lockstep.gates.evidence import Fact, Unknown
from lockstep.gathering.gather import unknown_of
from lockstep.images.image import CONTENT_REASONS, ImageError, ResolvedImage
from lockstep.images.scan.result import ImageScan

Scan = Callable[[ResolvedImage], Awaitable[ImageScan]]
_Key = tuple[str, str]
"""Namespace and digest."""
AT_ONCE, EACH = 16, 2
"""Scans that go on at a time, in all and for one namespace; how many layers are read at a time is another matter."""
_KEPT = 256
_AGAIN = 10.0
"""Seconds after which a scan is tried again that a dependency kept from ending, unless that one named its own."""
_REFUSED_AGAIN = 60.0
"""The same when the answer was no: credentials may be put right, a layer be pushed again."""
_CONTENT_AGAIN = 3600.0
"""The same when the cause is the image's content, which its digest fixes and which could not be determined."""
_log = logging.getLogger(__name__)


class Scans:
    """One scan at a time per image digest and namespace, a bounded number in all; a finished one is recorded and kept.

    What was found is the same for whoever may open the image. Why nothing was found is not: it may be another namespace's
    registry that delivers no layers, or its credentials.
    """

    def __init__(
        self, records: Records, analyser: str, took: Callable[[float], None], clock: Clock, slots: FairSlots | None = None
    ) -> None:
        self._records = records
        self._clock = clock
        self._analyser = analyser
        self._took = took
        self._slots = slots or FairSlots(AT_ONCE, each=EACH)
        self._running: dict[_Key, asyncio.Task[None]] = {}
        self._waiting: dict[_Key, set[Callable[[], None]]] = {}
        self._found: Bounded[str, ImageScan] = Bounded(_KEPT)
        self._failed: Bounded[_Key, tuple[Unknown, float]] = Bounded(_KEPT)
        """Why nothing was found, and when."""

    async def get(
        self, image: ResolvedImage, namespace: str, scan: Scan, when_done: Callable[[], None]
    ) -> Fact[ImageScan] | None:
        """Return the scan, or why there is none; None while the first one runs, and `when_done` is called at its end.

        A failure stands until a later try, which runs while the failure is still the answer, has found something else.
        The caller has resolved the image with the credentials of its own namespace, so that nobody learns what is in
        an image that they may not open.
        """
        key = (namespace, image.digest)
        if (found := self._found.get(image.digest)) is not None:
            return found
        failure, at = self._failed.get(key, (None, 0.0))
        if failure is not None and self._clock.monotonic() - at < _retry_after(failure):
            return failure
        if key not in self._running:
            recorded = await self._records.scan(image.digest, self._analyser)
            if recorded is not None:
                self._found[image.digest] = recorded
                return recorded
        if key not in self._running:
            self._running[key] = asyncio.create_task(self._run(key, image, scan))
        self._waiting.setdefault(key, set()).add(when_done)
        return failure

    async def _run(self, key: _Key, image: ResolvedImage, scan: Scan) -> None:
        result: Fact[ImageScan]
        try:
            async with self._slots.held(key[0]):
                result = self._found.get(image.digest) or await self._scan(image, scan)
        finally:
            del self._running[key]
        if isinstance(result, Unknown):
            self._failed[key] = (result, self._clock.monotonic())
        else:
            self._failed.pop(key, None)
            self._found[image.digest] = result
        for when_done in self._waiting.pop(key, set()):
            when_done()

    async def _scan(self, image: ResolvedImage, scan: Scan) -> Fact[ImageScan]:
        try:
            started = time.monotonic()
            result = await scan(image)
            self._took(time.monotonic() - started)
            await self._records.keep_scan(result)
        except ImageError as error:
            return unknown_of(error)
        except ClusterError as error:
            _log.warning("the scan of %s could not be recorded: %s", image.digest, error)
            return Unknown(Reason.INTERNAL_ERROR, "the scan could not be recorded", retry=True)
        except Exception:
            _log.exception("the scan of %s failed", image.digest)
            return Unknown(Reason.INTERNAL_ERROR, "the scan failed; the operator's log has the cause", retry=True)
        return result

    async def stop(self) -> None:
        """End what still runs."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _retry_after(failure: Unknown) -> float:
    """Return how many seconds a failure stands before the scan is tried again."""
    if failure.retry:
        return failure.retry_after or _AGAIN
    return _CONTENT_AGAIN if failure.reason in CONTENT_REASONS else _REFUSED_AGAIN
