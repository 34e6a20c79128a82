"""Reads a tar stream header by header (POSIX.1-2001 pax, ustar, GNU long names), bodies only where they are wanted.

Stricter than the standard library's: what readers are known to read differently is refused, and no header can make it
take more memory than the limits allow.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from lockstep.api.reasons import Reason
from lockstep.images.image import ImageError
from lockstep.images.layers.decompress import Readable
from lockstep.images.limits import Limits

_BLOCK = 512
_SKIP = 1024 * 1024
_ZEROS = bytes(_BLOCK)
_MAX_NAME = 4096
"""Linux takes no longer path (PATH_MAX)."""
_OCTAL = re.compile(rb"[0-7]+")


class Sink(Protocol):
    """Takes the content of one file."""

    def take(self, chunk: bytes, /) -> None:
        """Take the next piece."""
        ...


AnySink = TypeVar("AnySink", bound=Sink)


@dataclass(frozen=True, slots=True)
class TarEntry(Generic[AnySink]):
    """One entry of a layer."""

    name: str
    type: str
    """The type flag: `0` file, `1` hard link, `2` symbolic link, `3` character device, `5` directory, ..."""
    size: int
    link: str = ""
    device: tuple[int, int] = (0, 0)
    pax: dict[str, str] = field(default_factory=dict)
    sink: AnySink | None = None
    """What took the file's content."""
    mode: int = 0o755
    """Permission bits."""
    modified: int = 0
    """Seconds since the epoch."""


def entries(stream: Readable, sink_for: Callable[[str, int], AnySink | None], limits: Limits) -> Iterator[TarEntry[AnySink]]:
    """Yield the entries of a tar stream and read it to its end.

    Args:
        stream: the uncompressed archive.
        sink_for: gives from name and size what takes a file's content; None for a file whose content is passed over.
        limits: bounds.

    Raises:
        ImageError: LayerCorrupt, LayerAmbiguous or LimitExceeded.
    """
    extended = _Extended()
    while (header := _read_header(stream)) is not None:
        type_ = chr(header[156]) if header[156] else "0"
        size = _parse_number(header[124:136])
        if type_ in "xgLK":
            if size > limits.header:
                raise ImageError(Reason.LIMIT_EXCEEDED, f"an extended header has {size} bytes, the limit is {limits.header}")
            extended.take(type_, _read_body(stream, size))
            continue
        if type_ not in "01234567":
            raise _ambiguous_error(_header_name(header), f"its type {type_!r} is read differently by different programs")
        pax = extended.pax or {}
        name = _check_name_length(pax.get("path") or extended.long_name or _header_name(header))
        if type_ in "07" and name.endswith("/"):
            raise _ambiguous_error(name, "it is a file by its type and a directory by its name")
        size = _entry_size(pax, size, type_, name)
        sink = sink_for(name, size) if type_ in "07" else None
        _pass_content(stream, size, sink)
        yield TarEntry(
            name=name,
            type="0" if type_ == "7" else type_,
            size=size,
            link=_check_name_length(
                pax.get("linkpath") or extended.long_link or _decode_text(header[157:257].split(b"\0", 1)[0])
            ),
            device=(_parse_number(header[329:337]), _parse_number(header[337:345])) if type_ in "34" else (0, 0),
            pax=pax,
            sink=sink,
            mode=_parse_number(header[100:108]) & 0o7777,
            modified=_modification_time(pax, header),
        )
        extended = _Extended()
    if extended.waits:
        raise ImageError(Reason.LAYER_CORRUPT, "a layer ends between an extended header and its entry")
    _check_only_zeros(stream)


class _Extended:
    """The extended headers that stand before one entry. What programs are known to combine differently is refused."""

    def __init__(self) -> None:
        self.pax: dict[str, str] | None = None
        self.long_name: str | None = None
        self.long_link: str | None = None
        self._global = False

    def take(self, type_: str, body: bytes) -> None:
        """Add one header.

        Raises:
            ImageError: LayerCorrupt or LayerAmbiguous.
        """
        if type_ == "x":
            self._refuse_second(self.pax)
            self.pax = _parse_pax(body)
        elif type_ == "g":
            # One before an entry is what git and others write; more would be a way to keep a reader busy.
            self._refuse_second(self._global or None)
            self._global = True
            _refuse_global(_parse_pax(body))
        elif type_ == "L":
            self._refuse_second(self.long_name)
            self.long_name = _read_long_name(body)
        else:
            self._refuse_second(self.long_link)
            self.long_link = _read_long_name(body)
        # Go takes GNU's name over pax's, others the reverse; a pax size meant for the entry is taken for GNU's header by some.
        if self.pax is not None and (self.long_name is not None or self.long_link is not None):
            raise ImageError(Reason.LAYER_AMBIGUOUS, "an entry has both pax and GNU extended headers")

    @property
    def waits(self) -> bool:
        """Whether an entry has to follow."""
        return self.pax is not None or self.long_name is not None or self.long_link is not None

    @staticmethod
    def _refuse_second(before: object) -> None:
        if before is not None:
            raise ImageError(Reason.LAYER_AMBIGUOUS, "an entry has two extended headers of one kind")


def _read_long_name(body: bytes) -> str:
    name = body.rstrip(b"\0")
    if b"\0" in name:
        raise ImageError(Reason.LAYER_AMBIGUOUS, "a long name goes on after its end")
    if not name:
        raise ImageError(Reason.LAYER_AMBIGUOUS, "a long name is empty: some programs take the short one, others none")
    return _decode_text(name)


def _check_name_length(name: str) -> str:
    if len(name) > _MAX_NAME:
        raise ImageError(Reason.LIMIT_EXCEEDED, f"a name has {len(name)} bytes, the limit is {_MAX_NAME}")
    return name


def _read_header(stream: Readable) -> bytes | None:
    """Return the next header; None at the end of the archive (two blocks of zeros, or the end of the stream)."""
    header = _read_exactly(stream, _BLOCK, end_allowed=True)
    if not header:
        return None
    if header == _ZEROS:
        if _read_exactly(stream, _BLOCK, end_allowed=True) not in (b"", _ZEROS):
            raise ImageError(Reason.LAYER_AMBIGUOUS, "a layer goes on after a block of zeros")
        return None
    stated = _parse_number(header[148:156])
    if stated != sum(header) - sum(header[148:156]) + 8 * 0x20:
        raise ImageError(Reason.LAYER_CORRUPT, "a layer is no tar archive: a header's checksum is wrong")
    return header


def _read_exactly(stream: Readable, size: int, *, end_allowed: bool = False) -> bytes:
    chunk = stream.read(size)
    if len(chunk) == size or (end_allowed and not chunk):
        return chunk
    parts = bytearray(chunk)
    while len(parts) < size:
        chunk = stream.read(size - len(parts))
        if not chunk:
            raise ImageError(Reason.LAYER_CORRUPT, "a layer ends in the middle of an entry")
        parts += chunk
    return bytes(parts)


def _read_body(stream: Readable, size: int) -> bytes:
    body = _read_exactly(stream, size) if size else b""
    # Some programs read a name up to its zero byte, wherever the header says that it ends.
    if _read_exactly(stream, -size % _BLOCK).strip(b"\0"):
        raise ImageError(Reason.LAYER_AMBIGUOUS, "an extended header goes on after its end")
    return body


def _pass_content(stream: Readable, size: int, sink: Sink | None) -> None:
    if sink is None:
        _skip_exactly(stream, size + -size % _BLOCK)
        return
    left = size
    while left:
        chunk = stream.read(min(left, _SKIP))
        if not chunk:
            raise ImageError(Reason.LAYER_CORRUPT, "a layer ends in the middle of an entry")
        sink.take(chunk)
        left -= len(chunk)
    _skip_exactly(stream, -size % _BLOCK)


def _modification_time(pax: dict[str, str], header: bytes) -> int:
    """Return the time of the last change; 0 where it is absurd, since builders are known to write such."""
    whole = pax.get("mtime", "").partition(".")[0]
    if re.fullmatch("[0-9]{1,18}", whole):
        return int(whole)
    octal = header[136:148].strip(b" \0")
    return int(octal, 8) if _OCTAL.fullmatch(octal) and not whole else 0


def _skip_exactly(stream: Readable, size: int) -> None:
    while size > 0:
        chunk = stream.read(min(size, _SKIP))
        if not chunk:
            raise ImageError(Reason.LAYER_CORRUPT, "a layer ends in the middle of an entry")
        size -= len(chunk)


def _check_only_zeros(stream: Readable) -> None:
    """Read the padding after the end; anything else there is seen by some programs and not by others."""
    while chunk := stream.read(_SKIP):
        if chunk.count(0) != len(chunk):
            raise ImageError(Reason.LAYER_AMBIGUOUS, "a layer has data after the end of its archive")


def _parse_number(raw: bytes) -> int:
    if raw[0] & 0x80:
        # GNU base-256; negative or absurd values have no honest use.
        number = int.from_bytes(raw[1:], "big")
        if raw[0] != 0x80 or number >= 1 << 63:
            raise ImageError(Reason.LAYER_CORRUPT, "a header holds a negative or absurd number")
        return number
    # Blanks may stand before the digits. After a zero byte some programs read on, and others have read nothing.
    text = raw.lstrip(b" ").rstrip(b" \0")
    if text and not _OCTAL.fullmatch(text):
        raise ImageError(Reason.LAYER_CORRUPT, "a layer is no tar archive: a header's number can't be read")
    return int(text, 8) if text else 0


def _header_name(header: bytes) -> str:
    name = header[:100].split(b"\0", 1)[0]
    magic, prefix = header[257:263], header[345:500].split(b"\0", 1)[0]
    if prefix and magic not in (b"ustar\0", b"ustar "):
        raise ImageError(Reason.LAYER_AMBIGUOUS, "a header has a prefix that its format does not know")
    # Only POSIX ustar has a prefix there; GNU's old format keeps times in its place.
    prefix = prefix if magic == b"ustar\0" else b""
    return _decode_text(prefix + b"/" + name if prefix else name)


def _decode_text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _parse_pax(body: bytes) -> dict[str, str]:
    """Read pax records: `length key=value\\n`, the length counting itself."""
    records: dict[str, str] = {}
    at = 0
    while at < len(body):
        space = body.find(b" ", at, at + 20)
        digits = body[at:space] if space > 0 else b""
        if not digits.isdigit() or int(digits) <= len(digits) + 1:
            raise ImageError(Reason.LAYER_CORRUPT, "an extended header is malformed")
        end = at + int(digits)
        record = body[space + 1 : end]
        if end > len(body) or not record.endswith(b"\n") or b"=" not in record:
            raise ImageError(Reason.LAYER_CORRUPT, "an extended header is malformed")
        key, _, value = record[:-1].partition(b"=")
        if _decode_text(key) in records or (key in (b"path", b"linkpath", b"size") and b"\0" in value):
            raise ImageError(Reason.LAYER_AMBIGUOUS, "an extended header has a key twice or a zero byte in a name")
        if key in (b"path", b"linkpath") and not value:
            raise ImageError(Reason.LAYER_AMBIGUOUS, "an extended header has an empty name")
        records[_decode_text(key)] = _decode_text(value)
        at = end
    if any(key.startswith("GNU.sparse.") for key in records):
        raise ImageError(Reason.LAYER_AMBIGUOUS, "a layer has sparse files")
    return records


def _refuse_global(records: dict[str, str]) -> None:
    if any(key in ("path", "linkpath", "size") or key.startswith(("SCHILY.", "LIBARCHIVE.")) for key in records):
        raise ImageError(Reason.LAYER_AMBIGUOUS, "a global header changes names, sizes or attributes of all entries")


def _entry_size(pax: dict[str, str], stated: int, type_: str, name: str) -> int:
    if type_ in "123456":
        # Links and devices have no body; some programs skip what the header states, others do not.
        if (stated and type_ != "1") or pax.get("size", "0").strip("0"):
            raise _ambiguous_error(name, "it has a size although its type has no content")
        return 0
    if "size" not in pax:
        return stated
    if not re.fullmatch("[0-9]{1,18}", pax["size"]):
        raise ImageError(Reason.LAYER_CORRUPT, "an extended header holds a size that is no number")
    return int(pax["size"])


def _ambiguous_error(name: str, why: str) -> ImageError:
    return ImageError(Reason.LAYER_AMBIGUOUS, f"entry {name[:200]!r}: {why}")
