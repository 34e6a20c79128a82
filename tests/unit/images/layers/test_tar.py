"""Tar streams, honest and hostile."""

import io
import tarfile

import pytest

from lockstep.api.reasons import Reason
from lockstep.images.image import ImageError
from lockstep.images.layers.interest import Interest
from lockstep.images.layers.keep import Keep
from lockstep.images.layers.tar import TarEntry, entries
from lockstep.images.limits import Limits
from tests.fakes.images import END, Item, entry, gnu_long, header, octal, padded, pax_header, pax_record, tar

FILE = entry(Item("good", b"body"))


def keep(name: str, size: int) -> Keep:
    return Keep(Interest(body=1 << 20), size)


def read(data: bytes, *, limits: Limits | None = None) -> list[TarEntry[Keep]]:
    return list(entries(io.BytesIO(data), keep, limits or Limits()))


def body(found: TarEntry[Keep]) -> bytes | None:
    return found.sink.body if found.sink is not None else None


def names(data: bytes) -> list[str]:
    return [one.name for one in read(data)]


def refused(data: bytes, limits: Limits | None = None) -> Reason:
    with pytest.raises(ImageError) as caught:
        read(data, limits=limits)
    return caught.value.reason


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_what_the_standard_library_writes_is_read(form: int) -> None:
    stream = io.BytesIO()
    long = "d" * 90 + "/" + "f" * 80
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for name, kind in (
            ("dir", tarfile.DIRTYPE),
            (long, tarfile.REGTYPE),
            ("lnk", tarfile.SYMTYPE),
            ("hard", tarfile.LNKTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type = kind
            info.linkname = "t" * 90 if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            info.size = 5 if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(b"hello"))
    found = read(stream.getvalue())
    assert [(one.name.rstrip("/"), one.type, one.link) for one in found] == [
        ("dir", "5", ""),
        (long, "0", ""),
        ("lnk", "2", "t" * 90),
        ("hard", "1", "t" * 90),
    ]
    assert body(found[1]) == b"hello"


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_and_links_are_read(form: int) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        info = tarfile.TarInfo("n" * 300)
        info.type, info.linkname = tarfile.SYMTYPE, "l" * 300
        archive.addfile(info)
        archive.addfile(tarfile.TarInfo("after"))
    assert [(one.name, one.link) for one in read(stream.getvalue())] == [("n" * 300, "l" * 300), ("after", "")]


def test_pax_records_count_for_one_entry_only() -> None:
    data = pax_header({"path": "long"}) + entry(Item("short", b"1")) + entry(Item("next", b"2")) + END
    assert [(one.name, body(one)) for one in read(data)] == [("long", b"1"), ("next", b"2")]


def test_a_pax_size_replaces_the_headers() -> None:
    data = pax_header({"size": "3"}) + header(b"x", "0", octal(0)) + padded(b"abc") + FILE + END
    assert [(one.name, body(one)) for one in read(data)] == [("x", b"abc"), ("good", b"body")]


def test_names_that_are_no_utf_8_are_kept() -> None:
    assert names(header(b"caf\xe9", "0", octal(0)) + END) == ["caf\udce9"]


def test_the_prefix_counts_in_posix_archives_only() -> None:
    posix = bytearray(header(b"name", "0", octal(0), prefix=b"dir"))
    assert names(bytes(posix) + END) == ["dir/name"]
    posix[257:265] = b"ustar  \0"
    posix[148:156] = b" " * 8
    posix[148:156] = b"%06o\0 " % sum(posix)
    assert names(bytes(posix) + END) == ["name"]


@pytest.mark.parametrize("magic", [bytes(8), b"ustar200", b"USTAR\00000"])
def test_a_prefix_in_a_format_that_has_none_is_refused(magic: bytes) -> None:
    # The standard library reads it whatever the format, others do not.
    for prefix in (b"dir", b""):
        block = bytearray(header(b"name", "0", octal(0), prefix=prefix))
        block[257:265] = magic
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        if prefix:
            assert refused(bytes(block) + END) is Reason.LAYER_AMBIGUOUS
        else:
            assert names(bytes(block) + END) == ["name"]


def test_bodies_are_kept_only_where_they_are_wanted() -> None:
    data = tar(Item("a", b"1" * 600), Item("b", b"2" * 600))
    found = list(entries(io.BytesIO(data), lambda name, size: keep(name, size) if name == "b" else None, Limits()))
    assert [(one.size, body(one)) for one in found] == [(600, None), (600, b"2" * 600)]


def test_an_archive_may_lack_its_end() -> None:
    assert names(FILE) == ["good"]
    assert names(b"") == []
    assert names(FILE + bytes(512)) == ["good"]


def test_padding_after_the_end_is_read() -> None:
    assert names(FILE + END + bytes(10_240)) == ["good"]


def test_a_second_archive_after_the_end_is_refused() -> None:
    assert refused(FILE + END + FILE + END) is Reason.LAYER_AMBIGUOUS
    assert refused(FILE + bytes(512) + FILE + END) is Reason.LAYER_AMBIGUOUS
    assert refused(FILE + END + bytes(3_000_000) + b"x") is Reason.LAYER_AMBIGUOUS


def test_a_wrong_checksum_is_refused() -> None:
    broken = bytearray(FILE)
    broken[0] ^= 1
    assert refused(bytes(broken)) is Reason.LAYER_CORRUPT
    assert refused(b"this is no tar archive".ljust(512)) is Reason.LAYER_CORRUPT


@pytest.mark.parametrize("cut", [1, 511, 513, 1000])
def test_an_end_in_the_middle_is_refused(cut: int) -> None:
    assert refused(entry(Item("x", b"1" * 700))[:-cut]) is Reason.LAYER_CORRUPT


@pytest.mark.parametrize(
    "size",
    [
        b"\xff" * 12,
        b"\xff" + bytes(11),
        b"\x80\0\0\x01" + bytes(8),
        b"\x80\0\0\0\xff" + bytes(7),
        b"-0000000001\0",
        b"+0000000001\0",
        b"0o000000001\0",
        b"0_000000001\0",
        b"00000000009\0",
        b"abc\0\0\0\0\0\0\0\0\0",
        b"1 2\0\0\0\0\0\0\0\0\0",
        # The standard library stops at the zero byte and takes the size for 0, Go does not.
        b"\0\0\0\0\0000000047",
        b"  \0      47\0",
    ],
)
def test_numbers_that_are_none_are_refused(size: bytes) -> None:
    assert refused(header(b"x", "0", size) + padded(b"x" * 600) + END) is Reason.LAYER_CORRUPT


def test_numbers_may_stand_between_blanks() -> None:
    for size in (b"         3 \0", b"3 \0\0\0\0\0\0\0\0\0\0", b"00000000003 "):
        assert body(read(header(b"x", "0", size) + padded(b"abc") + END)[0]) == b"abc"


def test_large_sizes_in_base_256_are_read() -> None:
    data = header(b"x", "0", b"\x80" + (3).to_bytes(11, "big")) + padded(b"abc") + END
    assert body(read(data)[0]) == b"abc"


def test_device_numbers_in_base_256_are_read() -> None:
    data = header(b"x", "3", octal(0), device=(b"\x80" + bytes(7), b"\x80" + bytes(6) + b"\1")) + END
    assert read(data)[0].device == (0, 1)


def test_a_size_on_gnus_header_is_refused() -> None:
    smuggled = padded(entry(Item("evil", b"")) + END)
    data = pax_header({"size": str(len(smuggled))}) + gnu_long(b"long") + header(b"x", "0", octal(0)) + smuggled
    assert refused(data) is Reason.LAYER_AMBIGUOUS


def test_a_name_that_goes_on_after_the_size_of_its_header_is_refused() -> None:
    # The standard library reads it up to the zero byte, Go and GNU tar up to the size.
    long = header(b"././@LongLink", "L", octal(4)) + padded(b"evil/METADATA")
    assert refused(long + FILE + END) is Reason.LAYER_AMBIGUOUS


@pytest.mark.parametrize("front", [pax_header({"path": "x"}), gnu_long(b"x"), gnu_long(b"x", "K")])
def test_an_extended_header_without_an_entry_is_refused(front: bytes) -> None:
    assert refused(FILE + front + END) is Reason.LAYER_CORRUPT
    assert refused(FILE + front) is Reason.LAYER_CORRUPT


def test_names_stated_in_two_ways_are_refused() -> None:
    file = header(b"x", "0", octal(0)) + END
    assert refused(pax_header({"path": "a"}) + gnu_long(b"b") + file) is Reason.LAYER_AMBIGUOUS
    assert refused(gnu_long(b"b") + pax_header({"linkpath": "a"}) + file) is Reason.LAYER_AMBIGUOUS
    assert refused(pax_header({"path": "a"}) + pax_header({"mtime": "1"}) + file) is Reason.LAYER_AMBIGUOUS
    assert refused(gnu_long(b"a") + gnu_long(b"b") + file) is Reason.LAYER_AMBIGUOUS
    assert refused(gnu_long(b"a\0b") + file) is Reason.LAYER_AMBIGUOUS
    # The standard library takes the empty name, others the short one.
    assert refused(gnu_long(b"") + file) is Reason.LAYER_AMBIGUOUS
    assert refused(pax_header({"path": ""}) + file) is Reason.LAYER_AMBIGUOUS
    twice = pax_record("path", "a") + pax_record("path", "b")
    assert refused(header(b"p", "x", octal(len(twice))) + padded(twice) + file) is Reason.LAYER_AMBIGUOUS
    zero = pax_record("path", "a\0b")
    assert refused(header(b"p", "x", octal(len(zero))) + padded(zero) + file) is Reason.LAYER_AMBIGUOUS


def test_attributes_may_hold_zero_bytes() -> None:
    data = pax_header({"SCHILY.xattr.security.capability": "\1\0\0\2"}) + FILE + END
    assert names(data) == ["good"]


def test_a_file_named_as_a_directory_is_refused() -> None:
    assert refused(header(b"x/", "0", octal(0)) + END) is Reason.LAYER_AMBIGUOUS
    assert refused(header(b"x/", "\0", octal(0)) + END) is Reason.LAYER_AMBIGUOUS


@pytest.mark.parametrize("type_", list("23456"))
def test_links_and_devices_with_a_size_are_refused(type_: str) -> None:
    assert refused(header(b"x", type_, octal(5), b"t") + padded(b"hello") + END) is Reason.LAYER_AMBIGUOUS
    data = pax_header({"size": "512"}) + header(b"x", type_, octal(0), b"t") + bytes(512) + END
    assert refused(data) is Reason.LAYER_AMBIGUOUS


@pytest.mark.parametrize("type_", list("SVMDNAZ8"))
def test_types_that_programs_read_differently_are_refused(type_: str) -> None:
    assert refused(header(b"x", type_, octal(0)) + END) is Reason.LAYER_AMBIGUOUS


@pytest.mark.parametrize("key", ["path", "linkpath", "size", "SCHILY.xattr.trusted.overlay.opaque", "GNU.sparse.name"])
def test_a_global_header_that_changes_entries_is_refused(key: str) -> None:
    assert refused(pax_header({key: "1"}, "g") + FILE + END) is Reason.LAYER_AMBIGUOUS


def test_a_global_comment_does_no_harm() -> None:
    assert names(pax_header({"comment": "0123456789"}, "g") + FILE + END) == ["good"]


def test_sparse_files_are_refused() -> None:
    assert refused(pax_header({"GNU.sparse.major": "1", "GNU.sparse.name": "evil"}) + FILE + END) is Reason.LAYER_AMBIGUOUS


@pytest.mark.parametrize(
    "body",
    [b"5 x=\n", b"x path=a\n", b"999 path=a\n", b"0 path=a\n", b"8 path=a", b"9 path-a\n", b"-9 path=a\n", b"\xb2\xb2 a=b\n"],
)
def test_malformed_extended_headers_are_refused(body: bytes) -> None:
    data = header(b"p", "x", octal(len(body))) + padded(body) + FILE + END
    if body == b"5 x=\n":
        assert names(data) == ["good"]
    else:
        assert refused(data) is Reason.LAYER_CORRUPT


@pytest.mark.parametrize("size", ["-1", "1.5", "", "\u00b2", "\u0663", "9" * 5000, "0x10"])
def test_a_pax_size_that_is_no_number_is_refused(size: str) -> None:
    assert refused(pax_header({"size": size}) + FILE + END) is Reason.LAYER_CORRUPT


def test_extended_headers_and_names_are_bounded() -> None:
    assert refused(header(b"p", "x", octal(1 << 30)) + FILE) is Reason.LIMIT_EXCEEDED
    assert refused(header(b"p", "L", octal(1 << 30)) + FILE) is Reason.LIMIT_EXCEEDED
    assert refused(gnu_long(b"n" * 5000) + FILE) is Reason.LIMIT_EXCEEDED
    assert refused(pax_header({"linkpath": "n" * 5000}) + FILE) is Reason.LIMIT_EXCEEDED


def test_headers_without_an_entry_keep_nobody_busy() -> None:
    assert refused(pax_header({"comment": "1"}, "g") * 3 + FILE) is Reason.LAYER_AMBIGUOUS
