"""Reads /proc: processes, their sockets, what they map, and their files as they see them."""

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

_LISTENS_TCP = "0A"
"""TCP_LISTEN in the column `st` of /proc/net/tcp (net/tcp_states.h)."""
_LISTENS_UNIX = 0x10000
"""__SO_ACCEPTCON in the column `Flags` of /proc/net/unix."""
_SOCKET = re.compile(r"socket:\[(\d+)\]")
_PYTHON = re.compile(r"(?:python|pypy)[0-9.]*(?:d|t)?")
_LIBRARY = re.compile(r"lib(?:python|pypy)[0-9.]+.*\.so(?:\.[0-9.]+)?")
_DELETED = " (deleted)"
_CHUNK = 1024 * 1024
_LINKS = 40
"""Symbolic links that one path may lead through (path_resolution(7))."""


@dataclass(frozen=True)
class Mapping:
    """A file that is mapped to be executed."""

    path: str
    deleted: bool


class Proc:
    """The processes of one PID namespace.

    Args:
        root: where procfs is mounted.
    """

    def __init__(self, root: str = "/proc") -> None:
        self._root = root

    def pids(self) -> list[int]:
        """Return the processes that there are."""
        return sorted(int(name) for name in os.listdir(self._root) if name.isdigit())

    def parent(self, pid: int) -> int:
        """Return who started a process; 0 where it is not in the namespace."""
        # The name may hold blanks and parentheses (proc_pid_stat(5)).
        return int(self._text(pid, "stat").rpartition(")")[2].split()[1])

    def executable(self, pid: int) -> str:
        """Return the file that a process executes."""
        return os.readlink(f"{self._root}/{pid}/exe")

    def working_directory(self, pid: int) -> str:
        """Return the working directory."""
        return os.readlink(f"{self._root}/{pid}/cwd")

    def argv(self, pid: int) -> tuple[str, ...]:
        """Return the command line; a process may have overwritten it."""
        text = self._text(pid, "cmdline")
        return tuple(text.removesuffix("\0").split("\0")) if text else ()

    def variables(self, pid: int) -> dict[str, str]:
        """Return the variables that a process was started with."""
        pairs = (entry.partition("=") for entry in self._text(pid, "environ").split("\0") if "=" in entry)
        return {name: value for name, _, value in pairs}

    def sockets(self, pid: int) -> set[int]:
        """Return the inodes of the sockets that a process holds."""
        found, folder = set[int](), f"{self._root}/{pid}/fd"
        for name in os.listdir(folder):
            try:
                match = _SOCKET.fullmatch(os.readlink(f"{folder}/{name}"))
            except FileNotFoundError:
                continue
            if match:
                found.add(int(match[1]))
        return found

    def listening(self, port: int | None = None) -> set[int]:
        """Return the inodes of the TCP sockets that listen at a port; without one, of all sockets that listen."""
        found = set[int]()
        for table in ("tcp", "tcp6"):
            for columns in self._table(table):
                if columns[3] == _LISTENS_TCP and port in (None, int(columns[1].rpartition(":")[2], 16)):
                    found.add(int(columns[9]))
        if port is None:
            found |= {int(columns[6]) for columns in self._table("unix") if int(columns[3], 16) & _LISTENS_UNIX}
        return found

    def mappings(self, pid: int) -> list[Mapping]:
        """Return the files of which pages are mapped to be executed, each once."""
        found: dict[Mapping, None] = {}
        for line in self._text(pid, "maps").splitlines():
            # address perms offset dev inode path; a line feed in a path stands there as \\012.
            columns = line.split(None, 5)
            if len(columns) < 6 or "x" not in columns[1] or columns[4] == "0":
                continue
            path = columns[5].replace("\\012", "\n")
            deleted = path.endswith(_DELETED)
            found[Mapping(path.removesuffix(_DELETED), deleted)] = None
        return list(found)

    def is_python(self, pid: int) -> bool:
        """Return whether a process runs a Python interpreter, or one that is part of another program."""
        if _PYTHON.fullmatch(os.path.basename(self.executable(pid).removesuffix(_DELETED))):
            return True
        return any(_LIBRARY.fullmatch(os.path.basename(mapping.path)) for mapping in self.mappings(pid))

    def resolve(self, pid: int, path: str) -> str:
        """Return where a path leads as a process sees it, below this process's own root.

        A symbolic link that starts with a slash starts at the process's root, where the kernel would start at ours.

        Raises:
            OSError: it leads nowhere.
        """
        root, left, links = f"{self._root}/{pid}/root", _parts(path), 0
        done: list[str] = []
        while left:
            part = left.pop(0)
            if part == "..":
                done = done[:-1]
                continue
            here = f"{root}/{'/'.join([*done, part])}"
            if not os.path.islink(here):
                done.append(part)
                continue
            links += 1
            if links > _LINKS:
                raise OSError(f"{path} leads through too many links")
            target = os.readlink(here)
            done = [] if target.startswith("/") else done
            left = _parts(target) + left
        return f"{root}/{'/'.join(done)}"

    def sha256(self, pid: int, path: str, most: int) -> tuple[str | None, int]:
        """Return the digest of a file as a process sees it, and its size; no digest where it has more than `most` bytes."""
        digest, size = hashlib.sha256(), 0
        # Not a FIFO or a device, which would never end.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        with open(os.open(self.resolve(pid, path), flags), "rb", buffering=0) as file:
            while chunk := file.read(_CHUNK):
                size += len(chunk)
                if size > most:
                    return None, size
                digest.update(chunk)
        return digest.hexdigest(), size

    def names(self, pid: int, folder: str) -> list[str]:
        """Return what is in a directory as a process sees it; empty where there is none."""
        try:
            return sorted(os.listdir(self.resolve(pid, folder)))
        except OSError:
            return []

    def _table(self, name: str) -> Iterator[list[str]]:
        try:
            with open(f"{self._root}/net/{name}", encoding="ascii", errors="replace") as file:
                next(file, None)
                for line in file:
                    yield line.split()
        except FileNotFoundError:
            # A node without IPv6.
            return

    def _text(self, pid: int, name: str) -> str:
        with open(f"{self._root}/{pid}/{name}", "rb") as file:
            return os.fsdecode(file.read())


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]
