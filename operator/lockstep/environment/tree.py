"""The view of a root file system that the catalogue reads.

Two things provide it: the training process (its own `/`) and the layer scan (the squashed files of an image). Because the
catalogue knows nothing else, both sides derive their document with the same code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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

    def executable(self, path: str) -> bool | None:
        """Tell whether everybody (True) or nobody (False) may execute the file that `path` leads to; None for some only."""
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


@dataclass(frozen=True)
class Entry:
    """What stands at one path of an `EntryTree`. `body` is None where a file's body was not kept."""

    kind: FileKind
    target: str = ""
    """Of a symbolic link: its text."""
    body: bytes | None = None
    why_unread: str = ""
    """Why a file has no body."""
    executable: bool | None = True
    """Of a file: whether everybody or nobody may execute it; None for some only."""


def executable_by(mode: int) -> bool | None:
    """Return who may execute a file by its mode bits, as `Entry.executable` says it."""
    bits = mode & 0o111
    return bits == 0o111 if bits in (0, 0o111) else None


_MAX_LINKS = 40
"""Linux follows at most this many symbolic links in one path (path_resolution(7))."""


class EntryTree:
    """A file tree held in memory: the squashed files of an image."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = {"/": Entry(FileKind.DIRECTORY)} | dict(entries)
        self._children: dict[str, set[str]] = {}
        for path in list(self._entries):
            while path != "/":
                parent, _, name = path.rpartition("/")
                parent = parent or "/"
                siblings = self._children.setdefault(parent, set())
                if name in siblings:
                    break
                siblings.add(name)
                # Archives may leave parents out; runtimes make them.
                self._entries.setdefault(parent, Entry(FileKind.DIRECTORY))
                path = parent

    def kind(self, path: str) -> FileKind | None:
        """See `FileTree.kind`."""
        parent, _, name = path.rstrip("/").rpartition("/")
        if not name:
            return FileKind.DIRECTORY
        resolved = self.resolve(parent or "/")
        entry = self._entries.get(_join(resolved, name)) if resolved else None
        return entry.kind if entry else None

    def resolve(self, path: str) -> str | None:
        """See `FileTree.resolve`."""
        parts = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        here, links = "/", 0
        while parts:
            part = parts.pop()
            if self._entries[here].kind is not FileKind.DIRECTORY:
                return None
            if part == "..":
                here = here.rpartition("/")[0] or "/"
                continue
            entry = self._entries.get(following := _join(here, part))
            if entry is None:
                return None
            if entry.kind is FileKind.SYMLINK:
                links += 1
                if links > _MAX_LINKS:
                    return None
                if entry.target.startswith("/"):
                    here = "/"
                parts.extend(step for step in reversed(entry.target.split("/")) if step not in ("", "."))
            else:
                here = following
        return here

    def listdir(self, path: str) -> Sequence[str]:
        """See `FileTree.listdir`."""
        resolved = self.resolve(path)
        return sorted(self._children.get(resolved, ())) if resolved else []

    def executable(self, path: str) -> bool | None:
        """See `FileTree.executable`."""
        resolved = self.resolve(path)
        entry = self._entries.get(resolved) if resolved else None
        return entry.executable if entry is not None and entry.kind is FileKind.FILE else False

    def read(self, path: str) -> bytes | None:
        """See `FileTree.read`."""
        resolved = self.resolve(path)
        entry = self._entries.get(resolved) if resolved else None
        if entry is None or entry.kind is not FileKind.FILE:
            return None
        if entry.body is None:
            raise UnreadableFileError(path, entry.why_unread or "its body was not kept")
        return entry.body


def _join(folder: str, name: str) -> str:
    return f"/{name}" if folder == "/" else f"{folder}/{name}"
