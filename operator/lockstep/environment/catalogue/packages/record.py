"""RECORD files: which files a distribution brought, and the digest that is the same whichever installer put them there."""

import base64
import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lockstep.environment.tree import FileTree
from lockstep.formats.canonical import sha256_of

# Written by installers, each in its own way (PEP 376, PEP 610, PEP 627); WHEEL names its generator.
_INSTALLERS_OWN = {"INSTALLER", "REQUESTED", "RECORD", "WHEEL", "direct_url.json", "uv_cache.json", "uv_build.json"}
MISSING = "missing"
"""Stands in the place of a file's hash when there is no file."""


@dataclass(frozen=True, slots=True)
class Row:
    """One file of a distribution ("Recording installed projects", PyPA)."""

    path: str
    """Relative to the directory that holds the `.dist-info`."""
    hash: str
    """As the row states it (`sha256=…`, urlsafe base64 without padding); empty where it states none."""

    @property
    def belongs_to_the_wheel(self) -> bool:
        """Whether the wheel itself brought the file, so that every installer puts the same one there."""
        if not self.hash or self.path.startswith(("..", "/", "bin/")) or self.path.endswith(".pyc"):
            return False
        folder, _, name = self.path.rpartition("/")
        return not (folder.endswith(".dist-info") and name in _INSTALLERS_OWN)


def rows(record: str) -> tuple[Row, ...]:
    """Read the text of a RECORD file (CSV of path, hash, size).

    Raises:
        csv.Error: it is none.
    """
    read = csv.reader(io.StringIO(record, newline=""))
    return tuple(Row(row[0], row[1] if len(row) >= 2 else "") for row in read if row and row[0])


def content_digest(rows: Sequence[Row]) -> str | None:
    """Return the digest over the sorted rows `path,hash` that the wheel itself brought; None when it has none."""
    return _digest(row for row in rows if row.belongs_to_the_wheel)


def files_digest(rows: Sequence[Row]) -> str | None:
    """Return the digest of the wheel's files without its metadata; None when it has none.

    The metadata of one version differs with the tool that built it from its source, and nothing imports it.
    """
    return _digest(row for row in rows if row.belongs_to_the_wheel and not row.path.partition("/")[0].endswith(".dist-info"))


def _digest(rows: Iterable[Row]) -> str | None:
    lines = sorted(f"{row.path},{row.hash}" for row in rows)
    return sha256_of("\n".join(lines).encode()) if lines else None


def actual_rows(tree: FileTree, site: str, rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return the rows with what is really there: where a file of the wheel is another one, its own hash takes the place.

    Rows whose hash is not sha256 stand as they are when there is a file: another digest of it is not known.

    Raises:
        UnreadableFileError: a file of the wheel was not hashed.
    """
    return tuple(
        Row(row.path, _actual_hash(tree, f"{site}/{row.path}", row.hash)) if row.belongs_to_the_wheel else row for row in rows
    )


def row_hash(digest: str) -> str:
    """Return a digest (`sha256:…`) as a RECORD writes it."""
    raw = bytes.fromhex(digest.removeprefix("sha256:"))
    return f"sha256={base64.urlsafe_b64encode(raw).decode().rstrip('=')}"


def _actual_hash(tree: FileTree, path: str, stated: str) -> str:
    digest = tree.sha256(path)
    if digest is None:
        return MISSING
    algorithm, _, value = stated.partition("=")
    if algorithm in _OTHER_ALGORITHMS:
        return stated
    actual = row_hash(digest)
    return stated if algorithm == "sha256" and f"sha256={value.rstrip('=')}" == actual else actual


# Those that the specification of RECORD allows beside sha256.
_OTHER_ALGORITHMS = {"sha384", "sha512"}
