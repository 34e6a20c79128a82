"""The tree of an image's files."""

from pathlib import Path

import pytest

from lockstep.environment.tree import Entry, EntryTree, FileKind, UnreadableFileError
from lockstep.training.host import HostTree
from tests.fakes.roots import To, tree


def test_links_are_followed_in_every_part_of_a_path() -> None:
    files = tree({"/real/dir/file": "x", "/lnk": To("real"), "/real/here": To("./dir"), "/abs": To("/lnk/here")})
    assert files.resolve("/lnk/here/file") == "/real/dir/file"
    assert files.read("/abs/file") == b"x"
    assert files.listdir("/abs") == ["file"]


def test_relative_links_start_where_the_link_stands() -> None:
    files = tree({"/a/b/lnk": To("../c"), "/a/c/file": "x", "/a/lnk2": To("b/lnk/file")})
    assert files.read("/a/b/lnk/file") == b"x"
    assert files.resolve("/a/lnk2") == "/a/c/file"


def test_dots_after_a_link_leave_from_its_target() -> None:
    assert tree({"/a/lnk": To("/x/y"), "/x/y/z": "", "/x/f": "1"}).read("/a/lnk/../f") == b"1"


def test_nothing_leads_out_of_the_root() -> None:
    files = tree({"/etc/passwd": "x", "/lnk": To("../../../etc/passwd")})
    assert files.resolve("/../../etc/passwd") == "/etc/passwd"
    assert files.read("/lnk") == b"x"


def test_loops_lead_nowhere() -> None:
    files = tree({"/a": To("b"), "/b": To("a"), "/self": To("self"), "/grow": To("grow/x")})
    for path in ("/a", "/b/c", "/self", "/grow"):
        assert files.resolve(path) is None
        assert files.read(path) is None
        assert files.listdir(path) == []


def test_a_file_has_nothing_below_and_no_parent() -> None:
    files = tree({"/f": "x", "/g": "y"})
    assert files.resolve("/f/x") is None
    assert files.resolve("/f/../g") is None


def test_kinds_are_told_of_the_last_part_itself() -> None:
    files = EntryTree(
        {
            "/d/f": Entry(FileKind.FILE, body=b""),
            "/lnk": Entry(FileKind.SYMLINK, target="d"),
            "/null": Entry(FileKind.OTHER),
        }
    )
    assert files.kind("/lnk") is FileKind.SYMLINK
    assert files.kind("/lnk/f") is FileKind.FILE
    assert files.kind("/d") is FileKind.DIRECTORY
    assert files.kind("/null") is FileKind.OTHER
    assert files.kind("/") is FileKind.DIRECTORY
    assert files.kind("/absent/x") is None
    assert files.read("/null") is None
    assert files.read("/d") is None


def test_parents_that_were_left_out_exist() -> None:
    files = tree({"/a/b/c": "x", "/a/b/d": "y"})
    assert files.listdir("/") == ["a"]
    assert files.listdir("/a/b") == ["c", "d"]


def test_a_body_that_was_not_kept_is_no_absent_file() -> None:
    files = EntryTree({"/big": Entry(FileKind.FILE, why_unread="it is too large")})
    with pytest.raises(UnreadableFileError, match="it is too large"):
        files.read("/big")


def test_where_a_path_leads_is_told_also_through_what_is_not_there(tmp_path: Path) -> None:
    links = {"/a/link": "/tmp/later", "/a/up": "../b", "/tmp/round": "/tmp/round"}
    files: dict[str, Entry] = {path: Entry(FileKind.SYMLINK, target=target) for path, target in links.items()}
    files |= {"/b/file": Entry(FileKind.FILE, body=b""), "/a/dir": Entry(FileKind.DIRECTORY)}
    held = EntryTree(files)
    for path, target in links.items():
        real = tmp_path / path[1:]
        real.parent.mkdir(exist_ok=True)
        # Within the root that a process sees, which this test is not in.
        real.symlink_to(f"{tmp_path}{target}" if target.startswith("/") else target)
    (tmp_path / "b").mkdir()
    (tmp_path / "b/file").write_bytes(b"")
    (tmp_path / "a/dir").mkdir()
    for path, leads in (
        ("/a/link/lib", "/tmp/later/lib"),
        ("/a/up/x/../file", "/b/file"),
        ("/none/../a/dir/", "/a/dir"),
        ("/", "/"),
    ):
        assert held.destination(path) == leads
        assert HostTree(str(tmp_path)).destination(path) == leads
    assert held.destination("/tmp/round/x").startswith("/tmp/round")
