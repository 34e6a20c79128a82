"""What one layer changes in a root file system, and how that is written down to be kept or handed to another process."""

import base64
import io
import json
from dataclasses import astuple, dataclass, field
from typing import Any

import zstandard

from lockstep.environment.binaries.program import Program
from lockstep.environment.binaries.sharedobject import SharedObject, Undetermined
from lockstep.environment.tree import Entry, FileKind, FileStat

_LEVEL = 6
_LINES, _ROWS = json.JSONEncoder(separators=(",", ":")), json.JSONDecoder()
_BUFFER = 1024 * 1024
_MD5 = 16
"""Bytes of an md5 digest."""
_KINDS = {"d": FileKind.DIRECTORY, "l": FileKind.SYMLINK, "f": FileKind.FILE, "o": FileKind.OTHER}
_LETTERS = {kind: letter for letter, kind in _KINDS.items()}


@dataclass
class LayerRecord:
    """The changes of one layer, by normalised absolute path."""

    entries: dict[str, Entry] = field(default_factory=dict)
    hard_links: dict[str, str] = field(default_factory=dict)
    whiteouts: set[str] = field(default_factory=set)
    opaque: set[str] = field(default_factory=set)
    kept: int = 0
    """Bytes of the names and bodies that were kept."""
    seen: int = 0
    """Number of entries."""


class InvalidLayerRecordError(ValueError):
    """The text was not written by `dump`, or is larger than what may be read."""


def dump(record: LayerRecord) -> bytes:
    """Write a record down; equal records give equal bytes."""
    head = {
        "hardLinks": sorted(record.hard_links.items()),
        "whiteouts": sorted(record.whiteouts),
        "opaque": sorted(record.opaque),
        "kept": record.kept,
        "seen": record.seen,
    }
    rows = (_write_row(path, entry) for path, entry in record.entries.items())
    text = "\n".join(map(_LINES.encode, (head, *rows)))
    return zstandard.ZstdCompressor(level=_LEVEL).compress(text.encode())


def load(raw: bytes, limit: int, number: int = 0) -> LayerRecord:
    """Read a record back, line by line: the whole text would take several times the memory of what it says.

    Args:
        raw: what `dump` gave.
        limit: bytes that its text may have.
        number: which layer of the image it is, the lowest being 0.

    Raises:
        InvalidLayerRecordError: it can't be read.
    """
    try:
        if zstandard.frame_content_size(raw) > limit:
            raise InvalidLayerRecordError(f"the text has more than {limit} bytes")
        stream = io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(raw), _BUFFER)
        lines = io.TextIOWrapper(stream, encoding="ascii")
        head = json.loads(next(lines))
        return LayerRecord(
            entries={row[0]: _read_entry(row, number) for row in map(_ROWS.decode, lines)},
            hard_links=dict(head["hardLinks"]),
            whiteouts=set(head["whiteouts"]),
            opaque=set(head["opaque"]),
            kept=head["kept"],
            seen=head["seen"],
        )
    except (zstandard.ZstdError, ValueError, LookupError, TypeError, AttributeError, StopIteration) as error:
        raise InvalidLayerRecordError(str(error)) from error


def _write_row(path: str, entry: Entry) -> list[Any]:
    """Return path, kind and what else there is, as short as JSON lets it be: there are tens of thousands of them."""
    if entry.kind is FileKind.SYMLINK:
        return [path, "l", entry.target]
    if entry.kind is not FileKind.FILE:
        return [path, _LETTERS[entry.kind]]
    facts = _file_facts(entry)
    return [path, "f", entry.executable, facts] if facts else [path, "f", entry.executable]


def _file_facts(entry: Entry) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if entry.body is not None:
        facts["b"] = _write_bytes(entry.body)
    if entry.why_unread:
        facts["w"] = entry.why_unread
    if entry.sha256 is not None:
        # In the alphabet of RECORD files, so that the compressor finds the two to be the same.
        facts["s"] = base64.urlsafe_b64encode(bytes.fromhex(entry.sha256[7:])).decode()
    if entry.legacy is not None:
        facts["d"] = base64.b64encode(b"".join(entry.legacy)).decode()
    if entry.head is not None:
        facts["h"] = base64.b64encode(entry.head).decode()
    if entry.stat is not None:
        facts["t"] = [entry.stat.size, entry.stat.modified]
    if entry.program is not None:
        facts["p"] = [entry.program.python, entry.program.libc]
    if entry.object is not Undetermined.NOT_READ:
        facts["o"] = entry.object.name if isinstance(entry.object, Undetermined) else list(astuple(entry.object))
    return facts


def _read_entry(row: list[Any], number: int) -> Entry:
    kind = _KINDS[row[1]]
    if kind is FileKind.SYMLINK:
        return Entry(kind, target=row[2])
    if kind is not FileKind.FILE:
        return Entry(kind)
    facts = row[3] if len(row) > 3 else {}
    return Entry(
        kind,
        body=_read_bytes(facts["b"]) if "b" in facts else None,
        why_unread=facts.get("w", ""),
        sha256="sha256:" + base64.urlsafe_b64decode(facts["s"]).hex() if "s" in facts else None,
        legacy=_split_legacy(facts["d"]) if "d" in facts else None,
        head=base64.b64decode(facts["h"]) if "h" in facts else None,
        stat=FileStat(facts["t"][0], facts["t"][1], number, number) if "t" in facts else None,
        program=Program(*facts["p"]) if "p" in facts else None,
        object=_read_object(facts["o"]) if "o" in facts else Undetermined.NOT_READ,
        executable=row[2],
    )


def _split_legacy(text: str) -> tuple[bytes, bytes]:
    raw = base64.b64decode(text)
    return raw[:_MD5], raw[_MD5:]


def _read_object(facts: str | list[Any]) -> SharedObject | Undetermined:
    return Undetermined[facts] if isinstance(facts, str) else SharedObject(tuple(facts[0]), *facts[1:])


def _write_bytes(body: bytes) -> str | list[str]:
    """Write text as text, so that it compresses with the rest, and anything else in base64."""
    return body.decode("ascii") if body.isascii() else [base64.b64encode(body).decode()]


def _read_bytes(text: str | list[str]) -> bytes:
    return text.encode("ascii") if isinstance(text, str) else base64.b64decode(text[0])
