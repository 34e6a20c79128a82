"""The view of a root file system that the catalogue reads.

Two things provide it: the training process (its own `/`) and the layer scan (the squashed files of an image). Because the
catalogue knows nothing else, both sides derive their document with the same code.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol


class FileKind(StrEnum):
    """What stands at a path, symbolic links not followed."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    OTHER = "other"


class FileTree(Protocol):
    """A read-only root file system. Paths are absolute POSIX paths (`/usr/lib/...`), normalised, without `..`."""

    def kind(self, path: str) -> FileKind | None:
        """Tell what stands at `path` itself (links in its parents are followed), or None when nothing does."""
        ...

    def resolve(self, path: str) -> str | None:
        """Follow every symbolic link in `path` inside this root; None when it leads nowhere or loops."""
        ...

    def listdir(self, path: str) -> Sequence[str]:
        """Return the sorted names in the directory that `path` leads to; empty when it is none."""
        ...

    def read(self, path: str) -> bytes | None:
        """Return the body of the regular file that `path` leads to; None when there is none.

        Raises:
            UnreadableFileError: the file exists but its body was not kept (larger than the limit for its kind).
        """
        ...


class UnreadableFileError(Exception):
    """A file that is evidence exists but can't be read; the document can't be told, so nothing may pass on it."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path
        self.why = why
