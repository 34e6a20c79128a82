"""Scans an image: streams its layers, puts them together, and describes the environment that the image starts."""

import asyncio
import concurrent.futures
from collections.abc import AsyncIterator, Mapping

from lockstep import __version__
from lockstep.api.reasons import Reason
from lockstep.canonical import sha256_of
from lockstep.environment.catalogue.describe import describe
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.launch import Launch
from lockstep.environment.document import MAX_DOCUMENT_BYTES
from lockstep.environment.tree import EntryTree, UnreadableFileError
from lockstep.images.image import Descriptor, ImageConfig, ImageError, ImageModel, ImageScan, ResolvedImage
from lockstep.images.interest import interest
from lockstep.images.layer import LayerRecord, read_layer
from lockstep.images.limits import Limits
from lockstep.images.source import ImageSource
from lockstep.images.squash import Squash
from lockstep.mlmodel import InvalidMLmodelError, described

ANALYSER = f"lockstep {__version__} analyser 2"
"""Names what derives documents from layers. Raised whenever the same image could give another document."""

_MACHINES: Mapping[str, str] = {"amd64": "x86_64", "arm64": "aarch64"}
_MAX_MODELS = 64


async def scan(source: ImageSource, image: ResolvedImage, limits: Limits) -> ImageScan:
    """Read an image's layers as streams and describe what it starts. Nothing is executed, nothing written to disk.

    Raises:
        ImageError: with the reason why the image can't be told.
    """
    try:
        async with asyncio.timeout(limits.seconds):
            return await _scan(source, image, limits)
    except TimeoutError as error:
        message = f"the scan of {image.pinned} did not end within {limits.seconds:.0f} s"
        raise ImageError(Reason.SCAN_TIMEOUT, message, retry=True) from error


async def _scan(source: ImageSource, image: ResolvedImage, limits: Limits) -> ImageScan:
    squash = Squash(limits)
    kept = seen = 0
    for descriptor, diff_id in zip(image.layers, image.config.diff_ids, strict=True):
        record = await _layer(source, descriptor, diff_id, limits, kept, seen)
        kept, seen = record.kept, record.seen
        await asyncio.to_thread(squash.apply, record)
    return await asyncio.to_thread(_describe, squash, image)


async def _layer(
    source: ImageSource, descriptor: Descriptor, diff_id: str, limits: Limits, kept: int, seen: int
) -> LayerRecord:
    async with source.blob(descriptor) as chunks:
        stream = _Pulled(chunks, asyncio.get_running_loop())
        # Decompression and parsing keep a core busy: a thread does them, so that the event loop stays free.
        reading = asyncio.create_task(
            asyncio.to_thread(read_layer, stream, descriptor, diff_id, interest, limits, kept=kept, seen=seen)
        )
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            stream.stop()
            await asyncio.gather(reading, return_exceptions=True)
            raise


class _Pulled:
    """A blob that arrives in the event loop, read from a thread."""

    def __init__(self, chunks: AsyncIterator[bytes], loop: asyncio.AbstractEventLoop) -> None:
        self._chunks = chunks
        self._loop = loop
        self._rest = b""
        self._stopped = False
        self._waiting: concurrent.futures.Future[bytes] | None = None

    def stop(self) -> None:
        """Let the read that waits and every later one fail, so that the thread ends."""
        self._stopped = True
        if self._waiting is not None:
            self._waiting.cancel()

    def read(self, size: int = -1, /) -> bytes:
        if not self._rest:
            self._waiting = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
            try:
                # Who stops sets the flag first and looks for what waits then: one of the two is seen.
                self._rest = b"" if self._stopped else self._waiting.result()
            except concurrent.futures.CancelledError as error:
                raise ImageError(Reason.SCAN_TIMEOUT, "the scan was stopped", retry=True) from error
        if self._stopped:
            if self._waiting is not None:
                self._waiting.cancel()
            raise ImageError(Reason.SCAN_TIMEOUT, "the scan was stopped", retry=True)
        taken = self._rest if size < 0 or size >= len(self._rest) else self._rest[:size]
        self._rest = self._rest[len(taken) :]
        return taken

    async def _next(self) -> bytes:
        async for chunk in self._chunks:
            if chunk:
                return chunk
        return b""


def _describe(squash: Squash, image: ResolvedImage) -> ImageScan:
    machine = _MACHINES.get(image.config.platform.architecture, image.config.platform.architecture)
    tree = squash.tree()
    try:
        models = _models(squash, tree)
        document = describe(
            tree,
            launch_of(image.config),
            machine=machine,
            collector=f"lockstep {__version__}",
            models=[model.path for model in models],
        )
    except CatalogueError as error:
        raise ImageError(error.reason, error.message) from error
    except UnreadableFileError as error:
        raise ImageError(Reason.FILE_UNREADABLE, str(error)) from error
    if (size := len(document.canonical())) > MAX_DOCUMENT_BYTES:
        raise ImageError(Reason.LIMIT_EXCEEDED, f"the document has {size} bytes, the limit is {MAX_DOCUMENT_BYTES}")
    return ImageScan(digest=image.digest, analyser=ANALYSER, document=document, models=models)


def launch_of(config: ImageConfig) -> Launch:
    """Return how an image's configuration starts its container."""
    return Launch(
        argv=(*config.entrypoint, *config.cmd),
        env=dict(config.env),
        working_dir=config.working_dir,
        user=config.user,
    )


def _models(squash: Squash, tree: EntryTree) -> tuple[ImageModel, ...]:
    """Find the logged models inside the image by their MLmodel files."""
    found: list[ImageModel] = []
    for path in sorted(path for path in squash.paths() if path.endswith("/MLmodel")):
        body = tree.read(path)
        if body is None:
            continue
        if len(found) == _MAX_MODELS:
            raise ImageError(Reason.LIMIT_EXCEEDED, f"the image holds more than {_MAX_MODELS} models")
        try:
            stated = described(body)
        except InvalidMLmodelError as error:
            raise ImageError(Reason.FILE_UNREADABLE, f"{path}: {error}") from error
        found.append(
            ImageModel(
                path=path.rpartition("/")[0],
                sha256=sha256_of(body),
                model_id=stated.model_id,
                run_id=stated.run_id,
            )
        )
    return tuple(found)
