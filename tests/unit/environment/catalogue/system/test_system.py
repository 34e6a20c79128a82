"""Distribution, system packages and the C library."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.native.libc import libc
from lockstep.environment.catalogue.system.database import MAX_PACKAGES, PackageDatabase
from lockstep.environment.catalogue.system.dpkg import add_status
from lockstep.environment.catalogue.system.stanzas import MAX_LINES, stanzas
from lockstep.environment.catalogue.system.system import distribution, system
from tests.fakes.roots import Files, To, debian, tree

HEADS = [b"Package: ", b"Version: ", b"Status: ", b"Architecture: "]


def packages(status: str, more: Files | None = None) -> dict[str, str]:
    return system(tree({"/var/lib/dpkg/status": status}, more or {}), "/usr").packages


def stanza(name: str, version: str, status: str = "install ok installed", architecture: str = "amd64") -> str:
    return (
        f"Package: {name}\nStatus: {status}\nArchitecture: {architecture}\nVersion: {version}\nDescription: d\n more: x\n .\n\n"
    )


def test_debian_is_read() -> None:
    found = system(tree(debian()), "/usr")
    assert found.distribution == "debian 12"
    assert found.packages == {"libc6": "2.36-9+deb12u9", "libgomp1": "12.2.0-14"}


def test_removed_packages_whose_settings_stay_are_not_installed() -> None:
    removed = stanza("gone", "1", "deinstall ok config-files")
    assert packages(removed + stanza("here", "2") + stanza("held", "3", "hold ok installed")) == {"here": "2", "held": "3"}


def test_a_removed_package_may_lack_a_version() -> None:
    assert packages("Package: gone\nStatus: deinstall ok not-installed\n\n" + stanza("here", "2")) == {"here": "2"}


def test_a_removed_package_may_lack_a_version_in_a_file_of_its_own_too() -> None:
    text = "Package: x\nStatus: deinstall ok config-files\n"
    assert system(tree({"/var/lib/dpkg/status.d/x": text}), "/usr").packages == {}


def test_an_installed_package_without_a_version_is_refused() -> None:
    with pytest.raises(CatalogueError):
        packages("Package: x\nStatus: install ok installed\n")


def test_several_architectures_of_one_package_are_kept_apart() -> None:
    both = stanza("libc6", "1") + stanza("libc6", "2", architecture="i386") + stanza("one", "3")
    assert packages(both) == {"libc6:amd64": "1", "libc6:i386": "2", "one": "3"}


def test_a_second_version_of_one_architecture_is_refused() -> None:
    once = stanza("x", "1") + stanza("x", "1")
    assert packages(once) == {"x": "1"}
    with pytest.raises(CatalogueError, match="x is installed twice: 1 and 2") as caught:
        packages(once + stanza("x", "2"))
    assert caught.value.reason is Reason.SYSTEM_UNVERIFIABLE
    with pytest.raises(CatalogueError):
        packages(stanza("x", "1"), {"/var/lib/dpkg/status.d/x": "Package: x\nVersion: 2\nArchitecture: amd64\n"})


def test_an_entry_that_states_a_field_twice_is_refused() -> None:
    with pytest.raises(CatalogueError, match="Version twice"):
        packages("Package: x\nVersion: 1\nStatus: install ok installed\nversion: 2\n")


@pytest.mark.parametrize("state", ["unpacked", "half-configured", "triggers-pending", "triggers-awaited"])
def test_packages_whose_files_are_there_count_though_they_are_not_configured(state: str) -> None:
    assert packages(stanza("x", "1", f"install ok {state}")) == {"x": "1"}


@pytest.mark.parametrize("name", ["a\x1b[31mb", "a\x07", "x" * 513, "a\u2028b"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(CatalogueError):
        packages(f"Package: {name}\nVersion: 1\n")


def test_databases_of_several_package_managers_are_read_side_by_side() -> None:
    more: Files = {"/lib/apk/db/installed": "P:musl\nV:1.2.5-r0\nA:x86_64\n", "/var/lib/rpm": None}
    assert packages(stanza("x", "1"), more) == {"x": "1", "musl": "1.2.5-r0"}
    with pytest.raises(CatalogueError, match="another package manager has 2"):
        packages(stanza("musl", "2"), more)


@given(st.binary(max_size=200) | st.lists(st.sampled_from([*HEADS, b"1", b"\n", b" ", b"\xff"]), max_size=30).map(b"".join))
def test_whatever_the_bytes_are_a_status_file_gives_packages_or_a_refusal(body: bytes) -> None:
    found = PackageDatabase()
    with contextlib.suppress(CatalogueError):
        add_status(found, body, "/status")
    assert all(found.packages().values())


def test_a_database_of_empty_lines_or_packages_without_end_is_bounded() -> None:
    assert list(stanzas(b"\n" * 1_000_000, "/x")) == []
    with pytest.raises(CatalogueError, match="lines"):
        list(stanzas(b"\n" * (MAX_LINES + 1), "/x"))
    found = PackageDatabase()
    for number in range(MAX_PACKAGES):
        found.add(f"p{number}", "", "1", "/x")
    with pytest.raises(CatalogueError, match="more than"):
        found.add("one-more", "", "1", "/x")


def test_distroless_keeps_one_file_a_package() -> None:
    folder = "/var/lib/dpkg/status.d"
    more: Files = {
        f"{folder}/libc6": "Package: libc6\nVersion: 2.36\nArchitecture: amd64\n",
        f"{folder}/libc6.md5sums": "0123  usr/lib/libc.so.6\n",
    }
    assert system(tree(more), "/usr").packages == {"libc6": "2.36"}


def test_unicode_line_separators_make_no_fields() -> None:
    head = "Package: x\nStatus: install ok installed\n"
    assert packages(head + "Version: 1\nDescription: d\u2028Version: 9\n") == {"x": "1"}


@pytest.mark.parametrize("os_release", ["ID=debian\n", "ID=alpine\n", "ID=rhel\n", "ID=wolfi\n", ""])
def test_a_distribution_without_a_database_has_no_packages(os_release: str) -> None:
    found = system(tree({"/etc/os-release": os_release, "/var/lib/rpm": None, "/lib/apk/db": None}), "/usr")
    assert (found.packages, found.conda) == ({}, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ID=alpine\nVERSION_ID=3.20.1\n", "alpine 3.20.1"),
        ("ID='arch'\n", "arch"),
        ('NAME="x"\nVERSION_ID="9"\nID="rocky"\n', "rocky 9"),
        ("", None),
    ],
)
def test_os_release_is_read(text: str, expected: str | None) -> None:
    assert distribution(tree({"/etc/os-release": text})) == expected


def test_os_release_may_be_a_link() -> None:
    assert distribution(tree({"/etc/os-release": To("../usr/lib/os-release"), "/usr/lib/os-release": "ID=x\n"})) == "x"


def test_glibc_states_its_version_through_links() -> None:
    assert libc(tree(debian()), "x86_64") == "glibc 2.36"


def test_musl_states_its_version() -> None:
    body = b"\x7fELF\0musl libc (x86_64)\nVersion %s\n\0" + b"1.2.5\0"
    assert libc(tree({"/lib/ld-musl-x86_64.so.1": body}), "x86_64") == "musl 1.2.5"


def test_musls_package_states_its_version_where_the_loader_does_not() -> None:
    files: Files = {"/lib/ld-musl-x86_64.so.1": b"\x7fELF", "/lib/apk/db/installed": "P:musl\nV:1.2.4_git20230717-r4\n"}
    assert libc(tree(files), "x86_64") == "musl 1.2.4"
    assert libc(tree({"/lib/ld-musl-x86_64.so.1": b"\x7fELF"}), "x86_64") == "musl"


def test_no_library_is_no_version() -> None:
    assert libc(tree({}), "x86_64") is None


@pytest.mark.parametrize("body", [b"GNU C Library (" * 500_000, b"1" * 8_000_000, b"1." * 4_000_000])
def test_a_hostile_library_keeps_nobody_busy(body: bytes) -> None:
    assert libc(tree({"/lib/x86_64-linux-gnu/libc.so.6": body}), "x86_64") is None
    libc(tree({"/lib/ld-musl-x86_64.so.1": body}), "x86_64")
