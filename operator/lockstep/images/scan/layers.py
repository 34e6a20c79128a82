"""Gives the records of layers: from the cache, or by reading each layer once, however many images of a registry share it."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Protocol

from lockstep.images.image import Descriptor, ImageError
from lockstep.images.limits import Limits
from lockstep.images.scan.worker import layer
from lockstep.images.scan.worker.port import Workers
from lockstep.images.source import ImageSource


@dataclass(frozen=True)
class LayerKey:
    """What a layer's record depends on, beside the analyser."""

    digest: str
    """Digest of the blob."""
    media_type: str
    diff_id: str
    """Digest of the uncompressed layer by the image's configuration; a record exists only where it is right."""


class LayerCache(Protocol):
    """Keeps records of layers. Losing one costs time and nothing else: neither call raises."""

    async def get(self, key: LayerKey) -> bytes | None:
        """Return the record, as `layers.record.dump` wrote it; None when there is none."""
        ...

    async def put(self, key: LayerKey, record: bytes) -> None:
        """Keep a record."""
        ...


class NoCache:
    """Keeps nothing. Implements `LayerCache`."""

    async def get(self, key: LayerKey) -> bytes | None:
        """See `LayerCache.get`."""
        return None

    async def put(self, key: LayerKey, record: bytes) -> None:
        """See `LayerCache.put`."""


@dataclass
class _Reading:
    task: asyncio.Task[bytes]
    waiting: int = field(default=0)


class Layers:
    """Reads layers, each once at a time from one registry."""

    def __init__(self, workers: Workers, cache: LayerCache, limits: Limits) -> None:
        self._workers = workers
        self._cache = cache
        self._limits = limits
        self._readings: dict[tuple[str, LayerKey], _Reading] = {}
        self._keeping: set[asyncio.Task[None]] = set()

    async def get(self, source: ImageSource, descriptor: Descriptor, diff_id: str, party: str = "") -> bytes:
        """Return a layer's record, as `layers.record.dump` writes it.

        Whoever asks has been shown the image's manifest, so that a record read for another is no secret from them. But a
        reading from another registry, which may deliver it as slowly as it likes, is not waited for, nor is another's failure
        taken over: it may be due to their credentials.

        Args:
            source: where the layer is read.
            descriptor: the layer.
            diff_id: digest of the uncompressed layer by the image's configuration.
            party: on whose behalf; parties take turns.

        Raises:
            ImageError: with the reason why the layer can't be determined.
        """
        key = LayerKey(descriptor.digest, descriptor.media_type, diff_id)
        at = source.repository.partition("/")[0], key
        while (reading := self._readings.get(at)) is not None:
            try:
                return await self._record(at, reading)
            except ImageError:
                continue
        started = asyncio.create_task(self._get(key, source, descriptor, party))
        self._readings[at] = _Reading(started)
        return await self._record(at, self._readings[at])

    async def _record(self, at: tuple[str, LayerKey], reading: _Reading) -> bytes:
        """Wait for a reading, which ends when nobody waits for it any more."""
        reading.waiting += 1
        try:
            return await asyncio.shield(reading.task)
        finally:
            reading.waiting -= 1
            # Before it is ended, so that who asks meanwhile begins anew.
            if self._readings.get(at) is reading and (reading.task.done() or not reading.waiting):
                del self._readings[at]
            if not reading.waiting:
                reading.task.cancel()
                await asyncio.gather(reading.task, return_exceptions=True)

    async def _get(self, key: LayerKey, source: ImageSource, descriptor: Descriptor, party: str) -> bytes:
        cached = await self._cache.get(key)
        if cached is not None:
            return cached
        record = await self._workers.run(layer.__name__, self._worker_input(key, source, descriptor), party)
        # Who asked does not wait for the cache: megabytes take it a while.
        keeping = asyncio.create_task(self._cache.put(key, record))
        self._keeping.add(keeping)
        keeping.add_done_callback(self._keeping.discard)
        return record

    async def wait_for_cache(self) -> None:
        """Wait until the cache has taken what it was given."""
        await asyncio.gather(*self._keeping)

    async def _worker_input(self, key: LayerKey, source: ImageSource, descriptor: Descriptor) -> AsyncGenerator[bytes, None]:
        yield layer.request(descriptor, key.diff_id, self._limits)
        async with source.blob(descriptor) as chunks:
            async for chunk in chunks:
                yield chunk
