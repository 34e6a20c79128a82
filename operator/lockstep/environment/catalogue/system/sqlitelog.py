"""SQLite's write-ahead log (SQLite, "Database File Format", 4): what it holds belongs to the database.

RPM leaves it empty when it ends well. A tool that was stopped leaves its last transactions there, and RPM sees them.
"""

import struct
from collections.abc import Iterator

_HEADER = struct.Struct(">8I")
"""Magic number, version, bytes of a page, number of the checkpoint, two salts, two checksums."""
_FRAME = struct.Struct(">6I")
"""Page number, pages of the database if a transaction ends here or else 0, two salts, two checksums."""
_ORDERS = {0x377F0682: "<", 0x377F0683: ">"}
"""Byte order of what the checksums run over, by magic number."""
_VERSION = 3007000
Checksum = tuple[int, int]


class LogError(ValueError):
    """The log can't be applied; the message says why."""


def with_log(body: bytes, log: bytes) -> bytes:
    """Return the database as it is with every transaction that the log holds in full.

    Frames after the first that is not valid are left over from before the last checkpoint, and don't count.

    Raises:
        LogError: the log is malformed, or not that of this database.
    """
    if len(log) < _HEADER.size:
        raise LogError("the write-ahead log is cut off")
    magic, version, page, _, *salts_and_sums = _HEADER.unpack_from(log)
    order = _ORDERS.get(magic)
    if order is None or version != _VERSION or checksum(log[:24], order, (0, 0)) != tuple(salts_and_sums[2:]):
        raise LogError("the write-ahead log has a malformed header")
    stated = int.from_bytes(body[16:18], "big")
    # 65536 has no room in two bytes, and is written as 1 there.
    if page != (65536 if stated == 1 else stated) or page < 512:
        raise LogError("the write-ahead log is of another database")
    pages: dict[int, int] = {}
    committed: dict[int, int] = {}
    size = 0
    for number, at, commit in _frames(log, page, order):
        pages[number] = at
        if commit:
            committed.update(pages)
            pages.clear()
            size = commit
    if not size:
        return body
    if size * page > len(body) + len(log):
        raise LogError("the write-ahead log makes a database of more bytes than there are")
    made = bytearray(body[: size * page].ljust(size * page, b"\0"))
    for number, at in committed.items():
        if number <= size:
            made[(number - 1) * page : number * page] = log[at : at + page]
    return bytes(made)


def _frames(log: bytes, page: int, order: str) -> Iterator[tuple[int, int, int]]:
    """Yield the valid frames: page number, where the page stands in the log, size of the database after a transaction."""
    *_, salt, other_salt, first, second = _HEADER.unpack_from(log)
    sums = (first, second)
    for at in range(_HEADER.size, len(log) - page - _FRAME.size + 1, page + _FRAME.size):
        number, commit, *rest = _FRAME.unpack_from(log, at)
        if not number or rest[:2] != [salt, other_salt]:
            return
        start = at + _FRAME.size
        sums = checksum(log[start : start + page], order, checksum(log[at : at + 8], order, sums))
        if sums != tuple(rest[2:]):
            return
        yield number, start, commit


def checksum(data: bytes, order: str, sums: Checksum) -> Checksum:
    """Go on with a checksum over data of a multiple of eight bytes ("Checksum Algorithm")."""
    first, second = sums
    for one, two in struct.iter_unpack(f"{order}II", data):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + two + first) & 0xFFFFFFFF
    return first, second
