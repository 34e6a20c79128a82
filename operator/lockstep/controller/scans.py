"""Scans images in the background, so that a long scan never keeps what serves from being looked after."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from lockstep.api.reasons import Reason
from lockstep.controller.ports import Clock, ClusterError
from lockstep.controller.records import Records
from lockstep.gates.evidence import Fact, Unknown
from lockstep.images.image import ImageError, ResolvedImage
from lockstep.images.imagescan import ImageScan

Scan = Callable[[ResolvedImage], Awaitable[ImageScan]]
_KEPT = 256
_AGAIN = 10.0
"""Seconds after which a scan is tried again that a dependency kept from ending, unless that one named its own."""
_REFUSED_AGAIN = 60.0
"""The same when the answer was no: credentials may be put right, a layer be pushed again."""
_CONTENT_AGAIN = 3600.0
"""The same when it is the image's content, which its digest names, that can't be told."""
_CONTENT = (
    Reason.LAYER_CORRUPT,
    Reason.LAYER_AMBIGUOUS,
    Reason.LIMIT_EXCEEDED,
    Reason.INTERPRETER_NOT_FOUND,
    Reason.INTERPRETER_AMBIGUOUS,
    Reason.METADATA_INVALID,
    Reason.SYSTEM_UNVERIFIABLE,
    Reason.FILE_UNREADABLE,
)
_log = logging.getLogger(__name__)


class Scans:
    """One scan per image digest, however many ask; a finished one is recorded and kept."""

    def __init__(self, records: Records, analyser: str, took: Callable[[float], None], clock: Clock) -> None:
        self._records = records
        self._clock = clock
        self._analyser = analyser
        self._took = took
        self._running: dict[str, asyncio.Task[None]] = {}
        self._waiting: dict[str, set[Callable[[], None]]] = {}
        self._done: OrderedDict[str, tuple[Fact[ImageScan], float]] = OrderedDict()
        """What was found, and when."""

    async def get(self, image: ResolvedImage, scan: Scan, when_done: Callable[[], None]) -> Fact[ImageScan] | None:
        """Return the scan, or why it can't be told; None while the first one runs, and `when_done` is called at its end.

        A failure stands until a later try, which runs while the failure is still the answer, has found something else.
        The caller has resolved the image with the credentials of its own namespace, so that nobody learns what is in
        an image that they may not open.
        """
        known, at = self._done.get(image.digest, (None, 0.0))
        if known is not None and (isinstance(known, ImageScan) or self._clock.monotonic() - at < _patience(known)):
            return known
        if image.digest not in self._running:
            recorded = await self._records.scan(image.digest, self._analyser)
            if recorded is not None:
                self._keep(image.digest, recorded)
                return recorded
        if image.digest not in self._running:
            self._running[image.digest] = asyncio.create_task(self._run(image, scan))
        self._waiting.setdefault(image.digest, set()).add(when_done)
        return known

    async def _run(self, image: ResolvedImage, scan: Scan) -> None:
        result: Fact[ImageScan]
        try:
            started = time.monotonic()
            result = await scan(image)
            self._took(time.monotonic() - started)
            await self._records.keep_scan(result)
        except ImageError as error:
            result = Unknown(error.reason, error.message, retry=error.retry, retry_after=error.retry_after)
        except ClusterError as error:
            _log.warning("the scan of %s could not be recorded: %s", image.digest, error)
            result = Unknown(Reason.INTERNAL_ERROR, "the scan could not be recorded", retry=True)
        except Exception:
            _log.exception("the scan of %s failed", image.digest)
            result = Unknown(Reason.INTERNAL_ERROR, "the scan failed; the operator's log has the cause", retry=True)
        finally:
            del self._running[image.digest]
        self._keep(image.digest, result)
        for when_done in self._waiting.pop(image.digest, set()):
            when_done()

    def _keep(self, digest: str, result: Fact[ImageScan]) -> None:
        self._done[digest] = result, self._clock.monotonic()
        self._done.move_to_end(digest)
        if len(self._done) > _KEPT:
            self._done.popitem(last=False)

    async def stop(self) -> None:
        """End what still runs."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _patience(failure: Unknown) -> float:
    """Return how many seconds a failure stands before the scan is tried again."""
    if failure.retry:
        return failure.retry_after or _AGAIN
    return _CONTENT_AGAIN if failure.reason in _CONTENT else _REFUSED_AGAIN
