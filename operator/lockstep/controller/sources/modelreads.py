"""Reads the files of models in the background, so that gigabytes of weights never delay the upkeep of what serves."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lockstep.api.reasons import Reason
from lockstep.bounded import Bounded
from lockstep.controller.cluster.ports import Clock
from lockstep.fairslots import FairSlots
from lockstep.formats.modelfiles import ModelFiles
from lockstep.gates.evidence import Fact, Unknown
from lockstep.lineage.lineage import LineageError, ModelRegistry, Place
from lockstep.lineage.reading import Known, Progress, ReadingLimits, amount, listing, read

_KEPT = 64
_STANDS = timedelta(hours=1)
"""So long a reading counts for candidates that were first seen before it; then files are read anew."""
_AGAIN = timedelta(seconds=10)
"""After which a reading is tried again that a dependency kept from ending."""
_REFUSED_AGAIN = timedelta(minutes=1)
"""The same when the answer was no."""
_GRACE_SECONDS = 0.2
"""So long a reconciliation waits: small models are read by then, and need no second reconciliation."""
_LARGE = 10**9
"""Bytes from which on a model waits for the slots of large ones, so that a few of them hold up no small one."""
_log = logging.getLogger(__name__)

_Model = tuple[str, str]
"""Tracking server, and where the files are."""
_Key = tuple[str, _Model]
"""On whose behalf (a namespace), and what: nobody waits until another's models have been read to get to the same one."""


@dataclass(frozen=True)
class _Begun:
    """When the first byte may have been read that counts, and what has been read since then."""

    at: datetime
    known: Known = field(default_factory=Known)


@dataclass
class _Reading:
    """A reading that runs."""

    begun: _Begun
    task: asyncio.Task[None]
    progress: Progress
    waiting: set[Callable[[], None]] = field(default_factory=set)


@dataclass(frozen=True)
class _Done:
    began: datetime
    ended: datetime
    files: Fact[ModelFiles]


class ModelReads:
    """One reading per model and namespace at a time, however many ask. What was read is kept for an hour, for all.

    Namespaces take turns. Beside the slots that one of them may hold, as many again are kept for those that hold none.
    """

    def __init__(self, clock: Clock, limits: ReadingLimits, at_once: int) -> None:
        """Read `at_once` models of each size at a time for one namespace."""
        self._clock = clock
        self._limits = limits
        self._listing, self._small, self._large = (FairSlots(2 * at_once, each=at_once) for _ in range(3))
        self._running: dict[_Key, _Reading] = {}
        self._done: Bounded[_Model, _Done] = Bounded(_KEPT)
        self._failed: Bounded[_Model, _Begun] = Bounded(_KEPT)

    async def get(
        self,
        registry: ModelRegistry,
        tracking_uri: str,
        place: Place,
        namespace: str,
        *,
        since: datetime,
        when_done: Callable[[], None],
    ) -> Fact[ModelFiles]:
        """Return the files, or why they could not be read; until a reading has ended, that they are being read.

        Args:
            registry: the client of the tracking server.
            tracking_uri: which one that is.
            place: whose files.
            namespace: on whose behalf.
            since: a reading that began before this does not count: what was changed meanwhile has to be seen.
            when_done: called at the end of a reading that runs now.
        """
        model, now = (tracking_uri, place.uri), self._clock.now()
        key = (namespace, model)
        # Another replica's clock may be ahead of ours.
        since = min(since, now)
        while (found := self._fresh_result(model, since, now)) is None:
            if key not in self._running:
                self._begin(key, registry, place, since, now)
            reading = self._running[key]
            await asyncio.wait([reading.task], timeout=_GRACE_SECONDS)
            if key in self._running:
                reading.waiting.add(when_done)
                return _reading_fact(place, reading.progress)
        return found

    def _fresh_result(self, model: _Model, since: datetime, now: datetime) -> Fact[ModelFiles] | None:
        done = self._done.get(model)
        if done is None:
            return None
        if isinstance(done.files, ModelFiles):
            return done.files if done.began >= since and now - done.began < _STANDS else None
        return done.files if now - done.ended < (_AGAIN if done.files.retry else _REFUSED_AGAIN) else None

    def _begin(self, key: _Key, registry: ModelRegistry, place: Place, since: datetime, now: datetime) -> None:
        begun = self._failed.get(key[1])
        # What a reading that failed has read already is not read again, so that one of gigabytes ends some day.
        if begun is None or begun.at < since or now - begun.at >= _STANDS:
            begun = _Begun(now)
        progress = Progress()
        task = asyncio.create_task(self._run(key, registry, place, begun, progress))
        self._running[key] = _Reading(begun, task, progress)

    async def _run(self, key: _Key, registry: ModelRegistry, place: Place, begun: _Begun, progress: Progress) -> None:
        files: Fact[ModelFiles]
        namespace, model = key
        self._failed.pop(model, None)
        try:
            files = await self._read(registry, place, namespace, begun.known, progress)
        except LineageError as error:
            files = Unknown(error.reason, error.message, retry=error.retry)
            self._failed[model] = begun
        except Exception:
            _log.exception("the files of %s %s could not be read", place.name, place.version)
            files = Unknown(Reason.INTERNAL_ERROR, "the reading failed; the operator's log has the cause", retry=True)
        known = self._done.get(model)
        # What another namespace's later reading found is newer.
        if known is None or known.began <= begun.at:
            self._done[model] = _Done(begun.at, self._clock.now(), files)
        for when_done in self._running.pop(key).waiting:
            when_done()

    async def _read(
        self, registry: ModelRegistry, place: Place, namespace: str, known: Known, progress: Progress
    ) -> ModelFiles:
        async with self._listing.held(namespace):
            sizes = await listing(registry, place, self._limits)
        progress.total = total = sum(sizes.values())
        async with (self._large if total >= _LARGE else self._small).held(namespace):
            return await read(registry, place, sizes, self._limits, progress=progress, known=known)

    async def stop(self) -> None:
        """End what still runs."""
        tasks = [reading.task for reading in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _reading_fact(place: Place, progress: Progress) -> Unknown:
    how_far = "listed"
    if progress.total is not None:
        how_far = f"read: {amount(progress.done)} of {amount(progress.total)} so far"
    return Unknown(Reason.MODEL_READING, f"the files of {place.name} {place.version} are being {how_far}", retry=True)
