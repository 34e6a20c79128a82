"""What an ELF file asks of the dynamic linker: the needed libraries and where it wants them searched for."""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO

from elftools.common.exceptions import ELFError
from elftools.common.utils import struct_parse
from elftools.construct.lib.container import Container
from elftools.elf.structs import ELFStructs

MAX_NAME = 255
"""Bytes of a library's name: longer ones name no file (NAME_MAX)."""
MAX_PATH = 16 * 1024
"""Bytes of a search path; Nix writes long ones."""
MAX_NEEDED = 4096
MAX_TAGS = 8192
"""Entries of a dynamic segment."""
MAX_SEGMENTS = 1024
OBJECT_NAME = re.compile(r"\.so(?:\.[^/]+)?$")
"""What extension modules and libraries are called: `_x.cpython-311-x86_64-linux-gnu.so`, `libgomp.so.1`."""
_PIECE = 512


@dataclass(frozen=True, slots=True)
class SharedObject:
    """The dynamic segment of an ELF file, as far as finding libraries goes (gABI, "Dynamic Section")."""

    needed: tuple[str, ...]
    """`DT_NEEDED`, in order."""
    soname: str | None
    """`DT_SONAME`."""
    rpath: str | None
    """`DT_RPATH`, verbatim."""
    runpath: str | None
    """`DT_RUNPATH`, verbatim."""
    machine: str
    """`e_machine`: `EM_X86_64`, or the number of an unknown one."""
    bits: int
    """32 or 64."""

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes: the names, and what Python adds to each."""
        texts = (*self.needed, self.soname, self.rpath, self.runpath)
        return sum(len(text) + 64 for text in texts if text is not None)


class Undetermined(StrEnum):
    """Why a file has no `SharedObject`."""

    NO_OBJECT = "it is no ELF file with a dynamic segment"
    BROKEN = "which libraries it needs can't be determined"
    NOT_READ = "files of its kind are not read as shared objects"


class InvalidObjectError(ValueError):
    """The file is an ELF file whose needs can't be determined: malformed, absurd, or not held where it matters."""


def read_shared_object(file: BinaryIO) -> SharedObject | None:
    """Read an ELF file's dynamic segment, found by the program headers as the dynamic linker does.

    Bounded whatever the file says: a fixed number of segments, tags, names and bytes a name is read.

    Args:
        file: seekable; may have holes that raise `OSError`.

    Returns:
        None when the file is no ELF file or has no dynamic segment.

    Raises:
        InvalidObjectError: what the file needs can't be determined.
    """
    try:
        file.seek(0)
        return _read(file) if file.read(4) == b"\x7fELF" else None
    except InvalidObjectError:
        raise
    # pyelftools lets what the header's numbers lead to through: a seek that overflows, an assertion, a missing key.
    except (ELFError, OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, AssertionError) as error:
        raise InvalidObjectError(f"an ELF file can't be read: {error}"[:200]) from error


def shared_object_of(file: BinaryIO) -> SharedObject | Undetermined:
    """Read a file as `read_shared_object` does; where there is no shared object, return the reason as an `Undetermined`."""
    try:
        return read_shared_object(file) or Undetermined.NO_OBJECT
    except InvalidObjectError:
        return Undetermined.BROKEN


@functools.lru_cache(maxsize=4)
def _structs(little_endian: bool, bits: int) -> ELFStructs:
    """Return pyelftools' description of ELF files of a class: making it takes longer than reading a file with it."""
    made = ELFStructs(little_endian=little_endian, elfclass=bits)
    made.create_basic_structs()
    made.create_advanced_structs()
    return made


def _read(file: BinaryIO) -> SharedObject | None:
    file.seek(4)
    kind, order = file.read(2)
    if kind not in (1, 2) or order not in (1, 2):
        raise InvalidObjectError("its class or byte order is none that ELF knows")
    bits = 32 * kind
    structs = _structs(order == 1, bits)
    header = struct_parse(structs.Elf_Ehdr, file, 0)
    segments = list(_segments(file, structs, header))
    dynamic = next((segment for segment in segments if segment[0] == "PT_DYNAMIC"), None)
    if dynamic is None:
        return None
    tags: dict[str | int, list[int]] = {}
    # A DynamicSegment of pyelftools would go through all section headers first, which the dynamic linker never reads.
    file.seek(dynamic[1])
    for _ in range(MAX_TAGS):
        tag = struct_parse(structs.Elf_Dyn, file)
        tags.setdefault(tag.d_tag, []).append(tag.d_val)
        if tag.d_tag == "DT_NULL":
            break
    else:
        raise InvalidObjectError(f"the dynamic segment has no end within {MAX_TAGS} entries")
    needed = tags.get("DT_NEEDED", [])
    if len(needed) > MAX_NEEDED:
        raise InvalidObjectError(f"{len(needed)} libraries are needed, the limit is {MAX_NEEDED}")
    table = _table(segments, tags) if tags.keys() & {"DT_NEEDED", "DT_SONAME", "DT_RPATH", "DT_RUNPATH"} else 0

    def text(tag: str, limit: int) -> str | None:
        # Of several the last counts (glibc, elf_get_dynamic_info).
        return _string(file, table + tags[tag][-1], limit) if tag in tags else None

    return SharedObject(
        needed=tuple(dict.fromkeys(_string(file, table + offset, MAX_NAME) for offset in needed)),
        soname=text("DT_SONAME", MAX_NAME),
        rpath=text("DT_RPATH", MAX_PATH),
        runpath=text("DT_RUNPATH", MAX_PATH),
        machine=str(header.e_machine),
        bits=bits,
    )


def _segments(file: BinaryIO, structs: ELFStructs, header: Container) -> Iterator[tuple[str, int, int, int]]:
    """Yield type, offset, address and size in the file of each segment, without what pyelftools makes of them."""
    count = header.e_phnum
    if count > MAX_SEGMENTS:
        raise InvalidObjectError(f"{count} segments, the limit is {MAX_SEGMENTS}")
    for number in range(count):
        segment = struct_parse(structs.Elf_Phdr, file, header.e_phoff + number * header.e_phentsize)
        yield str(segment.p_type), segment.p_offset, segment.p_vaddr, segment.p_filesz


def _table(segments: list[tuple[str, int, int, int]], tags: dict[str | int, list[int]]) -> int:
    """Return where in the file the string table stands that `DT_STRTAB` gives by its address."""
    address = tags.get("DT_STRTAB", [-1])[-1]
    for kind, offset, start, size in segments:
        if kind == "PT_LOAD" and start <= address < start + size:
            return offset + address - start
    raise InvalidObjectError("no segment holds the string table")


def _string(file: BinaryIO, offset: int, limit: int) -> str:
    """Return the text at an offset of the file, of 1 to `limit` bytes before a zero byte."""
    file.seek(offset)
    name = bytearray()
    while len(name) <= limit:
        piece = file.read(_PIECE)
        text, end, _ = piece.partition(b"\0")
        name += text
        if end and name and len(name) <= limit:
            return name.decode("utf-8", "surrogateescape")
        if end or not piece:
            break
    raise InvalidObjectError(f"a name is empty or has no end within {limit} bytes")
