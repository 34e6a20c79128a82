"""Commands that must succeed, and processes known by their id and start time, so that no stranger is ever killed."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.say import ClusterError
from tests.cluster.wait import until


def run(
    *command: str | Path,
    stdin: str | None = None,
    timeout: float | None = None,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a command and return what it printed.

    Raises:
        ClusterError: it is missing, failed, or took longer than the timeout.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            cwd=cwd,
            env=None if environment is None else os.environ | environment,
        )
    except FileNotFoundError:
        raise ClusterError(f"{words[0]} is needed and was not found: install it") from None
    except subprocess.TimeoutExpired:
        raise ClusterError(f"{_brief(words)} took longer than {timeout:.0f} s") from None
    if done.returncode:
        raise ClusterError(f"{_brief(words)} failed: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def succeeds(*command: str | Path) -> bool:
    """Return whether a command exists and succeeds."""
    try:
        return not subprocess.run([str(word) for word in command], capture_output=True, check=False).returncode
    except FileNotFoundError:
        return False


def stacks(folder: Path) -> bool:
    """Return whether overlay file systems can keep their changes in a folder: not so where it lies on one itself."""
    return "overlay" in Path("/proc/filesystems").read_text() and run("stat", "-f", "-c", "%T", folder).strip() != "overlayfs"


def _brief(words: Sequence[str]) -> str:
    return " ".join(words[:4])


@dataclass(frozen=True)
class Process:
    """A process of ours. Its start time tells it from a later one that was given the same id."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> "Process | None":
        """Return the process that has this id now."""
        started = _start_time(pid)
        return None if started is None else cls(pid, started)

    @classmethod
    def parse(cls, text: str) -> "Process | None":
        """Read what `str` wrote."""
        pid, _, started = text.strip().partition(" ")
        return cls(int(pid), started) if pid.isdigit() and started.isdigit() else None

    @classmethod
    def read(cls, file: Path) -> "Process | None":
        """Read a pid file."""
        try:
            return cls.parse(file.read_text())
        except OSError:
            return None

    def __str__(self) -> str:
        return f"{self.pid} {self.started}"

    def alive(self) -> bool:
        """Return whether it still runs."""
        return _start_time(self.pid) == self.started

    def kill(self, timeout: float = 20) -> None:
        """End it for certain, and wait until it is gone.

        Raises:
            ClusterError: it is still there after the timeout.
        """
        if self.alive():
            os.kill(self.pid, signal.SIGKILL)
        until(lambda: not self.alive(), timeout, f"process {self.pid} has ended")


def _start_time(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name, in parentheses, may hold anything; what follows it is fixed: state first, start time 20th.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]
