"""What a command needs beyond the core of the distribution, and what to install when it is not there."""

from collections.abc import Iterator
from contextlib import contextmanager

from lockstep.api.reasons import Reason
from lockstep.cli.exit import CommandError

DISTRIBUTION = "lockstep-gate"


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Import third-party packages of an extra.

    Raises:
        CommandError: one of them is not installed; the message says what to install.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "lockstep":
            raise
        message = f'the Python package {package} is missing: pip install "{DISTRIBUTION}[{extra}]"'
        raise CommandError(Reason.DEPENDENCY_MISSING, message) from error
