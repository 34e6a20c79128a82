"""What is kept of shared objects while they stream past."""

import io
import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.environment.binaries.sharedobject import SharedObject, Undetermined, read_shared_object
from lockstep.images.layers.interest import interest
from lockstep.images.layers.needs import BUDGET, WHOLE, Needs
from lockstep.images.layers.sparse import SparseFile
from tests.fakes.roots import shared

GAP = 5 << 20


def streamed(body: bytes, chunk: int = 1 << 20) -> SharedObject | Undetermined:
    needs = Needs(len(body))
    for at in range(0, len(body), chunk):
        needs.take(body[at : at + chunk])
    return needs.shared_object()


def whole(body: bytes) -> SharedObject | None:
    return read_shared_object(io.BytesIO(body))


def test_a_small_object_is_read_as_if_it_were_there() -> None:
    body = shared("libgomp.so.1", soname="libx.so", runpath="$ORIGIN")
    assert streamed(body, 7) == whole(body)
    assert streamed(b"text") is streamed(b"") is Undetermined.NO_OBJECT
    assert streamed(body[:100]) is Undetermined.BROKEN


@pytest.mark.parametrize("chunk", [65536, 1 << 20, 1 << 24])
@pytest.mark.parametrize("bits", [32, 64])
def test_of_a_large_object_the_headers_the_segment_and_the_names_are_found_wherever_they_are(chunk: int, bits: int) -> None:
    body = shared("libgomp.so.1", "libc.so.6", soname="libx.so", runpath="$ORIGIN/../lib", gap=GAP, bits=bits)
    assert len(body) > WHOLE
    assert streamed(body, chunk) == whole(body)


@settings(max_examples=20)
@given(st.integers(0, 20_000), st.sampled_from([50_021, 1 << 20]))
def test_it_does_not_matter_where_the_pieces_are_cut(shift: int, chunk: int) -> None:
    body = shared("libgomp.so.1", rpath="/opt/lib", gap=(4 << 20) - 10_000 + shift)
    assert streamed(body, chunk) == whole(body)


def test_a_large_file_that_is_no_object_is_not_held() -> None:
    needs = Needs(BUDGET * 10)
    tracemalloc.start()
    for _ in range(BUDGET * 10 >> 20):
        needs.take(b"libx.so\0" * (1 << 17))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert needs.shared_object() is Undetermined.NO_OBJECT
    assert peak < 8 << 20


def test_an_object_full_of_names_takes_bounded_memory_and_can_not_be_told() -> None:
    front = shared("libgomp.so.1", gap=1 << 20)
    # Its program headers stand behind more names than are held.
    table = struct.unpack_from("<Q", front, 32)[0]
    size = 64 << 20
    head = front[:32] + struct.pack("<Q", table + (40 << 20)) + front[40:64]
    needs = Needs(size)
    tracemalloc.start()
    needs.take(head)
    for _ in range(63):
        needs.take(b"libx.so\0" * (1 << 17))
    needs.take(bytes(size - (63 << 20) - len(head)))
    found = needs.shared_object()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found is Undetermined.BROKEN
    assert peak < 24 << 20


def test_a_large_object_with_names_that_look_like_none_can_not_be_told() -> None:
    body = shared("odd", gap=GAP)
    assert whole(body) is not None
    assert streamed(body + bytes(1 << 20)) is Undetermined.BROKEN


def test_a_sparse_file_reads_what_is_held_and_raises_in_its_holes() -> None:
    file = SparseFile(20, {2: b"abc", 5: b"de", 10: b"xyz"})
    assert file.seek(2) == 2
    assert file.read(4) == b"abcd"
    assert file.tell() == 6
    assert file.read(10) == b"e"
    for hole in (0, 1, 7, 9, 13, 19):
        file.seek(hole)
        with pytest.raises(OSError, match="not kept"):
            file.read(1)
    assert file.seek(0, io.SEEK_END) == 20
    assert file.read(5) == b""
    file.seek(-10, io.SEEK_CUR)
    assert file.read() == b"xyz"
    file.seek(3)
    assert file.read(0) == b""
    with pytest.raises(ValueError, match="before the start"):
        file.seek(-1)


@pytest.mark.parametrize(
    "path",
    ["/usr/lib/libgomp.so.1", "/opt/x.so", "/site-packages/x.libs/libz-1a.so.1.2.3", "/x/_c.cpython-311-x86_64-linux-gnu.so"],
)
def test_shared_objects_are_read_wherever_they_are(path: str) -> None:
    assert interest(path).needs


@pytest.mark.parametrize("path", ["/usr/lib/libgomp.a", "/usr/bin/x", "/x.so/y", "/x.sock"])
def test_other_files_are_not_read_as_shared_objects(path: str) -> None:
    assert not interest(path).needs


@pytest.mark.parametrize("path", ["/etc/ld.so.conf", "/etc/ld.so.conf.d/libc.conf", "/etc/ld-musl-x86_64.path"])
def test_the_linkers_configuration_is_kept(path: str) -> None:
    assert interest(path).body
