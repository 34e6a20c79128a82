"""A file of which only some pieces are held."""

import io
from bisect import bisect_right
from collections.abc import Mapping
from typing import BinaryIO, cast


class SparseFile:
    """Reads the pieces as if the whole file were there. A read that begins in a hole raises `OSError`."""

    def __init__(self, size: int, pieces: Mapping[int, bytes]) -> None:
        self._size = size
        self._pieces = pieces
        self._starts = sorted(pieces)
        self._at = 0

    @property
    def file(self) -> BinaryIO:
        """Return itself for who asks for a file: of a file's methods it has those by which one reads."""
        return cast(BinaryIO, self)

    def tell(self) -> int:
        """Return the place of the next read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Set the place of the next read."""
        place = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence] + offset
        if place < 0:
            raise ValueError("a place before the start of the file")
        self._at = place
        return place

    def read(self, size: int = -1, /) -> bytes:
        """Return the bytes from here to the next hole, at most `size`; none at the end of the file."""
        end = self._size if size < 0 else min(self._at + size, self._size)
        content = b""
        while self._at < end:
            index = bisect_right(self._starts, self._at) - 1
            start = self._starts[index] if index >= 0 else self._size
            piece = self._pieces[start][self._at - start : end - start] if index >= 0 else b""
            if not piece:
                break
            content += piece
            self._at += len(piece)
        if not content and self._at < end:
            raise OSError(f"the bytes at {self._at} were not kept")
        return content
