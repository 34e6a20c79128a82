"""Which of real processes answer."""

import os
from pathlib import Path

import pytest

from lockstep.observer.proc import Proc
from lockstep.observer.serving import UndeterminedError, find_serving
from tests.unit.observer.processes import READY, SERVER, proxy, python, running, view

OWN = os.getpid()
FORKED = (
    SERVER + "r, w = os.pipe()\nfor _ in range(2):\n    if not os.fork():\n        os.read(r, 1)\n        os._exit(0)\n" + READY
)
APART = (
    SERVER
    + "import subprocess\nsubprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.read()'], stdin=subprocess.PIPE)\n"
    + READY
)


def manager(code: str) -> str:
    return f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {code!r}])"


def test_it_is_who_holds_the_socket(tmp_path: Path) -> None:
    with running(*python(SERVER + READY)) as server, running(*python(SERVER + READY)) as other:
        found = find_serving(view(tmp_path / "proc", server.pid, other.pid), server.port, OWN)
    assert found.pids == (server.pid,)
    assert found.managers == ()


@pytest.mark.parametrize("code", [FORKED, APART], ids=["workers that hold the socket too", "children that do not"])
def test_it_is_also_whatever_that_one_has_started(code: str, tmp_path: Path) -> None:
    with running(*python(code)) as server:
        found = find_serving(view(tmp_path / "proc", *server.pids()), server.port, OWN)
        assert set(found.pids) == set(server.pids())
        assert len(found.pids) > 1
    assert found.parents[max(found.pids)] == server.pid


def test_it_is_not_the_one_that_has_started_the_server(tmp_path: Path) -> None:
    with running(*python(manager(SERVER + READY))) as started:
        manages, serves = started.pids()
        found = find_serving(view(tmp_path / "proc", manages, serves), started.port, OWN)
    assert (found.pids, found.managers) == ((serves,), (manages,))


def test_behind_a_proxy_it_is_whoever_runs_python_and_listens(tmp_path: Path) -> None:
    with (
        running(*proxy()) as front,
        running(*python(SERVER + READY)) as server,
        running(*python("print(0); input()")) as silent,
    ):
        found = find_serving(view(tmp_path / "proc", front.pid, server.pid, silent.pid), front.port, OWN)
    assert found.pids == (server.pid,)


def test_a_socket_that_python_holds_beside_a_proxy_hides_nobody_behind_it(tmp_path: Path) -> None:
    holds = "import socket, subprocess\ns = socket.create_server(('127.0.0.1', 0))\ns.set_inheritable(True)\n"
    both = (
        holds
        + "child = subprocess.Popen(['sleep', '60'], close_fds=False)\nprint(s.getsockname()[1], flush=True)\nchild.wait()"
    )
    with running(*python(both)) as front, running(*python(SERVER + READY)) as server:
        found = find_serving(view(tmp_path / "proc", *front.pids(), server.pid), front.port, OWN)
    assert server.pid in found.pids


def test_a_proxy_with_no_python_behind_it_is_undetermined(tmp_path: Path) -> None:
    with (
        running(*proxy()) as front,
        pytest.raises(UndeterminedError, match=r"perl.* \(pid \d+\) listens at port \d+, and no process"),
    ):
        find_serving(view(tmp_path / "proc", front.pid), front.port, OWN)


def test_a_port_at_which_nobody_listens_is_undetermined(tmp_path: Path) -> None:
    with (
        running(*python("print(0); input()")) as silent,
        pytest.raises(UndeterminedError, match="no process of the server holds"),
    ):
        find_serving(view(tmp_path / "proc", silent.pid), 1, OWN)


def test_the_observer_itself_is_nobody(tmp_path: Path) -> None:
    with running(*python(SERVER + READY)) as server, pytest.raises(UndeterminedError):
        find_serving(view(tmp_path / "proc", server.pid), server.port, server.pid)


class Hiding(Proc):
    """A /proc of which the kernel lets one process be looked at by nobody."""

    hidden = 0

    def sockets(self, pid: int) -> set[int]:
        if pid == self.hidden:
            raise PermissionError(pid)
        return super().sockets(pid)


def test_a_process_that_can_not_be_looked_at_may_be_the_one(tmp_path: Path) -> None:
    with running(*python(SERVER + READY)) as server, running(*python(SERVER + READY)) as other:
        view(tmp_path / "proc", server.pid, other.pid)
        proc = Hiding(str(tmp_path / "proc"))
        proc.hidden = other.pid
        with pytest.raises(UndeterminedError, match=f"process {other.pid} can't be looked at"):
            find_serving(proc, server.port, OWN)
