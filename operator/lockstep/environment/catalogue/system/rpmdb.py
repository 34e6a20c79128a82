"""The headers in RPM's SQLite database (`rpmdb.sqlite`), read in memory.

The file comes from an image that anybody may have made, so SQLite's advice on untrusted databases is followed
(sqlite.org/security.html): nothing that its schema defines is run, and every amount is bounded.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

from lockstep.environment.catalogue.system.database import MAX_PACKAGES, unverifiable_error

_MAGIC = b"SQLite format 3\0"
_MAX_SCHEMA_TEXT = 64 * 1024
_MAX_HEADER = 16 * 1024 * 1024
_STEPS, _MAX_STEPS = 1000, 10 * MAX_PACKAGES
"""SQLite asks every so many steps of its machine whether to go on; a row takes less than ten."""
_ALLOWED = {
    (sqlite3.SQLITE_SELECT, None, None),
    *((sqlite3.SQLITE_READ, "sqlite_master", column) for column in ("type", "name", "rootpage")),
    (sqlite3.SQLITE_READ, "Packages", "blob"),
}


def rpm_headers(body: bytes, path: str) -> Iterator[bytes]:
    """Yield the header of each package.

    Raises:
        CatalogueError: the file is no database, has no plain table `Packages`, or goes beyond a limit.
    """
    try:
        with closing(sqlite3.connect(":memory:")) as database:
            _open(database, body, path)
            yield from _headers(database, len(body), path)
    except (sqlite3.Error, OverflowError, UnicodeDecodeError) as error:
        # SQLite's messages quote the schema, which may be no UTF-8.
        raise unverifiable_error(path, f"the database can't be read: {str(error)[:200]!a}") from error


def _open(database: sqlite3.Connection, body: bytes, path: str) -> None:
    if not body.startswith(_MAGIC):
        raise unverifiable_error(path, "it is no SQLite database")
    if not hasattr(database, "deserialize"):
        raise unverifiable_error(path, "this Python's SQLite can't read a database from memory; 3.36 or newer can")
    database.text_factory = bytes
    database.execute("PRAGMA trusted_schema = OFF")
    database.execute("PRAGMA cell_size_check = ON")
    # A database in memory has no write-ahead log; whoever calls has applied the file's own (database file format, 1.3:
    # the versions at 18 and 19 are 1 without and 2 with a log).
    database.deserialize(body[:18] + b"\1\1" + body[20:] if body[18:20] == b"\2\2" else body)
    for limit, value in (
        (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
        (sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 0),
        (sqlite3.SQLITE_LIMIT_SQL_LENGTH, _MAX_SCHEMA_TEXT),
        (sqlite3.SQLITE_LIMIT_COLUMN, 100),
        (sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 50),
        (sqlite3.SQLITE_LIMIT_LENGTH, _MAX_SCHEMA_TEXT),
    ):
        database.setlimit(limit, value)
    database.set_authorizer(_authorize)
    budget = iter(range(_MAX_STEPS // _STEPS))
    database.set_progress_handler(lambda: next(budget, None) is None, _STEPS)


def _authorize(action: int, first: str | None, second: str | None, database: str | None, inside: str | None) -> int:
    """Allow to read those columns; functions, and whatever a view or trigger does inside, are denied."""
    allowed = (action, first, second) in _ALLOWED and database in ("main", None) and inside is None
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _headers(database: sqlite3.Connection, size: int, path: str) -> Iterator[bytes]:
    query = "SELECT type, name, rootpage FROM main.sqlite_master WHERE name = 'Packages' COLLATE NOCASE"
    tables = database.execute(query).fetchmany(2)
    # What is no table but a view has no page of its own, nor has a virtual table.
    if len(tables) != 1 or tables[0][:2] != (b"table", b"Packages") or not tables[0][2]:
        raise unverifiable_error(path, "it has no table Packages, or one that is no plain table")
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_HEADER)
    total = 0
    # An index may hold other values than the table.
    for number, (blob,) in enumerate(database.execute("SELECT blob FROM main.Packages NOT INDEXED")):
        if not isinstance(blob, bytes) or number == MAX_PACKAGES:
            raise unverifiable_error(path, f"an entry of Packages is no header, or there are more than {MAX_PACKAGES}")
        # Rows of a malformed database can share their pages, and be far more than the file has bytes.
        total += len(blob)
        if total > size:
            raise unverifiable_error(path, "its entries have more bytes than the file")
        yield blob
