"""Follows the structure of a zstd stream beside its decompressor, which does not say whether a stream ends where it should."""

import zstandard

_SKIPPABLE = b"\x2a\x4d\x18"
_MAX_HEADER = 18
"""Bytes of the longest frame header (RFC 8878, 3.1.1.1), its magic number included."""
_RLE, _RESERVED = 1, 3


class Frames:
    """Takes the compressed bytes and determines whether they are whole frames (RFC 8878, 3.1)."""

    def __init__(self) -> None:
        self._held = b""
        """Bytes of a header that is not there as a whole yet."""
        self._skip = 0
        """Bytes to pass over."""
        self._blocks = False
        """True within a frame, before its last block."""
        self._checksum = False

    def take(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            zstandard.ZstdError: they are no frame.
        """
        at = min(self._skip, len(chunk))
        self._skip -= at
        self._held += chunk[at:] if not self._skip else b""
        while not self._skip and (size := self._header()):
            passed = min(size, len(self._held))
            self._held, self._skip = self._held[passed:], size - passed

    @property
    def complete(self) -> bool:
        """Whether the stream may end here."""
        return not (self._skip or self._held or self._blocks)

    def _header(self) -> int:
        """Read the header at hand; return its bytes and those that belong to it, 0 while it is not there as a whole."""
        if self._blocks:
            return self._block()
        if self._held[1:4] == _SKIPPABLE and self._held[0] & 0xF0 == 0x50:
            return 8 + int.from_bytes(self._held[4:8], "little") if len(self._held) >= 8 else 0
        try:
            size = zstandard.frame_header_size(self._held)
            self._checksum = zstandard.get_frame_parameters(self._held).has_checksum
        except zstandard.ZstdError:
            if len(self._held) >= _MAX_HEADER:
                raise
            return 0
        if size > len(self._held):
            return 0
        self._blocks = True
        return size

    def _block(self) -> int:
        if len(self._held) < 3:
            return 0
        header = int.from_bytes(self._held[:3], "little")
        last, kind, size = header & 1, header >> 1 & 3, header >> 3
        if kind == _RESERVED:
            raise zstandard.ZstdError("a block has a reserved type")
        self._blocks = not last
        return 3 + (1 if kind == _RLE else size) + (4 if last and self._checksum else 0)
