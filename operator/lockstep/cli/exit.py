"""Exit statuses and errors of the command line."""

from enum import IntEnum

from lockstep.api.reasons import Reason


class Exit(IntEnum):
    """Exit statuses: a refusal and "could not be determined" are two different things."""

    OK = 0
    DIFFERENT = 1
    """The documents differ, or a gate refuses."""
    UNKNOWN = 2
    """It could not be determined; the last line of standard error is `Reason: message`."""


class CommandError(Exception):
    """Ends a command with exit status 2."""

    def __init__(self, reason: Reason | str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
