"""One `up` or `down` at a time for a checkout: the second waits for the first."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster.paths import STATE
from tests.cluster.say import say


@contextmanager
def alone() -> Iterator[None]:
    """Hold the checkout's lock; the kernel frees it should this process be killed."""
    STATE.mkdir(parents=True, exist_ok=True)
    # Close-on-exec, as Python opens every file: the node that is started does not inherit the lock.
    with (STATE / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("  … another `up` or `down` of this checkout is at work: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
