"""Which processes answer at a port, and which of them run Python."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lockstep.observer.proc import Proc

_NOBODY = "no process of the server holds a socket that listens at port {port}"
_HIDDEN = "process {pid} can't be looked at, and may answer too: it runs as another user, or has made itself unreadable"
_PROXY = "{executable} (pid {pid}) listens at port {port}, and no process in the pod that runs Python listens anywhere"


class UndeterminedError(Exception):
    """It can't be told which processes serve; the message says why."""


@dataclass(frozen=True)
class Serving:
    """Who answers."""

    pids: tuple[int, ...]
    """The processes that run Python and answer."""
    managers: tuple[int, ...]
    """Those that run Python and have started one of them, and do not answer themselves."""
    parents: Mapping[int, int]
    """Of every process there is."""


def find_serving(proc: Proc, port: int, own: int) -> Serving:
    """Find the processes that answer at a port.

    Whoever holds the socket answers, or its workers do. Where a proxy holds it, alone or with others, whatever in the pod runs
    Python and listens is what it forwards to. A process that has started the holder of the socket and does not hold it is its
    manager.

    Args:
        proc: the processes.
        port: the server's port.
        own: the observer's own process.

    Raises:
        UndeterminedError: none runs Python, nobody listens, or one can't be looked at.
        OSError: a process can't be looked at.
    """
    parents, sockets = {}, {}
    for pid in proc.pids():
        try:
            parents[pid], sockets[pid] = proc.parent(pid), proc.sockets(pid)
        except (FileNotFoundError, ProcessLookupError):
            # It has ended.
            parents.pop(pid, None)
        except PermissionError as error:
            raise UndeterminedError(_HIDDEN.format(pid=pid)) from error
    parents.pop(own, None)
    at_port, anywhere = proc.listening(port), proc.listening()
    holders = [pid for pid in parents if sockets[pid] & at_port]
    if not holders:
        raise UndeterminedError(_NOBODY.format(port=port))
    managers = {above for pid in holders for above in _above(pid, parents)} - set(holders)
    roots = holders
    if not all(proc.is_python(pid) for pid in holders):
        roots = holders + [pid for pid in parents if sockets[pid] & anywhere and pid not in managers]
    below = [pid for pid in parents if pid in roots or any(above in roots for above in _above(pid, parents))]
    pids = tuple(pid for pid in below if pid not in managers and _runs_python(proc, pid))
    if not pids:
        raise UndeterminedError(_PROXY.format(executable=proc.executable(holders[0]), pid=holders[0], port=port))
    return Serving(pids, tuple(pid for pid in sorted(managers) if _runs_python(proc, pid)), parents)


def _runs_python(proc: Proc, pid: int) -> bool:
    try:
        return proc.is_python(pid)
    except (FileNotFoundError, ProcessLookupError):
        return False


def _above(pid: int, parents: Mapping[int, int]) -> Iterable[int]:
    """Yield who started a process, and who started that one."""
    seen = {pid}
    while (pid := parents.get(pid, 0)) and pid not in seen:
        seen.add(pid)
        yield pid
