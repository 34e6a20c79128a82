"""Waiting for something to become true: polled with a timeout, never a blind sleep."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from tests.cluster.say import ClusterError

T = TypeVar("T")


def until(condition: Callable[[], T], timeout: float, what: str, *, every: float = 0.1) -> T:
    """Return the first true result of the condition, asking again and again.

    Raises:
        ClusterError: it did not become true within the timeout.
    """
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while not (result := condition()):
        if time.monotonic() >= deadline:
            raise ClusterError(f"{what}: not so after {timeout:.0f} s")
        pause.wait(every)
    return result
