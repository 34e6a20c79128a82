"""The file system of the running process, seen as the catalogue sees an image."""

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from lockstep.environment.binaries.program import Program, program_of
from lockstep.environment.binaries.sharedobject import SharedObject, Undetermined, shared_object_of
from lockstep.environment.tree import HEAD, FileKind, FileStat, UnreadableFileError, executable_by


class HostTree:
    """Reads below `root`, which is `/` in a training job. Implements `FileTree`."""

    def __init__(self, root: str = "/") -> None:
        self._root = root.rstrip("/")

    def _real(self, path: str) -> str:
        return f"{self._root}{path}"

    def kind(self, path: str) -> FileKind | None:
        """See `FileTree.kind`."""
        try:
            mode = os.lstat(self._real(path)).st_mode
        except OSError:
            return None
        if stat.S_ISLNK(mode):
            return FileKind.SYMLINK
        if stat.S_ISDIR(mode):
            return FileKind.DIRECTORY
        return FileKind.FILE if stat.S_ISREG(mode) else FileKind.OTHER

    def resolve(self, path: str) -> str | None:
        """See `FileTree.resolve`."""
        try:
            found = os.path.realpath(self._real(path), strict=True)
        except OSError:
            return None
        return found.removeprefix(self._root) or "/"

    def destination(self, path: str) -> str:
        """See `FileTree.destination`."""
        return os.path.realpath(self._real(path)).removeprefix(self._root) or "/"

    def listdir(self, path: str) -> Sequence[str]:
        """See `FileTree.listdir`."""
        try:
            return sorted(os.listdir(self._real(path)))
        except OSError:
            return []

    def executable(self, path: str) -> bool | None:
        """See `FileTree.executable`."""
        try:
            return executable_by(os.stat(self._real(path)).st_mode)
        except OSError:
            return False

    def read(self, path: str) -> bytes | None:
        """See `FileTree.read`."""
        real = Path(self._real(path))
        try:
            return real.read_bytes() if real.is_file() else None
        except OSError as error:
            raise UnreadableFileError(path, error.strerror or "it can't be read") from error

    def sha256(self, path: str) -> str | None:
        """See `FileTree.sha256`."""
        with self._open(path) as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" if file is not None else None

    def digest(self, path: str, algorithm: str) -> str | None:
        """See `FileTree.digest`."""
        with self._open(path) as file:
            return hashlib.file_digest(file, algorithm).hexdigest() if file is not None else None

    def head(self, path: str) -> bytes | None:
        """See `FileTree.head`."""
        with self._open(path) as file:
            return file.read(HEAD) if file is not None else None

    def program(self, path: str) -> Program | None:
        """See `FileTree.program`."""
        body = self.read(path)
        return program_of(body) if body is not None else None

    def stat(self, path: str) -> FileStat | None:
        """See `FileTree.stat`."""
        with self._open(path) as file:
            if file is None:
                return None
            found = os.fstat(file.fileno())
            return FileStat(found.st_size, int(found.st_mtime))

    def shared_object(self, path: str) -> SharedObject | Undetermined | None:
        """See `FileTree.shared_object`."""
        try:
            with self._open(path) as file:
                return shared_object_of(file) if file is not None else None
        except UnreadableFileError:
            return Undetermined.BROKEN

    @contextmanager
    def _open(self, path: str) -> Iterator[BufferedReader | None]:
        real = Path(self._real(path))
        try:
            if not real.is_file():
                yield None
                return
            with real.open("rb") as file:
                yield file
        except OSError as error:
            raise UnreadableFileError(path, error.strerror or "it can't be read") from error
