"""Alpine's package database."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.system.apk import add_installed, apk
from lockstep.environment.catalogue.system.database import PackageDatabase
from tests.fakes.roots import To, tree

ENTRY = "C:Q1abc=\nP:musl\nV:1.2.5-r0\nA:x86_64\nS:383459\nT:the musl c library\nF:lib\nR:ld-musl-x86_64.so.1\na:0:0:755\n"
OTHER = "P:libgomp\nV:13.2.1_git20240309-r0\nA:x86_64\n"


def test_alpines_packages_are_read() -> None:
    found = apk(tree({"/lib/apk/db/installed": f"{ENTRY}\n{OTHER}\n"}))
    assert found == {"musl": "1.2.5-r0", "libgomp": "13.2.1_git20240309-r0"}


def test_a_merged_usr_shows_one_file_twice() -> None:
    assert apk(tree({"/lib": To("usr/lib"), "/usr/lib/apk/db/installed": ENTRY})) == {"musl": "1.2.5-r0"}


def test_two_databases_count_together_and_must_not_contradict_each_other() -> None:
    both = {"/lib/apk/db/installed": ENTRY, "/usr/lib/apk/db/installed": OTHER}
    assert apk(tree(both)).keys() == {"musl", "libgomp"}
    with pytest.raises(CatalogueError, match="musl is installed twice"):
        apk(tree(both | {"/usr/lib/apk/db/installed": ENTRY.replace("1.2.5", "1.2.4")}))


@pytest.mark.parametrize(
    "body",
    ["P:musl\nA:x86_64\n", "V:1\n", "P:musl\nV:1\nV:2\n", "P:\nV:1\n", "P:musl\nV:1\nnothing\n", "ADB.", f"{ENTRY}\n\0\0\0"],
)
def test_a_malformed_database_is_refused(body: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        apk(tree({"/lib/apk/db/installed": body}))
    assert caught.value.reason is Reason.SYSTEM_UNVERIFIABLE


def test_an_empty_database_has_no_packages() -> None:
    assert apk(tree({"/lib/apk/db/installed": ""})) == {}


@given(st.binary(max_size=200) | st.lists(st.sampled_from([b"P:a", b"V:1", b"A:", b"\n", b"\xff"]), max_size=30).map(b"".join))
def test_whatever_the_bytes_are_they_give_packages_or_a_refusal(body: bytes) -> None:
    found = PackageDatabase()
    with contextlib.suppress(CatalogueError):
        add_installed(found, body, "/installed")
    assert all(found.packages().values())
