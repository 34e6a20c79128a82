"""What is captured in a training process, and the file system that it is read from."""

import os
import sys
from pathlib import Path

import pytest

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.document import EnvironmentDocument, RequiredProof
from lockstep.environment.tree import FileKind, UnreadableFileError
from lockstep.training import capture_environment
from lockstep.training.host import HostTree


def test_the_document_is_one_that_can_be_read_back_and_is_the_same_each_time() -> None:
    document = capture_environment(required=["pytest", "pydantic", "pytest"], proof=RequiredProof.PROVEN)
    assert EnvironmentDocument.parse(document.canonical()) == document
    assert document.digest == capture_environment(required=["pydantic", "pytest"], proof=RequiredProof.PROVEN).digest
    assert document.required == ("pydantic", "pytest")
    assert document.python.implementation == sys.implementation.name


def test_what_a_new_path_brings_is_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "own-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Name: own\nVersion: 1.0\n")
    assert "own" not in {package.name for package in capture_environment().packages}
    monkeypatch.syspath_prepend(str(tmp_path))
    assert ("own", "1.0") in {(package.name, package.version) for package in capture_environment().packages}


def test_metadata_that_no_document_can_hold_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "own-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Name: own\nVersion: 1\x0b0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(CatalogueError) as caught:
        capture_environment()
    assert caught.value.reason is Reason.METADATA_INVALID


def test_a_host_tree_reads_below_its_root(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").write_bytes(b"x")
    os.symlink("folder", tmp_path / "link")
    os.mkfifo(tmp_path / "pipe")
    tree = HostTree(str(tmp_path.resolve()))
    kinds = {path: tree.kind(path) for path in ("/folder", "/link", "/link/file", "/pipe", "/none")}
    assert kinds == {
        "/folder": FileKind.DIRECTORY,
        "/link": FileKind.SYMLINK,
        "/link/file": FileKind.FILE,
        "/pipe": FileKind.OTHER,
        "/none": None,
    }
    assert tree.resolve("/link/file") == "/folder/file"
    assert tree.resolve("/none") is None
    assert tree.listdir("/link") == ["file"]
    assert tree.listdir("/none") == []
    assert tree.read("/link/file") == b"x"
    assert tree.read("/folder") is None
    assert tree.read("/pipe") is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_can_not_be_read_is_no_missing_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "file").chmod(0)
    with pytest.raises(UnreadableFileError):
        HostTree(str(tmp_path.resolve())).read("/file")
