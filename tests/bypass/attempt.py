"""One attempt: who tries what, and what came of it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from tests.bypass.scene import Scene


class Outcome(StrEnum):
    """What came of an attempt."""

    HELD = "HELD"
    """It was refused, or did no harm."""
    REFUSED_LATER = "REFUSED LATER"
    """The API server took it, and Lockstep put it right before it did harm for long."""
    DOCUMENTED = "DOCUMENTED"
    """It gets through, and docs/threat-model.md says so."""
    BYPASSED = "BYPASSED"
    """Traffic reached what was not checked."""
    DEGRADED = "DEGRADED"
    """What serves was disturbed."""

    @property
    def is_a_hole(self) -> bool:
        """Return whether Lockstep promises that this does not happen."""
        return self in (Outcome.BYPASSED, Outcome.DEGRADED)


@dataclass(frozen=True)
class Result:
    """What came of an attempt, and how it was seen."""

    outcome: Outcome
    seen: str


Run = Callable[[Scene], Result]
_Made = TypeVar("_Made", bound=Run)


@dataclass(frozen=True)
class Attempt:
    """One attempt. `name` is that of the list that it comes from, such as A1."""

    name: str
    who: str
    what: str
    run: Run


def held(seen: str) -> Result:
    """Return that it held."""
    return Result(Outcome.HELD, seen)


class Attempts:
    """Collects the attempts of one file."""

    def __init__(self) -> None:
        self.all: list[Attempt] = []

    def attempt(self, name: str, who: str, what: str) -> Callable[[_Made], _Made]:
        """Register a function as an attempt."""

        def register(run: _Made) -> _Made:
            self.all.append(Attempt(name, who, what, run))
            return run

        return register
