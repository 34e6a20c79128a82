"""Whether a working tree is its commit."""

import subprocess
import sys
import types
from pathlib import Path

import pytest

from lockstep.training.git import dirty_tree


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.com", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a repository whose script is the one that runs."""
    (tmp_path / "train.py").write_text("print()")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "train.py")
    git(tmp_path, "commit", "-q", "-m", "train")
    main = types.ModuleType("__main__")
    main.__file__ = str(tmp_path / "train.py")
    monkeypatch.setitem(sys.modules, "__main__", main)
    return git(tmp_path, "rev-parse", "HEAD")


def test_a_tree_that_is_its_commit_is_clean(commit: str) -> None:
    assert dirty_tree(commit) is False


@pytest.mark.parametrize(
    ("path", "dirty"), [("train.py", True), ("features.py", True), ("lib/a b.py", True), ("model.pkl", False)]
)
def test_what_python_could_import_counts_and_output_does_not(tmp_path: Path, commit: str, path: str, dirty: bool) -> None:
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text("changed")
    assert dirty_tree(commit) is dirty


def test_a_deleted_file_counts(tmp_path: Path, commit: str) -> None:
    (tmp_path / "train.py").unlink()
    assert dirty_tree(commit) is True


def test_another_commit_than_the_recorded_one_can_not_be_told(commit: str) -> None:
    assert dirty_tree("0" * 40) is None


def test_without_git_it_can_not_be_told(commit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert dirty_tree(commit) is None
