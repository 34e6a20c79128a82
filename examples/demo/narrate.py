"""How the demo speaks: headings, commands as one would type them, and their real output."""

import sys

from examples.demo import kube


def heading(text: str) -> None:
    """Begin a new part."""
    mark = "\033[1m" if sys.stdout.isatty() else ""
    reset = "\033[0m" if sys.stdout.isatty() else ""
    print(f"\n{mark}━━ {text}{reset}", flush=True)


def tell(text: str) -> None:
    """Say something."""
    print(text, flush=True)


def shown(*arguments: str) -> str:
    """Run kubectl, show command and output, and return the output."""
    print(f"$ kubectl {' '.join(arguments)}", flush=True)
    output = kube.kubectl(*arguments)
    print(output.rstrip(), flush=True)
    return output
