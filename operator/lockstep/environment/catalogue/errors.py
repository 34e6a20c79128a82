"""The error that the catalogue raises when an environment can't be determined."""

from lockstep.api.reasons import Reason


class CatalogueError(Exception):
    """An environment can't be determined from its files; nothing may pass on it."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
