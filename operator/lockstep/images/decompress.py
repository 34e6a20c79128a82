"""Layers as streams of tar bytes: decompressed with bounded output, hashed on both sides of the decompressor."""

import hashlib
import zlib
from typing import Protocol, cast

import zstandard
from isal import igzip, isal_zlib

from lockstep.api.reasons import Reason
from lockstep.images.image import ImageError
from lockstep.images.limits import Limits

# No zlib.error, and its stubs take it for an instance.
_ISAL_ERROR = cast(type[Exception], isal_zlib.error)
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_READ = 256 * 1024
_ZSTD_PIECE = 2048
"""zstd can make 32 768 times as much of its input: with this much at a time, memory stays below 64 MiB."""


class Readable(Protocol):
    """Something to read bytes from, at most `size` at a time; empty at the end."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes."""
        ...


class HashedReader:
    """Passes bytes through, counting and hashing them, and refuses to go past a limit."""

    def __init__(self, inner: Readable, limit: int, what: str) -> None:
        self._inner = inner
        self._limit = limit
        self._what = what
        self._hash = hashlib.sha256()
        self.size = 0

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes.

        Raises:
            ImageError: LimitExceeded.
        """
        chunk = self._inner.read(size)
        self._hash.update(chunk)
        self.size += len(chunk)
        if self.size > self._limit:
            raise ImageError(Reason.LIMIT_EXCEEDED, f"{self._what} has more than {self._limit} bytes")
        return chunk

    @property
    def digest(self) -> str:
        """Digest of what has passed."""
        return "sha256:" + self._hash.hexdigest()


class _Prefixed:
    """A reader with the bytes that were taken from it to tell its kind put back."""

    def __init__(self, prefix: bytes, inner: Readable) -> None:
        self._prefix = prefix
        self._inner = inner

    def read(self, size: int = -1, /) -> bytes:
        if self._prefix:
            taken = self._prefix if size < 0 else self._prefix[:size]
            self._prefix = self._prefix[len(taken) :]
            return taken
        return self._inner.read(size)


def decompressed(blob: Readable, media_type: str, limits: Limits) -> Readable:
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
        if not magic.startswith(_ZSTD) and not _skippable(magic):
            raise ImageError(Reason.LAYER_CORRUPT, f"a layer of type {media_type} is not compressed with zstd")
        return _Guarded(_Zstd(whole, limits))
    if kind.endswith(".tar"):
        if magic.startswith((_GZIP, _ZSTD)):
            raise ImageError(Reason.LAYER_CORRUPT, f"a layer of type {media_type} is compressed")
        return whole
    raise ImageError(Reason.MANIFEST_INVALID, f"{media_type[:100]!r} is no layer that can be read")


def _skippable(magic: bytes) -> bool:
    """Tell a skippable frame (RFC 8878, 3.1.2), with which zstd:chunked layers may begin."""
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
    """Frame after frame of zstd; unlike `stream_reader`, it knows an end in the middle of a frame from a proper one."""

    def __init__(self, inner: Readable, limits: Limits) -> None:
        self._inner = inner
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=limits.zstd_window)
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._input = memoryview(b"")
        self._output = b""
        self._at = 0

    def read(self, size: int = -1, /) -> bytes:
        wanted = _READ if size < 0 else size
        parts = bytearray()
        while len(parts) < wanted and (self._at < len(self._output) or self._more()):
            taken = self._output[self._at : self._at + wanted - len(parts)]
            self._at += len(taken)
            parts += taken
        return bytes(parts)

    def _more(self) -> bool:
        if not self._input and not (chunk := self._inner.read(_READ)):
            if self._frame is not None:
                raise EOFError("it ends in the middle of a frame")
            return False
        if not self._input:
            self._input = memoryview(chunk)
        if self._frame is None:
            self._frame = self._decompressor.decompressobj()
        piece = self._input[:_ZSTD_PIECE]
        self._output, self._at = self._frame.decompress(piece), 0
        self._input = self._input[len(piece) - len(self._frame.unused_data) :]
        if self._frame.eof:
            self._frame = None
        return True


class _Guarded:
    """Turns the decompressors' errors into the reason that people see."""

    def __init__(self, inner: Readable) -> None:
        self._inner = inner

    def read(self, size: int = -1, /) -> bytes:
        try:
            return self._inner.read(size)
        except (OSError, EOFError, zlib.error, _ISAL_ERROR, zstandard.ZstdError) as error:
            raise ImageError(Reason.LAYER_CORRUPT, f"a layer can't be decompressed: {error}") from error
