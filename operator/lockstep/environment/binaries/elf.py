"""The version of a CPython binary, from the data symbol `Py_Version` (CPython 3.11 and newer) of its ELF file."""

import struct

_SHT_DYNSYM = 11
_LEVELS = {0xA: "a", 0xB: "b", 0xC: "rc", 0xF: ""}


def python_version(body: bytes) -> str | None:
    """Return `3.11.2` for a 64-bit little-endian ELF file that defines `Py_Version`; None for any other."""
    try:
        return _python_version(body)
    except (struct.error, LookupError, ValueError, OverflowError):
        return None


def _python_version(body: bytes) -> str | None:
    if body[:6] != b"\x7fELF\x02\x01":
        return None
    (phoff, shoff) = struct.unpack_from("<QQ", body, 0x20)
    phentsize, phnum, shentsize, shnum = struct.unpack_from("<HHHH", body, 0x36)
    sections = [struct.unpack_from("<IIQQQQIIQQ", body, shoff + i * shentsize) for i in range(shnum)]
    segments = [struct.unpack_from("<IIQQQQQQ", body, phoff + i * phentsize) for i in range(phnum)]
    for section in sections:
        if section[1] != _SHT_DYNSYM:
            continue
        strings = sections[section[6]][4]
        for offset in range(section[4], section[4] + section[5], 24):
            name, _, _, index, value, size = struct.unpack_from("<IBBHQQ", body, offset)
            if index and size >= 4 and body.startswith(b"Py_Version\0", strings + name):
                return _text(_at(body, segments, value))
        # There is one such section; more would only be a way to keep a reader busy.
        return None
    return None


def _at(body: bytes, segments: list[tuple[int, ...]], address: int) -> int:
    for kind, _, offset, start, _, filesize, *_ in segments:
        if kind == 1 and start <= address < start + filesize:
            value: int = struct.unpack_from("<I", body, offset + address - start)[0]
            return value
    raise ValueError("no segment holds the symbol")


def _text(version: int) -> str:
    """Write PY_VERSION_HEX as text (CPython C API, "API and ABI Versioning")."""
    major, minor, micro, level, serial = (
        version >> 24,
        version >> 16 & 255,
        version >> 8 & 255,
        version >> 4 & 15,
        version & 15,
    )
    suffix = f"{_LEVELS[level]}{serial}" if level != 0xF else ""
    return f"{major}.{minor}.{micro}{suffix}"
