"""Distribution, system packages and the C library."""

import pytest

from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.libc import libc
from lockstep.environment.catalogue.system import distribution, system
from tests.fakes.roots import Files, To, debian, tree


def packages(status: str, more: Files | None = None) -> dict[str, str]:
    return system(tree({"/var/lib/dpkg/status": status}, more or {})).packages


def stanza(name: str, version: str, status: str = "install ok installed", architecture: str = "amd64") -> str:
    return (
        f"Package: {name}\nStatus: {status}\nArchitecture: {architecture}\nVersion: {version}\nDescription: d\n more: x\n .\n\n"
    )


def test_debian_is_read() -> None:
    found = system(tree(debian()))
    assert found.distribution == "debian 12"
    assert found.packages == {"libc6": "2.36-9+deb12u9", "libgomp1": "12.2.0-14"}


def test_removed_packages_whose_settings_stay_are_not_installed() -> None:
    removed = stanza("gone", "1", "deinstall ok config-files")
    assert packages(removed + stanza("here", "2") + stanza("held", "3", "hold ok installed")) == {"here": "2", "held": "3"}


def test_a_removed_package_may_lack_a_version() -> None:
    assert packages("Package: gone\nStatus: deinstall ok not-installed\n\n" + stanza("here", "2")) == {"here": "2"}


def test_a_removed_package_may_lack_a_version_in_a_file_of_its_own_too() -> None:
    text = "Package: x\nStatus: deinstall ok config-files\n"
    assert system(tree({"/var/lib/dpkg/status.d/x": text})).packages == {}


def test_an_installed_package_without_a_version_is_refused() -> None:
    with pytest.raises(CatalogueError):
        packages("Package: x\nStatus: install ok installed\n")


def test_several_architectures_of_one_package_are_kept_apart() -> None:
    both = stanza("libc6", "1") + stanza("libc6", "2", architecture="i386") + stanza("one", "3")
    assert packages(both) == {"libc6:amd64": "1", "libc6:i386": "2", "one": "3"}


def test_distroless_keeps_one_file_a_package() -> None:
    folder = "/var/lib/dpkg/status.d"
    more: Files = {
        f"{folder}/libc6": "Package: libc6\nVersion: 2.36\nArchitecture: amd64\n",
        f"{folder}/libc6.md5sums": "0123  usr/lib/libc.so.6\n",
    }
    assert system(tree(more)).packages == {"libc6": "2.36"}


def test_unicode_line_separators_make_no_fields() -> None:
    head = "Package: x\nStatus: install ok installed\n"
    assert packages(head + "Version: 1\nDescription: d\u2028Version: 9\n") == {"x": "1"}


def test_nothing_is_read_where_there_is_nothing() -> None:
    found = system(tree({}))
    assert (found.distribution, found.packages) == (None, {})


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


def test_no_library_is_no_version() -> None:
    assert libc(tree({}), "x86_64") is None


@pytest.mark.parametrize("body", [b"GNU C Library (" * 500_000, b"1" * 8_000_000, b"1." * 4_000_000])
def test_a_hostile_library_keeps_nobody_busy(body: bytes) -> None:
    assert libc(tree({"/lib/x86_64-linux-gnu/libc.so.6": body}), "x86_64") is None
    libc(tree({"/lib/ld-musl-x86_64.so.1": body}), "x86_64")
