"""Runs something inside a root file system: Lockstep's own code, or the programs that are there."""

import os
import pickle
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")


def inside(root: Path, function: Callable[[], Result]) -> Result:
    """Call a function in a process whose root is `root`, and return its result."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            os.chroot(root)
            os.chdir("/")
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(function(), pipe)
            code = 0
        finally:
            # Nothing of the test runner may run a second time in the child.
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, "it failed inside the root"
    result: Result = pickle.loads(answer)
    return result


def printed(root: Path, command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Run a program of a root file system there and return what it printed."""
    words = [shutil.which("chroot") or "/usr/sbin/chroot", str(root), *command]
    # Nothing of this machine's environment: only what the image says.
    done = subprocess.run(words, env=dict(environment), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)[:200]}: {done.stderr[-2000:]}"
    return done.stdout
