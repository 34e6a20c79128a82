"""Archives on the path."""

import contextlib
import io
import struct
import warnings
import zipfile

import pytest

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.packages.eggs import MAX_ARCHIVE
from lockstep.environment.tree import Entry, EntryTree, FileKind
from tests.fakes.installed import packages_on
from tests.fakes.roots import tree

INFO = "EGG-INFO/PKG-INFO"
EGG = "/site/Old-1.0-py3.11.egg"


def archive(*members: tuple[str, str], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, body in members:
            file.writestr(name, body)
    return stream.getvalue()


GOOD = archive(("old/__init__.py", ""), (INFO, "Name: Old\nVersion: 1.0\n"))


def found(body: bytes, path: str = EGG) -> dict[str, str]:
    return {one.name: one.version for one in packages_on(tree({path: body}), [path])}


def refusal(body: bytes, path: str = EGG) -> Reason:
    with pytest.raises(CatalogueError) as caught:
        found(body, path)
    return caught.value.reason


def test_a_zipped_egg_holds_a_distribution() -> None:
    assert found(GOOD) == {"old": "1.0"}


def test_what_stands_before_an_archive_is_skipped_as_zipimport_does() -> None:
    assert found(b"#!/usr/bin/env python3\n" + GOOD) == {"old": "1.0"}


def test_a_file_that_is_no_archive_brings_nothing() -> None:
    assert found(b"text", "/site/readme") == {}
    assert found(b"", EGG) == {}


def test_an_empty_archive_brings_nothing() -> None:
    assert found(archive(), "/usr/lib/python311.zip") == {}
    assert found(archive(("folder/", "")), "/usr/lib/python311.zip") == {}


@pytest.mark.parametrize("name", ["evil.py", "numpy-9.dist-info/METADATA", INFO])
def test_an_archive_other_than_an_egg_that_holds_anything_can_not_be_told(name: str) -> None:
    assert refusal(archive((name, "")), "/site/x.zip") is Reason.INTERPRETER_AMBIGUOUS


def test_an_egg_without_metadata_can_not_be_told() -> None:
    assert refusal(archive(("evil.py", ""))) is Reason.INTERPRETER_AMBIGUOUS


def test_an_egg_that_was_not_kept_can_not_be_told() -> None:
    kept_nothing = EntryTree({EGG: Entry(FileKind.FILE, why_unread="too large")})
    with pytest.raises(CatalogueError) as caught:
        packages_on(kept_nothing, [EGG])
    assert caught.value.reason is Reason.INTERPRETER_AMBIGUOUS


def test_a_large_archive_is_not_read() -> None:
    assert refusal(bytes(MAX_ARCHIVE) + GOOD) is Reason.INTERPRETER_AMBIGUOUS


def test_many_names_are_not_read() -> None:
    assert refusal(archive(*((f"{n:0>200}", "") for n in range(5000)))) is Reason.INTERPRETER_AMBIGUOUS


def test_metadata_is_read_up_to_a_limit() -> None:
    assert refusal(archive((INFO, "Name: x\nVersion: 1\n" + " " * (2 << 20)))) is Reason.METADATA_INVALID


def test_a_member_that_is_there_twice_is_refused() -> None:
    assert refusal(archive((INFO, "Name: a\nVersion: 1\n"), (INFO, "Name: a\nVersion: 2\n"))) is Reason.METADATA_INVALID


def patched(body: bytes, offset: int, fmt: str, value: int) -> bytes:
    """Change a field of the first entry of the central directory (APPNOTE 4.3.12)."""
    at = body.index(b"PK\x01\x02") + offset
    return body[:at] + struct.pack(fmt, value) + body[at + struct.calcsize(fmt) :]


def test_an_encrypted_member_is_refused() -> None:
    assert refusal(patched(GOOD, 8, "<H", 1)) is Reason.METADATA_INVALID


def test_members_that_overlap_are_refused() -> None:
    assert refusal(patched(GOOD, 20, "<I", 100)) is Reason.METADATA_INVALID


@pytest.mark.parametrize("cut", [1, 10])
def test_an_archive_that_ends_early_or_goes_on_is_refused(cut: int) -> None:
    assert refusal(GOOD[:-cut]) is Reason.METADATA_INVALID
    assert refusal(GOOD + b"x" * cut) is Reason.METADATA_INVALID


@pytest.mark.parametrize("at", range(0, len(GOOD), 3))
def test_a_broken_archive_does_no_harm(at: int) -> None:
    for value in (b"\xff\xff\xff\xff", bytes(4)):
        with contextlib.suppress(CatalogueError):
            found(GOOD[:at] + value + GOOD[at + 4 :])
