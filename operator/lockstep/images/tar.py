"""Reads a tar stream header by header (POSIX.1-2001 pax, ustar, GNU long names), bodies only where they are wanted.

Stricter than the standard library's: what readers are known to read differently is refused, and no header can make it
take more memory than the limits allow.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from lockstep.api.reasons import Reason
from lockstep.images.decompress import Readable
from lockstep.images.image import ImageError
from lockstep.images.limits import Limits

_BLOCK = 512
_SKIP = 1024 * 1024
_ZEROS = bytes(_BLOCK)


@dataclass(frozen=True)
class TarEntry:
    """One entry of a layer."""

    name: str
    type: str
    """The type flag: `0` file, `1` hard link, `2` symbolic link, `3` character device, `5` directory, ..."""
    size: int
    link: str = ""
    device: tuple[int, int] = (0, 0)
    pax: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None


Wanted = Callable[[str, int], bool]
"""Tells from name and size whether a file's body is kept."""


def entries(stream: Readable, wanted: Wanted, limits: Limits) -> Iterator[TarEntry]:
    """Yield the entries of a tar stream and read it to its end.

    Raises:
        ImageError: LayerCorrupt, LayerAmbiguous or LimitExceeded.
    """
    pax: dict[str, str] = {}
    long_name: str | None = None
    long_link: str | None = None
    while (header := _header(stream)) is not None:
        type_ = chr(header[156]) if header[156] else "0"
        size = _number(header[124:136])
        if type_ in "xgLK":
            if size > limits.header:
                raise ImageError(Reason.LIMIT_EXCEEDED, f"an extended header has {size} bytes, the limit is {limits.header}")
            body = _body(stream, size)
            if type_ == "x":
                pax = _pax(body)
            elif type_ == "g":
                _refuse_global(_pax(body))
            elif type_ == "L":
                long_name = _text(body.rstrip(b"\0"))
            else:
                long_link = _text(body.rstrip(b"\0"))
            continue
        if type_ not in "01234567":
            raise _ambiguous(_name(header), f"its type {type_!r} is read differently by different programs")
        name = pax.get("path") or long_name or _name(header)
        size = _size(pax, size, type_, name)
        keep = type_ in "07" and wanted(name, size)
        body_bytes = _body(stream, size) if keep else None
        if not keep:
            _skip(stream, size)
        yield TarEntry(
            name=name,
            type="0" if type_ == "7" else type_,
            size=size,
            link=pax.get("linkpath") or long_link or _text(header[157:257].split(b"\0", 1)[0]),
            device=(_number(header[329:337]), _number(header[337:345])) if type_ in "34" else (0, 0),
            pax=pax,
            body=body_bytes,
        )
        pax, long_name, long_link = {}, None, None
    _only_zeros(stream)


def _header(stream: Readable) -> bytes | None:
    """Return the next header; None at the end of the archive (two blocks of zeros, or the end of the stream)."""
    header = _exactly(stream, _BLOCK, end_allowed=True)
    if not header:
        return None
    if header == _ZEROS:
        if _exactly(stream, _BLOCK, end_allowed=True) not in (b"", _ZEROS):
            raise ImageError(Reason.LAYER_AMBIGUOUS, "a layer goes on after a block of zeros")
        return None
    stated = _number(header[148:156])
    if stated != sum(header) - sum(header[148:156]) + 8 * 0x20:
        raise ImageError(Reason.LAYER_CORRUPT, "a layer is no tar archive: a header's checksum is wrong")
    return header


def _exactly(stream: Readable, size: int, *, end_allowed: bool = False) -> bytes:
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


def _body(stream: Readable, size: int) -> bytes:
    body = _exactly(stream, size) if size else b""
    _skip_exactly(stream, -size % _BLOCK)
    return body


def _skip(stream: Readable, size: int) -> None:
    _skip_exactly(stream, size + -size % _BLOCK)


def _skip_exactly(stream: Readable, size: int) -> None:
    while size > 0:
        chunk = stream.read(min(size, _SKIP))
        if not chunk:
            raise ImageError(Reason.LAYER_CORRUPT, "a layer ends in the middle of an entry")
        size -= len(chunk)


def _only_zeros(stream: Readable) -> None:
    """Read the padding after the end; anything else there is seen by some programs and not by others."""
    while chunk := stream.read(_SKIP):
        if chunk.count(0) != len(chunk):
            raise ImageError(Reason.LAYER_AMBIGUOUS, "a layer has data after the end of its archive")


def _number(raw: bytes) -> int:
    if raw[0] & 0x80:
        # GNU base-256; negative or absurd values have no honest use.
        if raw[0] != 0x80 or any(raw[1:-8]):
            raise ImageError(Reason.LAYER_CORRUPT, "a header holds a negative or absurd number")
        return int.from_bytes(raw[-8:], "big")
    text = raw.strip(b" \0")
    try:
        return int(text, 8) if text else 0
    except ValueError as error:
        raise ImageError(Reason.LAYER_CORRUPT, "a layer is no tar archive: a header's number can't be read") from error


def _name(header: bytes) -> str:
    name = header[:100].split(b"\0", 1)[0]
    # Only POSIX ustar has a prefix there; GNU's old format keeps times in its place.
    prefix = header[345:500].split(b"\0", 1)[0] if header[257:263] == b"ustar\0" else b""
    return _text(prefix + b"/" + name if prefix else name)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _pax(body: bytes) -> dict[str, str]:
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
        if not record.endswith(b"\n") or b"=" not in record:
            raise ImageError(Reason.LAYER_CORRUPT, "an extended header is malformed")
        key, _, value = record[:-1].partition(b"=")
        records[_text(key)] = _text(value)
        at = end
    if any(key.startswith("GNU.sparse.") for key in records):
        raise ImageError(Reason.LAYER_AMBIGUOUS, "a layer has sparse files")
    return records


def _refuse_global(records: dict[str, str]) -> None:
    if records.keys() & {"path", "linkpath", "size"}:
        raise ImageError(Reason.LAYER_AMBIGUOUS, "a global header changes names or sizes of all entries")


def _size(pax: dict[str, str], stated: int, type_: str, name: str) -> int:
    if type_ in "123456":
        # Links and devices have no body; some programs skip what the header states, others do not.
        if stated and type_ != "1":
            raise _ambiguous(name, "it has a size although its type has no content")
        return 0
    if "size" not in pax:
        return stated
    if not pax["size"].isdigit():
        raise ImageError(Reason.LAYER_CORRUPT, "an extended header holds a size that is no number")
    return int(pax["size"])


def _ambiguous(name: str, why: str) -> ImageError:
    return ImageError(Reason.LAYER_AMBIGUOUS, f"entry {name[:200]!r}: {why}")
