"""`lockstep environment capture`: what a training job installs is enough for it, so nothing of the network is imported."""

import json
from argparse import Namespace

from lockstep.cli.status import Exit
from lockstep.environment.document import EnvironmentDocument
from lockstep.training.capture import capture_environment


def capture(arguments: Namespace) -> Exit:
    """Print the document of this process's environment."""
    print(pretty(capture_environment()))
    return Exit.OK


def pretty(document: EnvironmentDocument) -> str:
    """Return a document as indented JSON."""
    return json.dumps(document.payload(), indent=2, sort_keys=True, ensure_ascii=False)
