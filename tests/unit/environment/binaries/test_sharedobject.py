"""What an ELF file needs, read from honest and from hostile files."""

import io
import random
import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.environment.binaries.sharedobject import (
    MAX_NEEDED,
    MAX_TAGS,
    InvalidObjectError,
    SharedObject,
    Undetermined,
    read_shared_object,
    shared_object_of,
)
from tests.fakes.roots import elf, shared


def read(body: bytes) -> SharedObject | None:
    return read_shared_object(io.BytesIO(body))


def changed(body: bytes, at: int, value: bytes) -> bytes:
    return body[:at] + value + body[at + len(value) :]


def test_names_and_paths_are_read_from_the_dynamic_segment() -> None:
    body = shared("libgomp.so.1", "libc.so.6", soname="libx.so.2", rpath="$ORIGIN/a", runpath="$ORIGIN/b:/c")
    assert read(body) == SharedObject(("libgomp.so.1", "libc.so.6"), "libx.so.2", "$ORIGIN/a", "$ORIGIN/b:/c", "EM_X86_64", 64)


def test_an_object_may_need_nothing() -> None:
    assert read(shared()) == SharedObject((), None, None, None, "EM_X86_64", 64)


def test_other_machines_and_classes_are_told() -> None:
    found = [read(shared("a", machine=183)), read(shared("a", machine=3, bits=32)), read(shared("a", machine=60000))]
    kinds = [(one.machine, one.bits) for one in found if one is not None]
    assert kinds == [("EM_AARCH64", 64), ("EM_386", 32), ("60000", 64)]


def test_the_interpreter_of_this_machine_is_read() -> None:
    with open(Path(sys.executable).resolve(), "rb") as file:
        found = read_shared_object(file)
    assert found is not None
    assert any(name.startswith(("libc.", "ld-musl")) for name in found.needed)


@pytest.mark.parametrize("body", [b"", b"\x7f", b"#!/bin/sh\n", b"GROUP ( libm.so.6 )", elf()])
def test_what_is_no_object_with_a_dynamic_segment_is_none(body: bytes) -> None:
    assert read(body) is None
    assert shared_object_of(io.BytesIO(body)) is Undetermined.NO_OBJECT


GOOD = shared("libgomp.so.1", soname="libx.so")
SEGMENT_COUNT, SEGMENTS_AT = 56, 32
HOSTILE = {
    "no more than its beginning": GOOD[:40],
    "cut in the segment headers": GOOD[:150],
    "cut in the names": GOOD[:-3],
    "segment headers beyond its end": changed(GOOD, SEGMENTS_AT, b"\xff" * 7 + b"\x7f"),
    "segment headers beyond any number": changed(GOOD, SEGMENTS_AT, b"\xff" * 8),
    "too many segments": changed(GOOD, SEGMENT_COUNT, b"\xff\xff"),
    "another class": changed(GOOD, 4, b"\x07"),
    "another byte order": changed(GOOD, 5, b"\x02"),
    "too many needed libraries": shared(more=struct.pack("<QQ", 1, 0) * (MAX_NEEDED + 1)),
    "a dynamic segment without end": shared(more=struct.pack("<QQ", 0x70000001, 0) * MAX_TAGS),
    "a name beyond its end": shared(more=struct.pack("<QQ", 1, 1 << 40)),
    "a name beyond any number": shared(more=struct.pack("<QQ", 1, (1 << 64) - 1)),
    "an empty name": shared(more=struct.pack("<QQ", 1, 0)),
    "a name that is too long": shared("x" * 256),
    "a path that is too long": shared(rpath="/x" * 10_000),
    "strings in no segment": GOOD.replace(struct.pack("<IIQ", 1, 4, 0), struct.pack("<IIQ", 4, 4, 0)),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_files_end_with_an_error(what: str) -> None:
    with pytest.raises(InvalidObjectError):
        read(HOSTILE[what])
    assert shared_object_of(io.BytesIO(HOSTILE[what])) is Undetermined.BROKEN


def test_as_many_needed_libraries_as_are_allowed_are_read() -> None:
    found = read(shared("y" * 255, more=struct.pack("<QQ", 1, 1) * (MAX_NEEDED - 1)))
    assert found is not None
    assert found.needed == ("y" * 255,)


@settings(max_examples=300)
@given(st.integers(0, 2**32), st.integers(1, 8), st.sampled_from([GOOD, shared("a", rpath="b", bits=32)]))
def test_no_change_of_bytes_gives_another_error(seed: int, count: int, body: bytes) -> None:
    rng = random.Random(seed)
    for _ in range(count):
        body = changed(body, rng.randrange(len(body)), bytes([rng.choice([0, 1, 127, 255, rng.randrange(256)])]))
    assert isinstance(shared_object_of(io.BytesIO(body)), SharedObject | Undetermined)
