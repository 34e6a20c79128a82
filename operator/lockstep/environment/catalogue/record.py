"""The canonical RECORD digest: the same wheel gives the same value whichever installer put it there."""

import csv
import io

from lockstep.canonical import sha256_of
from lockstep.environment.catalogue.sharedobject import OBJECT_NAME

# Written by installers, each in its own way (PEP 376, PEP 610, PEP 627); WHEEL names its generator.
_INSTALLERS_OWN = {"INSTALLER", "REQUESTED", "RECORD", "WHEEL", "direct_url.json", "uv_cache.json", "uv_build.json"}


def canonical_record_digest(record: str) -> str | None:
    """Return the digest over the sorted rows `path,hash` that the wheel itself brought; None when it has none.

    Args:
        record: text of a RECORD file (CSV of path, hash, size; "Recording installed projects", PyPA).
    """
    rows = sorted(
        f"{row[0]},{row[1]}"
        for row in csv.reader(io.StringIO(record, newline=""))
        if len(row) >= 2 and row[1] and _belongs_to_the_wheel(row[0])
    )
    return sha256_of("\n".join(rows).encode()) if rows else None


def recorded_objects(record: str) -> tuple[str, ...]:
    """Return the paths of the shared objects that a RECORD names, as it names them: relative to its site directory."""
    rows = csv.reader(io.StringIO(record, newline=""))
    return tuple(sorted({row[0] for row in rows if row and OBJECT_NAME.search(row[0])}))


def _belongs_to_the_wheel(path: str) -> bool:
    if path.startswith(("..", "/", "bin/")) or path.endswith(".pyc"):
        return False
    folder, _, name = path.rpartition("/")
    return not (folder.endswith(".dist-info") and name in _INSTALLERS_OWN)
