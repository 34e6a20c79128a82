"""Root file systems made in memory: a Debian with Python, virtual environments and installed distributions."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from lockstep.environment.tree import Entry, EntryTree, FileKind, FileStat
from tests.fakes.images import Item, directory, symlink

GLIBC = b"\0GNU C Library (Debian GLIBC 2.36-9+deb12u9) stable release version 2.36.\n"
STATUS = """Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u9

Package: libgomp1
Status: install ok installed
Architecture: amd64
Version: 12.2.0-14
"""


@dataclass(frozen=True)
class To:
    """A symbolic link."""

    target: str


Files = dict[str, bytes | str | To | None]
"""Bodies by absolute path; None is a directory."""


def elf(version: int = 0x030B02F0) -> bytes:
    """Return the smallest 64-bit ELF file that defines `Py_Version` (default: 3.11.2, final)."""
    strings, data = b"\0other\0Py_Version\0", struct.pack("<I", version)
    symbols = bytes(24) + struct.pack("<IBBHQQ", 1, 0x11, 0, 1, 0, 4) + struct.pack("<IBBHQQ", 7, 0x11, 0, 1, 0x400000, 4)
    at_segments, at_symbols = 64, 64 + 56
    at_strings = at_symbols + len(symbols)
    at_data = at_strings + len(strings)
    at_sections = at_data + len(data)
    start = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    head = start + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, at_segments, at_sections, 0, 64, 56, 1, 64, 3, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 4, at_data, 0x400000, 0, 4, 4, 8)
    sections = bytes(64)
    sections += struct.pack("<IIQQQQIIQQ", 0, 11, 2, 0, at_symbols, len(symbols), 2, 1, 8, 24)
    sections += struct.pack("<IIQQQQIIQQ", 0, 3, 2, 0, at_strings, len(strings), 0, 0, 1, 0)
    return head + segment + symbols + strings + data + sections


def shared(
    *needed: str,
    soname: str | None = None,
    rpath: str | None = None,
    runpath: str | None = None,
    machine: int = 62,
    bits: int = 64,
    gap: int = 0,
    more: bytes = b"",
) -> bytes:
    """Return the smallest shared object with a dynamic segment (default: x86_64).

    As patchelf leaves them, the segment stands before the program headers, and the strings stand last. `gap` bytes part
    each from the next; `more` stands before the end of the dynamic segment.
    """
    wide = bits == 64
    word, head_size, entry_size = ("Q", 64, 56) if wide else ("I", 52, 32)
    strings, tags = b"\0", b""
    named = [(1, name) for name in needed] + [(14, soname), (15, rpath), (29, runpath)]
    for tag, text in named:
        if text is not None:
            tags += struct.pack(f"<2{word}", tag, len(strings))
            strings += text.encode() + b"\0"
    base = 0x10000
    at_dynamic = head_size + gap
    tags += struct.pack(f"<2{word}", 11, 24 if wide else 16) + more
    size = len(tags) + 2 * struct.calcsize(f"<2{word}")
    at_segments = at_dynamic + size + gap
    at_strings = at_segments + 2 * entry_size + gap
    end = at_strings + len(strings)
    tags += struct.pack(f"<4{word}", 5, base + at_strings, 0, 0)
    start = b"\x7fELF" + (b"\x02" if wide else b"\x01") + b"\x01\x01".ljust(11, b"\0")
    head = start + struct.pack(f"<HHI3{word}IHHHHHH", 3, machine, 1, 0, at_segments, 0, 0, head_size, entry_size, 2, 0, 0, 0)
    segments = b""
    for kind, offset, length in ((1, 0, end), (2, at_dynamic, size)):
        if wide:
            segments += struct.pack("<IIQQQQQQ", kind, 4, offset, base + offset, 0, length, length, 8)
        else:
            segments += struct.pack("<IIIIIIII", kind, offset, base + offset, 0, length, length, 4, 4)
    filler = bytes(gap)
    return head + filler + tags + filler + segments + filler + strings


def debian() -> Files:
    """Return a Debian 12 with Python 3.11.2 at /usr."""
    return {
        "/bin": To("usr/bin"),
        "/lib": To("usr/lib"),
        "/tmp": None,
        "/etc/os-release": To("../usr/lib/os-release"),
        "/usr/lib/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n',
        "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n",
        "/var/lib/dpkg/status": STATUS,
        "/usr/bin/env": b"\x7fELF env",
        "/usr/bin/dash": b"\x7fELF dash",
        "/usr/bin/sh": To("dash"),
        "/usr/bin/python3.11": elf(),
        "/usr/bin/python3": To("python3.11"),
        "/usr/lib/python3.11/os.py": "",
        "/usr/lib/python3.11/lib-dynload": None,
        "/usr/lib/python3/dist-packages": None,
        "/usr/lib/x86_64-linux-gnu/libc.so.6": GLIBC,
    }


def venv(path: str = "/opt/venv", *, system_site: bool = False, home: str = "/usr/bin") -> Files:
    """Return a virtual environment made with Debian's Python."""
    flag = "true" if system_site else "false"
    return {
        f"{path}/pyvenv.cfg": f"home = {home}\ninclude-system-site-packages = {flag}\nversion = 3.11.2\n",
        f"{path}/bin/python3": To("/usr/bin/python3"),
        f"{path}/bin/python": To("python3"),
        f"{path}/lib/python3.11/site-packages": None,
    }


def activate(prefix: str, *more: str) -> str:
    """Return the activation script that CPython 3.11's venv writes, shortened, with more lines at its end."""
    return "\n".join(
        (
            '# This file must be used with "source bin/activate" *from bash*',
            "deactivate () {",
            '    if [ -n "${_OLD_VIRTUAL_PATH:-}" ] ; then',
            '        PATH="${_OLD_VIRTUAL_PATH:-}"',
            "        export PATH",
            "        unset _OLD_VIRTUAL_PATH",
            "    fi",
            "    hash -r 2> /dev/null",
            "    unset VIRTUAL_ENV",
            '    if [ ! "${1:-}" = "nondestructive" ] ; then',
            "        unset -f deactivate",
            "    fi",
            "}",
            "deactivate nondestructive",
            f'VIRTUAL_ENV="{prefix}"',
            "export VIRTUAL_ENV",
            '_OLD_VIRTUAL_PATH="$PATH"',
            'PATH="$VIRTUAL_ENV/bin:$PATH"',
            "export PATH",
            'if [ -n "${PYTHONHOME:-}" ] ; then',
            '    _OLD_VIRTUAL_PYTHONHOME="${PYTHONHOME:-}"',
            "    unset PYTHONHOME",
            "fi",
            'if [ -z "${VIRTUAL_ENV_DISABLE_PROMPT:-}" ] ; then',
            '    _OLD_VIRTUAL_PS1="${PS1:-}"',
            '    PS1="(venv) ${PS1:-}"',
            "fi",
            *more,
        )
    )


def distribution(site: str, name: str, version: str, **files: str) -> Files:
    """Return a distribution's metadata; `files` adds or replaces files of its dist-info (RECORD=..., WHEEL=...)."""
    folder = f"{site}/{name}-{version}.dist-info"
    body = {"METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nText\nName: other\n"}
    body["RECORD"] = f"{name}/__init__.py,sha256={version},1\n{name}-{version}.dist-info/RECORD,,\n"
    body["WHEEL"] = "Wheel-Version: 1.0\nTag: py3-none-any\n"
    return {f"{folder}/{key.replace('__', '.')}": value for key, value in (body | files).items()}


VENV_SITE = "/opt/venv/lib/python3.11/site-packages"


def tree(*parts: Mapping[str, bytes | str | To | None]) -> EntryTree:
    """Return a tree of the files."""
    return EntryTree(entries(*parts))


def entries(*parts: Mapping[str, bytes | str | To | None]) -> dict[str, Entry]:
    """Return the files as entries of a tree."""
    return {path: _entry(value) for part in parts for path, value in part.items()}


def _entry(value: bytes | str | To | None) -> Entry:
    if value is None:
        return Entry(FileKind.DIRECTORY)
    if isinstance(value, To):
        return Entry(FileKind.SYMLINK, target=value.target)
    body = value.encode() if isinstance(value, str) else value
    return Entry(FileKind.FILE, body=body, stat=FileStat(len(body), 0))


def items(files: Mapping[str, bytes | str | To | None]) -> list[Item]:
    """Return the files as tar entries, without their parents."""
    return [_item(path.lstrip("/"), value) for path, value in files.items()]


def _item(path: str, value: bytes | str | To | None) -> Item:
    if value is None:
        return directory(path)
    if isinstance(value, To):
        return symlink(path, value.target)
    return Item(path, value.encode() if isinstance(value, str) else value)
