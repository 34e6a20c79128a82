"""What is kept of a shared object while it streams past: a small one whole, of a large one what shows its needs."""

import io
import struct

from lockstep.environment.binaries.sharedobject import MAX_SEGMENTS, SharedObject, Undetermined, shared_object_of
from lockstep.images.layers.sparse import SparseFile
from lockstep.images.limits import MIB

WHOLE = 8 * MIB
"""Bytes up to which a file is held whole."""
REACH = 8 * 1024
"""Bytes that are held on both sides of what may be a part of the dynamic linking."""
BUDGET = 8 * MIB
"""Bytes that are held of a larger file; what comes later is a hole."""
_BLOCK = MIB
_DT_SYMENT = 11


class Needs:
    """Takes a file's content piece by piece and determines what it needs as a shared object.

    Where a large file's dynamic segment and string table stand is not known while they pass: patchelf puts the program
    headers behind them, and the strings of TensorFlow's library have 78 MiB. So what is held are the surroundings of
    everything that may be a library's name, a search path or a dynamic segment, and then the file is read by its
    headers. What was not held is a hole, and what falls into one can't be determined: a wrong guess never gives a wrong answer.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._body = io.BytesIO()
        self._window = bytearray()
        self._start = 0
        """Where in the file the window begins."""
        self._searched = 0
        """Up to where the file was searched: `REACH` bytes after the window's beginning."""
        self._pieces: dict[int, bytes] = {}
        self._held = 0
        self._end = 0
        """Where the last piece ends."""
        self._places: list[int] = []
        """What is held because the file's header names it."""
        self._marks: tuple[bytes, ...] | None = None
        """What is searched; None before the header was seen, nothing in a file that is no ELF file."""

    def take(self, chunk: bytes) -> None:
        """Take the next piece."""
        if self._size <= WHOLE:
            self._body.write(chunk)
        elif self._marks != ():
            self._window += chunk
            if len(self._window) >= _BLOCK:
                self._search(self._start + len(self._window) - REACH)

    def shared_object(self) -> SharedObject | Undetermined:
        """Return what the file needs; to be asked once, after its last piece."""
        if self._size <= WHOLE:
            return shared_object_of(self._body)
        if self._marks != ():
            self._search(self._start + len(self._window))
        self._window.clear()
        return shared_object_of(SparseFile(self._size, self._pieces).file) if self._marks else Undetermined.NO_OBJECT

    def _search(self, until: int) -> None:
        """Search the file up to `until` and hold the surroundings of what is found."""
        if self._marks is None:
            self._marks = self._begin(bytes(self._window[:64]))
        places = [place for place in self._places if self._searched <= place < until]
        for mark in self._marks:
            at = self._find(mark, self._searched, until)
            while at >= 0 and self._held <= BUDGET:
                places.append(at)
                # What lies close by is held with it.
                at = self._find(mark, at + REACH // 2, until)
        for place in sorted(places):
            self._hold(max(place - REACH, self._end, self._start), place + REACH)
        self._searched = until
        del self._window[: max(until - REACH - self._start, 0)]
        self._start = max(until - REACH, self._start)

    def _find(self, mark: bytes, start: int, until: int) -> int:
        at = self._window.find(mark, start - self._start, until - self._start + len(mark) - 1)
        return at + self._start if at >= 0 else -1

    def _begin(self, header: bytes) -> tuple[bytes, ...]:
        """Read the ELF header (gABI, "ELF Header") and return what is to be searched."""
        if header[:4] != b"\x7fELF" or header[4] not in (1, 2) or header[5] not in (1, 2):
            return ()
        order, wide = "<" if header[5] == 1 else ">", header[4] == 2
        (table,) = struct.unpack_from(f"{order}Q" if wide else f"{order}I", header, 32 if wide else 28)
        self._places = [0, *range(table, table + MAX_SEGMENTS * 56, REACH)]
        # Each dynamic segment states the size of a symbol (DT_SYMENT): one entry that is the same in all files of a class.
        entry = struct.pack(f"{order}QQ" if wide else f"{order}II", _DT_SYMENT, 24 if wide else 16)
        return entry, b".so", b"$ORIGIN"

    def _hold(self, start: int, end: int) -> None:
        piece = bytes(self._window[start - self._start : end - self._start]) if start < end else b""
        if piece and self._held <= BUDGET:
            self._pieces[start] = piece
            self._held += len(piece)
            self._end = start + len(piece)
