"""Makes a report of the processes that answer."""

import os
import re
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase

from lockstep.observer.proc import Proc
from lockstep.observer.report import MappedFile, Process, Report
from lockstep.observer.serving import Serving, UndeterminedError, find_serving

_MAX_PROCESSES = 64
_MAX_FILES = 8192
_MAX_HASHED = 16 * 1024**3
"""Bytes that are hashed in all."""
_MAX_NAMES = 65536
_SECRET = re.compile(r"SECRET|TOKEN|PASS|KEY|CREDENTIAL|AUTH")
"""Variables whose values are taken out of command lines."""
_SHORTEST = 6
"""Characters of such a value: a shorter one is a word like any other."""
_SITES = ("site-packages", "dist-packages")
_INSTALLED = (".dist-info", ".egg-info", ".egg-link", ".pth")
_SERIES = re.compile(r"(?:python|pypy)[0-9.]+t?")


def look(proc: Proc, port: int, variables: Collection[str], own: int) -> Report:
    """Look at the processes that answer at a port.

    Args:
        proc: the processes.
        port: the server's port.
        variables: whose values are reported, by name or pattern; those of no other are.
        own: the observer's own process.
    """
    try:
        return _look(proc, find_serving(proc, port, own), variables)
    except UndeterminedError as error:
        return Report(undetermined=str(error))
    except OSError as error:
        # Another user's process, or one that has ended just now.
        return Report(undetermined=f"a process of the server can't be looked at: {error}")


def _look(proc: Proc, serving: Serving, variables: Collection[str]) -> Report:
    if len(serving.pids) > _MAX_PROCESSES:
        raise UndeterminedError(f"more than {_MAX_PROCESSES} processes serve")
    files, processes, folders = _Files(proc), [], {}
    for pid in (*serving.pids, *serving.managers):
        env, argv, serves = proc.variables(pid), proc.argv(pid), pid in serving.pids
        asked = {name: value for name, value in env.items() if _is_asked(name, variables)}
        mapped = files.add(pid) if serves else ()
        process = Process(
            pid=pid,
            parent=serving.parents[pid],
            executable=proc.executable(pid),
            argv=tuple(_mask(word, env, variables) for word in argv),
            working_directory=proc.working_directory(pid),
            variables=asked,
            serves=serves,
            files=mapped,
        )
        processes.append(process)
        if not serves:
            continue
        for folder in _folders(proc, process, argv, [files.listed[number].path for number in mapped]):
            if folder not in folders:
                folders[folder] = tuple(name for name in proc.names(pid, folder) if name.endswith(_INSTALLED))
    if sum(map(len, folders.values())) > _MAX_NAMES:
        raise UndeterminedError(f"more than {_MAX_NAMES} packages are installed")
    return Report(tuple(processes), tuple(files.listed), folders)


class _Files:
    """The files that processes map, each hashed once."""

    def __init__(self, proc: Proc) -> None:
        self._proc = proc
        self._numbers: dict[tuple[str, bool], int] = {}
        self._left = _MAX_HASHED
        self.listed: list[MappedFile] = []

    def add(self, pid: int) -> tuple[int, ...]:
        """Add what a process maps, and return where it stands in the list."""
        return tuple(self._number(pid, mapping.path, mapping.deleted) for mapping in self._proc.mappings(pid))

    def _number(self, pid: int, path: str, deleted: bool) -> int:
        if (path, deleted) not in self._numbers:
            if len(self.listed) == _MAX_FILES:
                raise UndeterminedError(f"more than {_MAX_FILES} files are mapped")
            self._numbers[path, deleted] = len(self.listed)
            self.listed.append(MappedFile(path, None if deleted else self._hash(pid, path), deleted))
        return self._numbers[path, deleted]

    def _hash(self, pid: int, path: str) -> str | None:
        try:
            digest, size = self._proc.sha256(pid, path, self._left)
        except OSError:
            return None
        self._left -= size
        if digest is None:
            raise UndeterminedError(f"more than {_MAX_HASHED} bytes are mapped")
        return digest


def _is_asked(name: str, variables: Collection[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in variables)


def _mask(word: str, env: Mapping[str, str], variables: Collection[str]) -> str:
    """Return a word of a command line without the secrets that were taken from a variable."""
    for name, value in env.items():
        if not _is_asked(name, variables) and len(value) >= _SHORTEST and _SECRET.search(name.upper()):
            word = word.replace(value, f"${{{name}}}")
    return word


def _folders(proc: Proc, process: Process, argv: tuple[str, ...], mapped: Iterable[str]) -> Iterable[str]:
    """Yield the directories from which a process may import packages: beside its interpreter, on its variables' paths, and
    wherever a mapped file lies.
    """
    env = process.variables
    found: dict[str, None] = {}
    for path in mapped:
        parts = path.split("/")
        for at, part in enumerate(parts[:-1]):
            if part in _SITES:
                found["/".join(parts[: at + 1])] = None
    for entry in env.get("PYTHONPATH", "").split(":"):
        if entry.startswith("/"):
            found[os.path.normpath(entry)] = None
    called = os.path.join(process.working_directory, argv[0]) if argv and "/" in argv[0] else ""
    user = env.get("PYTHONUSERBASE") or os.path.join(env.get("HOME") or "/", ".local")
    starts = [os.path.dirname(os.path.dirname(path)) for path in (called, process.executable) if path.startswith("/")]
    for base in (*starts, env.get("VIRTUAL_ENV", ""), user, "/usr/local", "/usr"):
        if base.startswith("/"):
            library = os.path.normpath(f"{base}/lib")
            for series in proc.names(process.pid, library):
                if _SERIES.fullmatch(series):
                    found |= {f"{library}/{series}/{site}": None for site in _SITES}
    return found
