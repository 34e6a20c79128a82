"""One package in RPM's database: a header (RPM manual, "Package format", "Header")."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MAX_ENTRIES = 10_000
"""Index entries of one header; packages have some hundred."""
_MAX_TEXT = 512
_INDEX = struct.Struct(">IIiI")
"""Tag, type, offset into the data, count."""
_NAME, _VERSION, _RELEASE, _EPOCH, _ARCH = 1000, 1001, 1002, 1003, 1022
_FILE_DIGESTS, _DIR_INDEXES, _BASE_NAMES, _DIR_NAMES, _DIGEST_ALGORITHM = 1035, 1116, 1117, 1118, 5011
_STRING, _INT32, _BIN, _STRING_ARRAY = 6, 4, 7, 8
_ALGORITHMS = {1: "md5", 2: "sha1", 8: "sha256"}
"""Those of OpenPGP (RFC 9580, 9.5) that FileLists knows; without the tag it is md5."""
MAX_FILES = 200_000
"""Files of one package."""
_REGIONS = {61, 63}
"""RPMTAG_HEADERIMAGE and RPMTAG_HEADERIMMUTABLE."""


class RpmHeaderError(ValueError):
    """The bytes are no header; the message says why."""


@dataclass(frozen=True)
class RpmPackage:
    """What identifies a package."""

    name: str
    architecture: str
    version: str
    """`[epoch:]version-release`; an epoch of 0 is left out, which means the same (RPM manual, "Dependencies")."""


def rpm_package(blob: bytes) -> RpmPackage:
    """Read a header as RPM's database holds it: numbers of entries and bytes, the index, the data.

    Raises:
        RpmHeaderError: the header is malformed, or states what identifies the package twice or not at all.
    """
    data, index = _read(blob)
    entries: dict[int, tuple[int, int, int]] = {}
    for tag, kind, offset, count in index:
        if tag not in (_NAME, _VERSION, _RELEASE, _EPOCH, _ARCH):
            continue
        # Which of two counts depends on where the region ends, so that readers could differ.
        if tag in entries:
            raise RpmHeaderError(f"a package's header states tag {tag} twice")
        entries[tag] = (kind, offset, count)
    version = f"{_text(data, entries, _VERSION)}-{_text(data, entries, _RELEASE)}"
    epoch = _number(data, entries[_EPOCH]) if _EPOCH in entries else 0
    return RpmPackage(
        name=_text(data, entries, _NAME),
        architecture=_text(data, entries, _ARCH) if _ARCH in entries else "",
        version=f"{epoch}:{version}" if epoch else version,
    )


def rpm_files_of(blob: bytes) -> Iterator[tuple[str, str, str]]:
    """Yield of each regular file of a package its path, and the algorithm and hexadecimal digits of its digest.

    Raises:
        RpmHeaderError: the header is malformed, or its lists of files do not fit together.
    """
    data, index = _read(blob)
    entries = {tag: (kind, offset, count) for tag, kind, offset, count in reversed(index)}
    if _BASE_NAMES not in entries or _FILE_DIGESTS not in entries:
        return
    names, folders = _texts(data, entries[_BASE_NAMES]), _texts(data, entries.get(_DIR_NAMES, (0, 0, 0)))
    digests, places = _texts(data, entries[_FILE_DIGESTS]), _numbers(data, entries.get(_DIR_INDEXES, (0, 0, 0)))
    number = _number(data, entries[_DIGEST_ALGORITHM]) if _DIGEST_ALGORITHM in entries else 1
    if not len(names) == len(digests) == len(places) or any(place >= len(folders) for place in places):
        raise RpmHeaderError("a package's lists of files do not fit together")
    if number in _ALGORITHMS:
        for name, place, digest in zip(names, places, digests, strict=True):
            if digest:
                yield f"{folders[place]}{name}", _ALGORITHMS[number], digest


def _texts(data: bytes, entry: tuple[int, int, int]) -> list[str]:
    kind, offset, count = entry
    if kind != _STRING_ARRAY or not 0 < count <= MAX_FILES or not 0 <= offset < len(data):
        raise RpmHeaderError("a list of texts of a package is malformed")
    parts = data[offset:].split(b"\0", count)
    if len(parts) <= count:
        raise RpmHeaderError("a list of texts of a package is cut off")
    return [part.decode("utf-8", "surrogateescape") for part in parts[:count]]


def _numbers(data: bytes, entry: tuple[int, int, int]) -> tuple[int, ...]:
    kind, offset, count = entry
    if kind != _INT32 or not 0 < count <= MAX_FILES or not 0 <= offset <= len(data) - 4 * count:
        raise RpmHeaderError("a list of numbers of a package is malformed")
    return struct.unpack_from(f">{count}I", data, offset)


def _read(blob: bytes) -> tuple[bytes, list[tuple[int, int, int, int]]]:
    """Split a header into its data and its index."""
    if len(blob) < 8:
        raise RpmHeaderError("a package's header is cut off")
    entries, size = struct.unpack_from(">II", blob)
    if not 0 < entries <= MAX_ENTRIES:
        raise RpmHeaderError(f"a package's header has {entries} entries, the limit is {MAX_ENTRIES}")
    at_data = 8 + entries * _INDEX.size
    if len(blob) != at_data + size:
        raise RpmHeaderError(f"a package's header has {len(blob)} bytes and states {at_data + size}")
    data = blob[at_data:]
    index = list(_INDEX.iter_unpack(blob[8:at_data]))
    if index[0][0] in _REGIONS:
        _check_region(index[0], entries, data)
    return data, index


def _check_region(first: tuple[int, ...], entries: int, data: bytes) -> None:
    """Check that the signed part ends with its trailer: an entry that points back over the region's part of the index."""
    tag, kind, offset, count = first
    if kind != _BIN or count != _INDEX.size or not 0 <= offset <= len(data) - _INDEX.size:
        raise RpmHeaderError("the region of a package's header is malformed")
    trailer = _INDEX.unpack_from(data, offset)
    length, rest = divmod(-trailer[2], _INDEX.size)
    if (trailer[0], trailer[1], trailer[3]) != (tag, _BIN, _INDEX.size) or rest or not 0 < length <= entries:
        raise RpmHeaderError("the region of a package's header has a malformed trailer")


def _text(data: bytes, entries: dict[int, tuple[int, int, int]], tag: int) -> str:
    kind, offset, count = entries.get(tag, (0, 0, 0))
    if kind != _STRING or count != 1 or not 0 <= offset < len(data):
        raise RpmHeaderError(f"tag {tag} of a package's header is missing or no text")
    end = data.find(b"\0", offset, offset + _MAX_TEXT + 1)
    try:
        text = data[offset:end].decode() if end >= 0 else ""
    except UnicodeDecodeError:
        text = ""
    if not text:
        raise RpmHeaderError(f"tag {tag} of a package's header is empty, too long or no UTF-8")
    return text


def _number(data: bytes, entry: tuple[int, int, int]) -> int:
    kind, offset, count = entry
    if kind != _INT32 or count != 1 or not 0 <= offset <= len(data) - 4:
        raise RpmHeaderError("the epoch of a package is no number")
    return int.from_bytes(data[offset : offset + 4], "big")
