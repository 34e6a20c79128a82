"""python3 -m examples.demo up|down."""

import argparse
import sys
import time

from tests.cluster import kind, node
from tests.cluster.say import ClusterError, say


def main() -> int:
    """Run the demo, or remove it, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m examples.demo", description="One model promoted, one refused by name.")
    parser.add_argument("command", choices=("up", "down"))
    command = parser.parse_args().command
    try:
        return _up() if command == "up" else _down()
    except (ClusterError, RuntimeError) as error:
        say(f"✗ {error}")
        return 1
    except KeyboardInterrupt:
        return 130


def _up() -> int:
    # Imported here: `down` needs no virtual environment.
    from examples.demo import platform, story
    from examples.demo.kube import CommandFailedError
    from examples.demo.narrate import heading

    started = time.monotonic()
    try:
        heading("A cluster, with MLflow, Prometheus and Lockstep in it")
        (kind.up if kind.chosen() else node.up)()
        found = platform.build_images()
        platform.install(found)
        story.tell_the_story(found)
    except CommandFailedError as error:
        say(f"✗ {error}")
        return 1
    say(f"\nThe demo took {time.monotonic() - started:.0f} s.")
    return 0


def _down() -> int:
    (kind.down if kind.chosen() else node.down)()
    return 0


if __name__ == "__main__":
    sys.exit(main())
