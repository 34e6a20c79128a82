"""`docker build` and `docker push`, as far as docs/first-hour.md uses them, by the builder of the test node."""

import argparse
import sys
from pathlib import Path

from tests.cluster import images


def main(words: list[str]) -> int:
    """Build or push an image."""
    top = argparse.ArgumentParser(prog="docker")
    commands = top.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build")
    build.add_argument("-t", "--tag", required=True)
    build.add_argument("-f", "--file")
    build.add_argument("--build-arg", action="append", default=[])
    build.add_argument("context")
    push = commands.add_parser("push")
    push.add_argument("tag")
    arguments = top.parse_args(words)
    if arguments.command == "push":
        print(images.push(_local(arguments.tag), arguments.tag))
        return 0
    context = Path(arguments.context)
    dockerfile = Path(arguments.file) if arguments.file else context / "Dockerfile"
    given = dict(one.split("=", 1) for one in arguments.build_arg)
    images.build(_local(arguments.tag), dockerfile, context, given)
    return 0


def _local(reference: str) -> str:
    """Name an image in the builder's own store, without the registry that it will be pushed to."""
    return "localhost/first-hour/" + reference.partition("/")[2].replace("/", "-")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
