"""Layers as streams of tar bytes: decompressed with bounded output, hashed on both sides of the decompressor."""

import hashlib
import zlib
from typing import IO, Protocol, cast

import zstandard
from isal import igzip, isal_zlib

from lockstep.api.reasons import Reason
from lockstep.images.image import ImageError
from lockstep.images.layers.zstdframes import Frames
from lockstep.images.limits import Limits

# No zlib.error, and its stubs take it for an instance.
_ISAL_ERROR = cast(type[Exception], isal_zlib.error)
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_READ = 256 * 1024


class Readable(Protocol):
    """Something to read bytes from, at most `size` at a time; empty at the end."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes."""
        ...


class HashedReader:
    """Passes bytes through, counting and hashing them, and refuses to go past a limit.

    It reads ahead: who asks for many small pieces has them cut from large ones, which are hashed at once.
    """

    def __init__(self, inner: Readable, limit: int, what: str) -> None:
        self._inner = inner
        self._limit = limit
        self._what = what
        self._hash = hashlib.sha256()
        self._ahead, self._at = b"", 0
        self.size = 0
        """Bytes that were taken from the inner reader."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes.

        Raises:
            ImageError: LimitExceeded.
        """
        if self._at == len(self._ahead):
            self._next()
        end = len(self._ahead) if size < 0 else self._at + size
        taken = self._ahead[self._at : end]
        self._at += len(taken)
        return taken

    def _next(self) -> None:
        self._ahead, self._at = self._inner.read(_READ), 0
        self._hash.update(self._ahead)
        self.size += len(self._ahead)
        if self.size > self._limit:
            raise ImageError(Reason.LIMIT_EXCEEDED, f"{self._what} has more than {self._limit} bytes")

    @property
    def digest(self) -> str:
        """Digest of what has passed."""
        return "sha256:" + self._hash.hexdigest()


class ExpandedReader(HashedReader):
    """Passes a layer's decompressed bytes through, and refuses early what becomes far more than any real layer does."""

    def __init__(self, inner: Readable, compressed: HashedReader, limits: Limits) -> None:
        super().__init__(inner, limits.uncompressed, "a layer")
        self._compressed = compressed
        self._limits = limits

    def _next(self) -> None:
        super()._next()
        if self.size > self._limits.ratio_from and self.size > self._limits.ratio * self._compressed.size:
            times, limits = self.size // max(1, self._compressed.size), self._limits
            message = (
                f"a layer became {times} times as large as what was read of it, beyond {limits.ratio_from} bytes; the limit is "
                f"{limits.ratio} times, and layers of packages stay below 40. Leave files of zeros out of the image, or have "
                "scan.limits.ratio or scan.limits.ratioFrom raised in the values of Lockstep's chart"
            )
            raise ImageError(Reason.LIMIT_EXCEEDED, message)


class _Prefixed:
    """A reader that gives back first the bytes that were taken from it to recognise its kind."""

    def __init__(self, prefix: bytes, inner: Readable) -> None:
        self._prefix = prefix
        self._inner = inner

    def read(self, size: int = -1, /) -> bytes:
        if self._prefix:
            taken = self._prefix if size < 0 else self._prefix[:size]
            self._prefix = self._prefix[len(taken) :]
            return taken
        return self._inner.read(size)


def open_tar_stream(blob: Readable, media_type: str, limits: Limits) -> Readable:
    """Return the tar stream of a layer; media type and first bytes have to say the same.

    Raises:
        ImageError: ManifestInvalid for a media type that is none of a layer's, LayerCorrupt where the bytes disagree.
    """
    magic = b""
    while len(magic) < 4 and (more := blob.read(4 - len(magic))):
        magic += more
    whole = _Prefixed(magic, blob)
    kind = media_type
    if kind.endswith(("+gzip", ".tar.gzip")):
        if not magic.startswith(_GZIP):
            raise ImageError(Reason.LAYER_CORRUPT, f"a layer of type {media_type} is not compressed with gzip")
        return _Guarded(igzip.IGzipFile(fileobj=_Binary(whole), mode="rb"))  # type: ignore[no-untyped-call]
    if kind.endswith("+zstd"):
        if not magic.startswith(_ZSTD) and not _is_skippable(magic):
            raise ImageError(Reason.LAYER_CORRUPT, f"a layer of type {media_type} is not compressed with zstd")
        return _Guarded(_Zstd(whole, limits))
    if kind.endswith(".tar"):
        if magic.startswith((_GZIP, _ZSTD)):
            raise ImageError(Reason.LAYER_CORRUPT, f"a layer of type {media_type} is compressed")
        return whole
    raise ImageError(Reason.MANIFEST_INVALID, f"{media_type[:100]!r} is no layer that can be read")


def _is_skippable(magic: bytes) -> bool:
    """Return whether a skippable frame begins so (RFC 8878, 3.1.2); zstd:chunked layers may begin with one."""
    return len(magic) == 4 and magic[1:] == b"\x2a\x4d\x18" and 0x50 <= magic[0] <= 0x5F


class _Binary:
    """What decompressors ask of a file: read, and a plain no to everything else."""

    def __init__(self, inner: Readable) -> None:
        self._inner = inner

    def read(self, size: int = -1, /) -> bytes:
        return self._inner.read(_READ if size < 0 else size)

    def readinto(self, buffer: memoryview) -> int:
        chunk = self._inner.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def seekable(self) -> bool:
        return False


class _Zstd:
    """Frame after frame of zstd. What is asked for bounds what is made: a few bytes can stand for gigabytes."""

    def __init__(self, inner: Readable, limits: Limits) -> None:
        decompressor = zstandard.ZstdDecompressor(max_window_size=limits.zstd_window)
        self._stream = decompressor.stream_reader(
            cast(IO[bytes], _Counted(inner, Frames())), read_size=_READ, read_across_frames=True
        )

    def read(self, size: int = -1, /) -> bytes:
        """Return decompressed bytes."""
        return self._stream.read(_READ if size < 0 else size)


class _Counted:
    """The compressed bytes on their way to the decompressor; their end has to be the end of a frame."""

    def __init__(self, inner: Readable, frames: Frames) -> None:
        self._inner = inner
        self._frames = frames

    def read(self, size: int = -1, /) -> bytes:
        chunk = self._inner.read(_READ if size < 0 else size)
        self._frames.take(chunk)
        if not chunk and not self._frames.complete:
            raise EOFError("it ends in the middle of a frame")
        return chunk


class _Guarded:
    """Turns the decompressors' errors into the reason that people see."""

    def __init__(self, inner: Readable) -> None:
        self._inner = inner

    def read(self, size: int = -1, /) -> bytes:
        try:
            return self._inner.read(size)
        except (OSError, EOFError, zlib.error, _ISAL_ERROR, zstandard.ZstdError) as error:
            raise ImageError(Reason.LAYER_CORRUPT, f"a layer can't be decompressed: {error}") from error
