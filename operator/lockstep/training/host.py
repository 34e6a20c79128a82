"""The file system of the running process, seen as the catalogue sees an image."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from lockstep.environment.tree import FileKind, UnreadableFileError, executable_by


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
