"""RPM's database made by hand: headers as blobs, and the SQLite file that holds them."""

import sqlite3
import struct
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing

Entry = tuple[int, int, bytes] | tuple[int, int, bytes, int]
"""Tag, type (6: text, 4: number, 8: list of texts) and data, and for lists how many there are."""

SCHEMA = "CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)"
BASH = ("bash", "5.1.8", "9.el9")


def text(tag: int, value: str) -> Entry:
    return tag, 6, value.encode() + b"\0"


def entries(name: str, version: str, release: str, *, epoch: int | None = None, architecture: str = "x86_64") -> list[Entry]:
    """Return what identifies a package."""
    found = [text(1000, name), text(1001, version), text(1002, release)]
    if epoch is not None:
        # Numbers stand at multiples of four.
        found.append((1003, 4, struct.pack(">I", epoch)))
    return [*found, text(1022, architecture)] if architecture else found


def header(parts: Sequence[Entry], *, dribbles: Sequence[Entry] = (), trailer: bytes | None = None) -> bytes:
    """Return a header: the parts as its immutable region, the dribbles after it, as RPM adds them when it installs."""
    index, data = b"", b""
    for number, (tag, kind, value, *count) in enumerate([*parts, *dribbles]):
        if number == len(parts):
            data, at_trailer = data + _trailer(len(parts), trailer), len(data)
        if kind == 4:
            data = data.ljust(-(-len(data) // 4) * 4, b"\0")
        index += struct.pack(">IIiI", tag, kind, len(data), *(count or (1,)))
        data += value
    if not dribbles:
        data, at_trailer = data + _trailer(len(parts), trailer), len(data)
    index = struct.pack(">IIiI", 63, 7, at_trailer, 16) + index
    return struct.pack(">II", len(index) // 16, len(data)) + index + data


def _trailer(parts: int, other: bytes | None) -> bytes:
    return other if other is not None else struct.pack(">IIiI", 63, 7, -16 * (parts + 1), 16)


def package(
    name: str,
    version: str,
    release: str,
    *,
    epoch: int | None = None,
    architecture: str = "x86_64",
    files: Mapping[str, str] | None = None,
) -> bytes:
    """Return a package's header; `files` are digests (sha256) by absolute path."""
    parts = entries(name, version, release, epoch=epoch, architecture=architecture)
    return header([*parts, *(listed(files) if files else ())], dribbles=[text(1, "x")])


def listed(files: Mapping[str, str]) -> list[Entry]:
    """Return the lists of a package's files: names, which directory each is in, directories, digests, their algorithm."""
    folders = sorted({path.rpartition("/")[0] + "/" for path in files})
    places = [folders.index(path.rpartition("/")[0] + "/") for path in files]
    return [
        (1035, 8, _texts(files.values()), len(files)),
        (1116, 4, struct.pack(f">{len(files)}I", *places), len(files)),
        (1117, 8, _texts(path.rpartition("/")[2] for path in files), len(files)),
        (1118, 8, _texts(folders), len(folders)),
        (5011, 4, struct.pack(">I", 8)),
    ]


def _texts(values: Iterable[str]) -> bytes:
    return b"".join(value.encode() + b"\0" for value in values)


def database(*blobs: bytes | str, schema: str = SCHEMA, logged: bool = True) -> bytes:
    """Return the file that holds the headers; RPM writes it with a write-ahead log."""
    with closing(sqlite3.connect(":memory:")) as made:
        made.executescript(schema)
        made.executemany("INSERT INTO Packages (blob) VALUES (?)", [(blob,) for blob in blobs])
        made.commit()
        return with_log(made.serialize()) if logged else made.serialize()


def with_log(body: bytes) -> bytes:
    """Mark a file as one that has a write-ahead log (database file format, 1.3)."""
    return body[:18] + b"\2\2" + body[20:]
