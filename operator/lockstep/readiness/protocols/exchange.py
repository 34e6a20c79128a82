"""What every serving protocol says of itself: what to ask, and what a right answer looks like."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Request:
    """A prediction request by POST, as JSON."""

    path: str
    body: bytes


class ServingProtocol(Protocol):
    """How a server is asked."""

    @property
    def ready_path(self) -> str:
        """Path that answers 200 to GET once the model is loaded."""
        ...

    def prediction(self, input_example: bytes | None) -> Request | None:
        """Return the request that the registered input example makes; None when there is nothing to send."""
        ...

    def failure(self, body: bytes) -> str | None:
        """Say what is wrong with the body of a 200 answer; None when it is a prediction."""
        ...
