"""The view of a root file system that the catalogue reads.

Two things provide it: the training process (its own `/`) and the layer scan (the squashed files of an image). Because the
catalogue knows nothing else, both sides derive their document with the same code.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from lockstep.environment.binaries.program import Program, program_of
from lockstep.environment.binaries.sharedobject import SharedObject, Undetermined, shared_object_of
from lockstep.formats.canonical import sha256_of


class FileKind(StrEnum):
    """What stands at a path, symbolic links not followed."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    OTHER = "other"


HEAD = 16
"""Bytes of a file that `FileTree.head` gives: as many as the header of CPython's byte code has (PEP 552)."""


@dataclass(frozen=True, slots=True)
class FileStat:
    """What is known of a regular file beside its content."""

    size: int
    """In bytes."""
    modified: int
    """Whole seconds since the epoch."""
    layer: int = 0
    """Number of the image layer that brought its content, the lowest being 0; 0 on a host."""
    put: int = 0
    """Number of the last image layer that holds it, with whichever content."""


class FileTree(Protocol):
    """A read-only root file system. Paths are absolute POSIX paths (`/usr/lib/...`), normalised, without `..`."""

    def kind(self, path: str) -> FileKind | None:
        """Return the kind of what stands at `path` itself (links in its parents are followed), or None when nothing does."""
        ...

    def resolve(self, path: str) -> str | None:
        """Follow every symbolic link in `path` inside this root; None when it leads nowhere or loops."""
        ...

    def destination(self, path: str) -> str:
        """Return where `path` leads, or would if what it leads to were there: every symbolic link on the way is followed."""
        ...

    def listdir(self, path: str) -> Sequence[str]:
        """Return the sorted names in the directory that `path` leads to; empty when it is none."""
        ...

    def executable(self, path: str) -> bool | None:
        """Return whether everybody (True) or nobody (False) may execute the file that `path` leads to; None for some only."""
        ...

    def read(self, path: str) -> bytes | None:
        """Return the body of the regular file that `path` leads to; None when there is none.

        Raises:
            UnreadableFileError: the file exists but its body was not kept (larger than the limit for its kind).
        """
        ...

    def sha256(self, path: str) -> str | None:
        """Return the digest (`sha256:…`) of the regular file that `path` leads to; None when there is none.

        Raises:
            UnreadableFileError: the file exists but is of a kind that is not hashed.
        """
        ...

    def digest(self, path: str, algorithm: str) -> str | None:
        """Return the md5 or sha1 digest in hexadecimal digits, as package managers know it; None when there is no file.

        Raises:
            UnreadableFileError: the file exists but is of a kind of which they are not taken.
        """
        ...

    def head(self, path: str) -> bytes | None:
        """Return the first `HEAD` bytes of the regular file that `path` leads to; None when there is none.

        Raises:
            UnreadableFileError: the file exists but is of a kind whose first bytes are not kept.
        """
        ...

    def program(self, path: str) -> Program | None:
        """Return what the binary that `path` leads to says of itself; None when there is no such file.

        Raises:
            UnreadableFileError: the file exists but is of a kind that was not examined, or too large for it.
        """
        ...

    def stat(self, path: str) -> FileStat | None:
        """Return size and times of the regular file that `path` leads to; None when there is none.

        Raises:
            UnreadableFileError: the file exists but is of a kind of which nothing is kept.
        """
        ...

    def shared_object(self, path: str) -> SharedObject | Undetermined | None:
        """Return what the regular file that `path` leads to needs as a shared object; None when there is no file."""
        ...


class UnreadableFileError(Exception):
    """A file that is evidence exists but can't be read; the document can't be determined, so nothing may pass on it."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path
        self.why = why


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands at one path of an `EntryTree`. Of a file, what was not kept is None."""

    kind: FileKind
    target: str = ""
    """Of a symbolic link: its text."""
    body: bytes | None = None
    why_unread: str = ""
    """Why a file has no body."""
    sha256: str | None = None
    legacy: tuple[bytes, bytes] | None = None
    """Of a file: its md5 and sha1 digests."""
    head: bytes | None = None
    stat: FileStat | None = None
    program: Program | None = None
    executable: bool | None = True
    """Of a file: whether everybody or nobody may execute it; None for some only."""
    object: SharedObject | Undetermined = Undetermined.NOT_READ
    """Of a file: what it needs as a shared object."""


def executable_by(mode: int) -> bool | None:
    """Return who may execute a file by its mode bits, as `Entry.executable` says it."""
    bits = mode & 0o111
    return bits == 0o111 if bits in (0, 0o111) else None


_MAX_LINKS = 40
"""Linux follows at most this many symbolic links in one path (path_resolution(7))."""


class EntryTree:
    """A file tree held in memory: the squashed files of an image."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = dict(entries)
        self._entries.setdefault("/", Entry(FileKind.DIRECTORY))
        self._children: dict[str, set[str]] = {}
        self._tidy = True
        """True when nothing stands below a link or a file, so that most paths need not be walked."""
        for path in list(self._entries):
            while path != "/":
                parent, _, name = path.rpartition("/")
                parent = parent or "/"
                siblings = self._children.setdefault(parent, set())
                if name in siblings:
                    break
                siblings.add(name)
                # Archives may leave parents out; runtimes make them.
                above = self._entries.setdefault(parent, Entry(FileKind.DIRECTORY))
                self._tidy = self._tidy and above.kind is FileKind.DIRECTORY
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
        if self._tidy:
            entry = self._entries.get(path)
            if entry is not None and entry.kind is not FileKind.SYMLINK:
                return path
            parent, _, name = path.rpartition("/")
            above = self._entries.get(parent or "/")
            if entry is None and name not in ("", ".", "..") and above is not None and above.kind is FileKind.DIRECTORY:
                return None
        return self._walk(path)

    def destination(self, path: str) -> str:
        """See `FileTree.destination`."""
        parts = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        here, links = "/", 0
        while parts:
            part = parts.pop()
            entry = self._entries.get(_join(here, part))
            if part == "..":
                here = here.rpartition("/")[0] or "/"
            elif entry is not None and entry.kind is FileKind.SYMLINK and links < _MAX_LINKS:
                links += 1
                here = "/" if entry.target.startswith("/") else here
                parts.extend(step for step in reversed(entry.target.split("/")) if step not in ("", "."))
            else:
                here = _join(here, part)
        return here

    def _walk(self, path: str) -> str | None:
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

    def paths(self, ending: str) -> list[str]:
        """Return the paths that end so, sorted."""
        return sorted(path for path in self._entries if path.endswith(ending))

    def executable(self, path: str) -> bool | None:
        """See `FileTree.executable`."""
        resolved = self.resolve(path)
        entry = self._entries.get(resolved) if resolved else None
        return entry.executable if entry is not None and entry.kind is FileKind.FILE else False

    def read(self, path: str) -> bytes | None:
        """See `FileTree.read`."""
        entry = self._file(path)
        if entry is not None and entry.body is None:
            raise UnreadableFileError(path, entry.why_unread or "its body was not kept")
        return entry.body if entry is not None else None

    def sha256(self, path: str) -> str | None:
        """See `FileTree.sha256`."""
        entry = self._file(path)
        if entry is not None and entry.sha256 is None:
            if entry.body is None:
                raise UnreadableFileError(path, entry.why_unread or "it was not hashed")
            return sha256_of(entry.body)
        return entry.sha256 if entry is not None else None

    def digest(self, path: str, algorithm: str) -> str | None:
        """See `FileTree.digest`."""
        entry = self._file(path)
        if entry is None:
            return None
        if entry.legacy is not None:
            return entry.legacy[("md5", "sha1").index(algorithm)].hex()
        if entry.body is None:
            raise UnreadableFileError(path, entry.why_unread or f"its {algorithm} digest was not taken")
        return hashlib.new(algorithm, entry.body, usedforsecurity=False).hexdigest()

    def head(self, path: str) -> bytes | None:
        """See `FileTree.head`."""
        entry = self._file(path)
        if entry is not None and entry.head is None:
            if entry.body is None:
                raise UnreadableFileError(path, entry.why_unread or "its first bytes were not kept")
            return entry.body[:HEAD]
        return entry.head if entry is not None else None

    def program(self, path: str) -> Program | None:
        """See `FileTree.program`."""
        entry = self._file(path)
        if entry is not None and entry.program is None:
            if entry.body is None:
                raise UnreadableFileError(path, entry.why_unread or "it was not examined")
            return program_of(entry.body)
        return entry.program if entry is not None else None

    def stat(self, path: str) -> FileStat | None:
        """See `FileTree.stat`."""
        entry = self._file(path)
        if entry is not None and entry.stat is None:
            raise UnreadableFileError(path, entry.why_unread or "its size and times were not kept")
        return entry.stat if entry is not None else None

    def shared_object(self, path: str) -> SharedObject | Undetermined | None:
        """See `FileTree.shared_object`."""
        entry = self._file(path)
        if entry is not None and entry.object is Undetermined.NOT_READ and entry.body is not None:
            return shared_object_of(io.BytesIO(entry.body))
        return entry.object if entry is not None else None

    def _file(self, path: str) -> Entry | None:
        resolved = self.resolve(path)
        entry = self._entries.get(resolved) if resolved else None
        return entry if entry is not None and entry.kind is FileKind.FILE else None


def _join(folder: str, name: str) -> str:
    return f"/{name}" if folder == "/" else f"{folder}/{name}"
