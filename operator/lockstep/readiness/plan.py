"""What one audit asks, in which order and with which pauses: decided by chance, so that nothing gives it away."""

import random
from dataclasses import dataclass
from enum import Enum

from lockstep.readiness.example import Example
from lockstep.readiness.port import Audit
from lockstep.readiness.protocols.exchange import Request, ServingProtocol

LONGEST_PAUSE = 0.2
"""Seconds between two requests, at most; and all pauses together are bounded, however many requests there are."""
_ALL_PAUSES = 4.0


class Ask(Enum):
    """What a step asks."""

    READY = "the path of the readiness probe"
    WHOLE = "a prediction for the example as it stands"
    ROWS = "a prediction for rows of it"


@dataclass(frozen=True)
class Step:
    """One request, after a pause of some seconds."""

    pause: float
    ask: Ask


class Plan:
    """The steps of one audit, and the requests that they make when it is their turn: examples may be large."""

    def __init__(self, audit: Audit, protocol: ServingProtocol, chance: random.Random, *, compact: bool, pauses: bool) -> None:
        self._audit = audit
        self._protocol = protocol
        self._chance = chance
        self._compact = compact
        self._example: Example | None = None
        asks = [Ask.READY] if audit.ready else []
        if audit.requests:
            # Each row is asked once, and some more is asked than is wanted: who reads the policy knows how much that is.
            more = audit.requests - 1 + chance.randint(0, max(2, audit.requests // 5))
            asks += [Ask.WHOLE, *[Ask.WHOLE if audit.whole_example else Ask.ROWS] * more]
        chance.shuffle(asks)
        longest = min(LONGEST_PAUSE, 2 * _ALL_PAUSES / len(asks)) if pauses and asks else 0.0
        self.steps = [Step(chance.uniform(0, longest), ask) for ask in asks]

    def request(self, ask: Ask) -> Request:
        """Return the request that a step makes.

        Raises:
            ValueError: nothing can be asked; the message says why.
        """
        data = self._audit.input_example
        if self._example is None and data is not None:
            self._example = Example.parse(data)
        example = self._example
        if ask is Ask.ROWS and example is not None:
            example = example.draw(self._chance, fewer=not self._audit.missing_predictions)
        request = self._protocol.request(example, compact=self._compact)
        return request.without_count() if self._audit.whole_example else request
