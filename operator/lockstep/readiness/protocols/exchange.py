"""What every serving protocol says of itself: what to ask, and what a right answer is."""

from dataclasses import dataclass, replace
from typing import Protocol

from lockstep.readiness.example import Example


@dataclass(frozen=True)
class Request:
    """A prediction request by POST, as JSON."""

    path: str
    body: bytes
    name: str
    """What is sent, in messages."""
    rows: int | None = None
    """How many predictions have to come back; None where that can't be known."""

    def without_count(self) -> "Request":
        """Return the request to a model that may answer it by any number of predictions."""
        return replace(self, rows=None)


class ServingProtocol(Protocol):
    """How a server is asked."""

    def request(self, example: Example | None, *, compact: bool) -> Request:
        """Return the request that an input example makes.

        Raises:
            ValueError: it makes none; the message says why.
        """
        ...

    def check(self, request: Request, body: bytes, *, missing: bool) -> None:
        """Check that the body of a 200 answer holds predictions; `missing` lets some of them be null, NaN or infinite.

        Raises:
            NoAnswerError: it is no answer; the message says why.
        """
        ...

    def advice(self, status: int) -> str | None:
        """Say what would help where a request was answered with `status`; None where nothing more is known."""
        ...
