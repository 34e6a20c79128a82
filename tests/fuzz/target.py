"""What a fuzzer feeds: one reader, and the errors that it says it raises."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """One reader of bytes that somebody else wrote."""

    read: Callable[[bytes], object]
    """Reads the bytes, and asserts what has to hold of every input that it takes."""
    refuses: tuple[type[Exception], ...] = ()
    """The errors that the reader's docstring names. Any other is a fault."""

    def takes(self, data: bytes) -> bool:
        """Feed the reader; tell whether it took the input (True) or refused it as it says it does (False)."""
        try:
            self.read(data)
        except self.refuses:
            return False
        return True
