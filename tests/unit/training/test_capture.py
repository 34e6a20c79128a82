"""What is captured in a training process, and the file system that it is read from."""

import os
import struct
import sys
from pathlib import Path

import pytest

from lockstep.api.reasons import Reason
from lockstep.environment.binaries.sharedobject import SharedObject, Undetermined, read_shared_object
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.document import EnvironmentDocument, RequiredProof
from lockstep.environment.tree import FileKind, UnreadableFileError
from lockstep.training import capture_environment
from lockstep.training.gpu import gpu
from lockstep.training.host import HostTree
from tests.fakes.roots import shared


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


def test_a_process_that_has_imported_its_packages_lacks_none_of_their_libraries() -> None:
    import numpy.linalg

    missing = {package.name: package.missing for package in capture_environment().packages}
    assert missing[numpy.__name__] == ()
    assert missing["pydantic-core"] == ()


def test_a_library_that_this_machine_does_not_have_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "own-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Name: own\nVersion: 1.0\n")
    (folder / "RECORD").write_text("own.so,,\n")
    with open(Path(sys.executable).resolve(), "rb") as file:
        python = read_shared_object(file)
    assert python is not None
    # For the machine that runs, which the number in its header tells.
    machine = struct.unpack_from("<H", Path(sys.executable).resolve().read_bytes()[:64], 18)[0]
    (tmp_path / "own.so").write_bytes(shared("libnowhere.so.7", machine=machine, bits=python.bits))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert {package.name: package.missing for package in capture_environment().packages}["own"] == ("libnowhere.so.7",)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/libnowhere.so.7").write_bytes(shared(machine=machine, bits=python.bits))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path / "lib"))
    assert {package.name: package.missing for package in capture_environment().packages}["own"] == ()


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
    (tmp_path / "lib.so").write_bytes(shared("liba.so"))
    found = tree.shared_object("/lib.so")
    assert isinstance(found, SharedObject)
    assert found.needed == ("liba.so",)
    assert tree.shared_object("/link/file") is Undetermined.NO_OBJECT
    assert tree.shared_object("/folder") is tree.shared_object("/none") is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_can_not_be_read_is_no_missing_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "file").chmod(0)
    with pytest.raises(UnreadableFileError):
        HostTree(str(tmp_path.resolve())).read("/file")


def test_graphics_cards_are_recorded_and_null_says_that_there_are_none() -> None:
    document = capture_environment(required=[])
    assert document.hardware["gpu"] == gpu()
    assert b'"gpu":' in document.canonical()


def test_the_code_that_was_given_and_the_start_up_hooks_are_recorded() -> None:
    code = {"fraud/features.py": "sha256:" + "a" * 64}
    document = capture_environment(required=[], code=code)
    assert document.code == code
    assert document.startup is not None
    assert EnvironmentDocument.parse(document.canonical()) == document


def test_only_the_files_of_what_the_model_needs_are_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "own-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Name: own\nVersion: 1.0\n")
    (folder / "RECORD").write_text("own.py,sha256=AAA,1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    changed = {
        needed: next(p.changed for p in capture_environment(required=[needed]).packages if p.name == "own")
        for needed in ("own", "other")
    }
    assert changed == {"own": ("own.py",), "other": None}
