"""How the test node speaks to the person at the terminal: one line a step, with the time it took."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class ClusterError(Exception):
    """Something is missing or failed, in one sentence that says what to do."""


def say(text: str) -> None:
    """Print one line of progress."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


@contextmanager
def step(text: str) -> Iterator[None]:
    """Announce a step that takes a while, and its duration once it has ended."""
    say(f"  … {text}")
    started = time.monotonic()
    yield
    say(f"  ✓ {text} ({time.monotonic() - started:.0f} s)")
