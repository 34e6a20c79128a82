"""python3 -m tests.cluster up|down|status|component|tools|cosign|build|base-image|build-image|push-image|env|…."""

import argparse
import os
import sys
from pathlib import Path

from tests.cluster import binaries, debian, images, kind, lock, node
from tests.cluster.paths import KUBECONFIG
from tests.cluster.say import ClusterError, say


def main() -> int:
    """Do what the command line asks for and return the exit code."""
    arguments = _parser().parse_args()
    try:
        return _run(arguments)
    except ClusterError as error:
        say(f"✗ {error}")
        return 1
    except KeyboardInterrupt:
        say("✗ interrupted")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m tests.cluster", description="A real Kubernetes node for tests.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start the node, or leave it alone if it is Ready")
    commands.add_parser("down", help="stop the node and remove every trace, also after a crash")
    commands.add_parser("status", help="say how the node fares; exits with 0 if Ready, 3 if down, 1 otherwise")
    component = commands.add_parser("component", help="stop, kill or start one component of the running node")
    component.add_argument("action", choices=("stop", "kill", "start"))
    component.add_argument("name")
    commands.add_parser("tools", help="install the Debian packages and build the programs that the tests use")
    commands.add_parser("cosign", help="build cosign into the cache, for the tests of signatures")
    build = commands.add_parser("build", help="build the node's programs into the cache")
    build.add_argument("--scale", action="store_true", help="also those of the scale tests")
    commands.add_parser("base-image", help="make the base image that tests' images are built on")
    image = commands.add_parser("build-image", help="build a Dockerfile")
    image.add_argument("--tag", required=True)
    image.add_argument("--dockerfile", type=Path, required=True)
    image.add_argument("--context", type=Path, required=True)
    image.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    push = commands.add_parser("push-image", help="push a built image to the node's registry; prints its digest")
    push.add_argument("tag")
    push.add_argument("reference")
    commands.add_parser("env", help='print what a shell needs: eval "$(python3 -m tests.cluster env)"')
    commands.add_parser("check-kind-config", help="check kind-config.yaml against kind's own types")
    return parser


def _run(arguments: argparse.Namespace) -> int:
    match arguments.command:
        case "up":
            with lock.alone():
                (kind.up if kind.chosen() else node.up)()
        case "down":
            with lock.alone():
                (kind.down if kind.chosen() else node.down)()
        case "status":
            return (kind.status if kind.chosen() else node.status)()
        case "component":
            (kind.component if kind.chosen() else node.component)(arguments.action, arguments.name)
        case "check-kind-config":
            kind.check_config()
        case "build":
            binaries.build(scale=arguments.scale)
        case "tools":
            debian.install_missing()
            binaries.build()
            binaries.build_cosign()
        case "cosign":
            binaries.build_cosign()
        case "env":
            _print_environment()
        case _:
            _run_images(arguments)
    return 0


def _run_images(arguments: argparse.Namespace) -> None:
    match arguments.command:
        case "base-image":
            print(images.base_image())
        case "build-image":
            values = dict(text.split("=", 1) for text in arguments.build_arg if "=" in text)
            images.build(arguments.tag, arguments.dockerfile, arguments.context, values)
        case "push-image":
            print(images.push(arguments.tag, arguments.reference))


def _print_environment() -> None:
    folders = [str(path.parent) for path in (binaries.kubernetes("kubectl"), binaries.HELM.path)]
    print(f"export KUBECONFIG={KUBECONFIG}")
    print(f"export PATH={os.pathsep.join(folders)}:$PATH")
    print(f"export LOCKSTEP_REGISTRY={images.registry()}")


if __name__ == "__main__":
    sys.exit(main())
