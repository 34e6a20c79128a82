"""Reads all files of a model through the registry, a few at a time, within bounds."""

import asyncio
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field

from lockstep.api.reasons import Reason
from lockstep.formats.modelfiles import MAX_PACKED, InvalidModelFilesError, ModelFile, ModelFiles
from lockstep.lineage.lineage import LineageError, ModelRegistry, Place

_FILES_AT_ONCE = 4
_GB = 10**9


@dataclass(frozen=True)
class ReadingLimits:
    """Bounds of what is read of one model; how many files it may have is bounded by `modelfiles`."""

    bytes: int = 40 * _GB
    """Of all files together."""
    seconds: float = 3600.0
    """For all of them."""


@dataclass
class Progress:
    """How far a reading has come, in bytes; `total` is None until the files are listed."""

    done: int = 0
    total: int | None = None

    def took(self, count: int) -> None:
        """Count bytes that have come."""
        self.done += count


@dataclass
class Known:
    """The digests of files that have been read, by path: what a reading that failed leaves to the next one."""

    files: MutableMapping[str, ModelFile] = field(default_factory=dict)

    def digest(self, path: str, size: int) -> ModelFile | None:
        """Return a file that has been read and has the same size now."""
        found = self.files.get(path)
        return found if found is not None and found.size == size else None


async def listing(registry: ModelRegistry, place: Place, limits: ReadingLimits) -> Mapping[str, int]:
    """Return the sizes of a model's files by path.

    Raises:
        LineageError: they can't be listed, or are too many or too large.
    """
    sizes = await registry.files(place)
    if (total := sum(sizes.values())) > limits.bytes:
        most = f"{amount(limits.bytes)} that are read (the chart's modelFiles.gigabytes)"
        message = f"the files of {place.name} {place.version} have {amount(total)}, more than the {most}"
        raise LineageError(Reason.MODEL_FILES_REFUSED, message)
    return sizes


async def read(
    registry: ModelRegistry,
    place: Place,
    sizes: Mapping[str, int],
    limits: ReadingLimits,
    *,
    progress: Progress,
    known: Known,
) -> ModelFiles:
    """Read the files that were listed.

    Args:
        registry: where.
        place: whose files.
        sizes: what `listing` gave.
        limits: bounds.
        progress: updated with how far it is.
        known: files that need not be read again; those that are read are added.

    Raises:
        LineageError: they could not be read, changed meanwhile, took too long, or can't be compared.
    """
    progress.total = sum(sizes.values())
    slots = asyncio.Semaphore(_FILES_AT_ONCE)

    async def one(path: str, size: int) -> tuple[str, ModelFile]:
        async with slots:
            found = known.digest(path, size)
            if found is None:
                found = ModelFile(*await registry.digest(place, path, _Bound(place, path, size, progress).took))
                known.files[path] = found
            else:
                progress.took(size)
        if found.size != size:
            raise _size_changed(place, path)
        return path, found

    tasks = [asyncio.create_task(one(path, size)) for path, size in sizes.items()]
    try:
        async with asyncio.timeout(limits.seconds):
            return _to_model_files(place, dict(await asyncio.gather(*tasks)))
    except TimeoutError as error:
        message = (
            f"the files of {place.name} {place.version} ({amount(progress.total)}) could not be read within "
            f"{limits.seconds:.0f} s (the chart's modelFiles.seconds)"
        )
        raise LineageError(Reason.REGISTRY_UNREACHABLE, message, retry=True) from error
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass
class _Bound:
    """Counts the bytes of one file, and ends its reading where there are more than were listed."""

    place: Place
    path: str
    left: int
    progress: Progress

    def took(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise _size_changed(self.place, self.path)
        self.progress.took(count)


def _size_changed(place: Place, path: str) -> LineageError:
    message = f"the files of {place.name} {place.version} change while they are read: {path} has another size"
    return LineageError(Reason.REGISTRY_UNREACHABLE, message, retry=True)


def _to_model_files(place: Place, found: Mapping[str, ModelFile]) -> ModelFiles:
    named = f"the files of {place.name} {place.version} can't be compared"
    try:
        files = ModelFiles.of(found)
    except InvalidModelFilesError as error:
        raise LineageError(Reason.MODEL_FILES_REFUSED, f"{named}: {error}") from error
    if len(files.pack()) > MAX_PACKED:
        raise LineageError(Reason.MODEL_FILES_REFUSED, f"{named}: the list of them is longer than what a LineagePin holds")
    return files


def amount(count: int) -> str:
    """Write a number of bytes for people: `20.1 GB`, `712 bytes`."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"
