"""Entry point: arguments, dispatch, errors."""

import argparse
import asyncio
import importlib
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from lockstep import __version__
from lockstep.api.reasons import Reason
from lockstep.cli.status import CommandError, Exit
from lockstep.environment.tree import UnreadableFileError

_EPILOG = "Exit status: 0 equal or would go on, 1 different or refused, 2 could not be told (last line: Reason: message)."


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    arguments = parser().parse_args(argv)
    try:
        return int(_run(arguments))
    except CommandError as error:
        _complain(str(error))
    except BrokenPipeError:
        return int(Exit.OK)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        reason = getattr(error, "reason", None)
        if isinstance(reason, Reason):
            _complain(f"{reason}: {getattr(error, 'message', error)}")
        elif isinstance(error, UnreadableFileError):
            _complain(f"{Reason.FILE_UNREADABLE}: {error}")
        else:
            _complain(f"{Reason.INTERNAL_ERROR}: {type(error).__name__}: {error}")
    return int(Exit.UNKNOWN)


def _complain(text: str) -> None:
    """Print one line, the last: programs read it."""
    print(" ".join(text.split()), file=sys.stderr)


def _run(arguments: argparse.Namespace) -> Exit:
    command: Callable[[argparse.Namespace], Exit | Awaitable[Exit]] = arguments.command()
    outcome = command(arguments)
    if isinstance(outcome, Exit):
        return outcome

    async def awaited() -> Exit:
        return await outcome

    return asyncio.run(awaited())


def parser() -> argparse.ArgumentParser:
    """Build the parser; commands are imported only when they run, so that a training job needs no image reader."""
    top = argparse.ArgumentParser(prog="lockstep", description="Keeps a wrong model image out of production.", epilog=_EPILOG)
    top.add_argument("--version", action="version", version=f"lockstep {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    _environment(commands.add_parser("environment", aliases=["env"], help="capture, scan, compare and lock environments"))
    _check(commands.add_parser("check", help="decide manifests without a cluster, for CI", epilog=_EPILOG))
    _explain(commands.add_parser("explain", help="say why a ModelDeployment is where it is, and what to change"))
    return top


def _environment(group: argparse.ArgumentParser) -> None:
    commands = group.add_subparsers(required=True, metavar="COMMAND")
    capture = commands.add_parser("capture", help="print the environment document of this Python process")
    capture.set_defaults(command=lambda: _import("capture").capture)

    scan = commands.add_parser("scan", help="print the environment document of an image", epilog=_EPILOG)
    scan.add_argument("reference", help="registry/repository[:tag][@digest], oci:DIR[:TAG] or oci-archive:FILE")
    _image_options(scan)
    scan.set_defaults(command=lambda: _import("environment").scan_image)

    base = commands.add_parser("base", help="print an image's layers for images.baseImages of a policy", epilog=_EPILOG)
    base.add_argument("reference", help="the base image: registry/repository[:tag][@digest], oci:DIR or oci-archive:FILE")
    base.add_argument("--name", help="what people call it (default: the reference)")
    _image_options(base)
    base.set_defaults(command=lambda: _import("environment").base)

    diff = commands.add_parser("diff", help="compare two environments", epilog=_EPILOG)
    what = "a document's file, - for standard input, models:/NAME/VERSION, runs:/ID, or an image"
    diff.add_argument("trained", help=f"what trained: {what}")
    diff.add_argument("image", help=f"what serves: {what}")
    diff.add_argument("--policy", help="PromotionPolicy manifest whose rules apply (default: the standard rules)")
    diff.add_argument("-o", "--output", choices=("table", "json"), default="table")
    _image_options(diff)
    _tracking(diff)
    diff.set_defaults(command=lambda: _import("environment").diff)

    lock = commands.add_parser("lock", help="print pinned requirements for the serving image")
    lock.add_argument("source", help="models:/NAME/VERSION, models:/NAME@ALIAS, m-… or a run id")
    _tracking(lock)
    lock.set_defaults(command=lambda: _import("environment").lock_requirements)

    attest = commands.add_parser("attest", help="sign what is in an image and store that beside it", epilog=_EPILOG)
    attest.add_argument("reference", help="registry/repository[:tag][@digest]; with --output also oci:DIR[:TAG] and the like")
    attest.add_argument("--key", required=True, metavar="FILE", help="private key, PEM; LOCKSTEP_KEY_PASSWORD opens it")
    attest.add_argument("--output", metavar="FILE", help="write the DSSE envelope to a file (- for standard output) instead")
    _image_options(attest)
    attest.set_defaults(command=lambda: _import("attest").attest)

    verify = commands.add_parser("verify", help="print who signed and attested an image", epilog=_EPILOG)
    verify.add_argument("reference", help="registry/repository[:tag][@digest]")
    verify.add_argument(
        "--key", required=True, action="append", metavar="FILE", help="public key, PEM; may be given several times"
    )
    _image_options(verify)
    verify.set_defaults(command=lambda: _import("attest").verify)


def _check(command: argparse.ArgumentParser) -> None:
    command.add_argument("-f", "--filename", required=True, help="manifest with ModelDeployments")
    command.add_argument("--policy", required=True, help="manifest of the PromotionPolicy")
    command.add_argument("-o", "--output", choices=("table", "json"), default="table")
    _image_options(command)
    command.set_defaults(command=lambda: _import("check").check)


def _explain(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", help="name of the ModelDeployment")
    command.add_argument("-n", "--namespace", help="its namespace (default: the one of the kubeconfig's context)")
    command.set_defaults(command=lambda: _import("explain").explain)


def _image_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--platform", default="linux/amd64", help="platform of the image (default: %(default)s)")
    command.add_argument(
        "--insecure-registry",
        action="append",
        default=[],
        metavar="HOST[:PORT]",
        help="registry that is spoken to over plain HTTP; may be given several times",
    )


def _tracking(command: argparse.ArgumentParser) -> None:
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    command.add_argument("--tracking-uri", default=uri, help="MLflow tracking server (default: MLFLOW_TRACKING_URI)")


def _import(name: str) -> Any:
    """Import a command's module."""
    return importlib.import_module(f"lockstep.cli.{name}")


if __name__ == "__main__":
    sys.exit(main())
