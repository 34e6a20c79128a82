"""How commands write what they found."""

import json
import os
import sys
import tempfile
from pathlib import Path

from lockstep.api.reasons import Reason
from lockstep.cli.exit import CommandError
from lockstep.environment.document import EnvironmentDocument


def pretty(document: EnvironmentDocument) -> str:
    """Return a document as indented JSON."""
    return json.dumps(document.payload(), indent=2, sort_keys=True, ensure_ascii=False)


def write(path: str | None, text: str) -> None:
    """Write a text to a file as a whole or not at all, or print it where there is no path, or it is `-`.

    A shell's `>` empties the file before the command runs, and leaves it empty when the command fails.

    Raises:
        CommandError: the file can't be written.
    """
    if path is None or path == "-":
        sys.stdout.write(text)
        return
    target = Path(path)
    try:
        with tempfile.NamedTemporaryFile(
            "w", dir=target.parent, prefix=f".{target.name}.", delete=False, encoding="utf-8"
        ) as made:
            made.write(text)
        # As a file that the shell makes: what the umask allows.
        Path(made.name).chmod(0o666 & ~_umask())
        Path(made.name).replace(target)
    except OSError as error:
        raise CommandError(Reason.OUTPUT_NOT_WRITTEN, f"{path}: {error.strerror or error}") from error


def _umask() -> int:
    present = os.umask(0o077)
    os.umask(present)
    return present
