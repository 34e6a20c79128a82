"""`lockstep environment capture`: what a training job installs is enough for it, so nothing of the network is imported."""

from argparse import ArgumentParser, Namespace

from lockstep.cli.exit import Exit
from lockstep.cli.output import pretty
from lockstep.training.capture import capture_environment

DESCRIPTION = """Prints the environment document of the Python process that runs it. Needs no extra and no network.

```bash
lockstep environment capture > trained.json
```"""


def arguments(command: ArgumentParser) -> None:
    """Take none."""


def run(arguments: Namespace) -> Exit:
    """Print the document of this process's environment."""
    print(pretty(capture_environment()))
    return Exit.OK
