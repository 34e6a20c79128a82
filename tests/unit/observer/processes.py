"""Real processes, and a /proc that shows those of one test only."""

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from lockstep.observer.proc import Proc

SERVER = """
import http.server, os, sys
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
"""
READY = """
print(server.server_port, flush=True)
server.serve_forever()
"""
PROXY = (
    "$| = 1; my $s = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') or die; print $s->sockport, \"\\n\"; <STDIN>"
)
_PATIENCE = 20


class Running:
    """A process that a test has started, with those that it starts.

    Args:
        process: it; its first line is the port at which it, or one that it started, listens.
    """

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.pid = process.pid
        self.port = int(_first_line(process))

    def pids(self) -> list[int]:
        """Return it and what it has started."""
        found = [self.pid]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                found += [int(child) for child in task.read_text().split()]
        return found


@contextmanager
def running(*argv: str, env: Mapping[str, str] | None = None, cwd: str | Path = "/") -> Iterator[Running]:
    """Run a program in a session of its own, which is ended with all that is in it."""
    process = subprocess.Popen(
        argv,
        env=os.environ | (env or {}),
        cwd=cwd,
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield Running(process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def python(code: str, *, executable: str = sys.executable) -> tuple[str, ...]:
    """Return the command line that runs a program of Python."""
    return (executable, "-c", code)


def proxy() -> tuple[str, ...]:
    """Return a command line of something that listens and is not written in Python."""
    perl = shutil.which("perl")
    if perl is None:
        pytest.skip("needs perl, which Debian always has")
    return (perl, "-MIO::Socket::INET", "-e", PROXY)


def view(folder: Path, *pids: int) -> Proc:
    """Return a /proc with these processes and no others, as a container's namespace has it."""
    folder.mkdir(exist_ok=True)
    (folder / "net").symlink_to("/proc/self/net")
    for pid in pids:
        (folder / str(pid)).symlink_to(f"/proc/{pid}")
    return Proc(str(folder))


def _first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    deadline = time.monotonic() + _PATIENCE
    assert select.select([process.stdout], [], [], deadline - time.monotonic())[0], "it says no port"
    return process.stdout.readline()
