"""Entry point: the table of commands, dispatch, errors."""

import argparse
import asyncio
import importlib
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from lockstep import __version__
from lockstep.api.reasons import Reason
from lockstep.cli.access.hints import with_hint
from lockstep.cli.exit import CommandError, Exit
from lockstep.cli.extras import needs
from lockstep.environment.tree import UnreadableFileError

EPILOG = "Exit status: 0 equal or would go on, 1 different or refused, 2 could not be determined (last line: Reason: message)."


class Command(Protocol):
    """What the module of a command has."""

    DESCRIPTION: str
    """Markdown, for `--help` and docs/cli.md."""

    def arguments(self, command: argparse.ArgumentParser) -> None:
        """Add the command's arguments."""
        ...

    def run(self, arguments: argparse.Namespace) -> Exit | Awaitable[Exit]:
        """Run it."""
        ...


@dataclass(frozen=True)
class Row:
    """One command. Its module is imported when it runs, so that a training job needs no image reader."""

    name: str
    module: str
    help: str
    extra: str | None = "images"
    """The extra of the distribution that brings what the module imports."""

    def load(self) -> Command:
        """Import the module.

        Raises:
            CommandError: what it imports is not installed.
        """
        if self.extra is None:
            return cast(Command, importlib.import_module(f"lockstep.cli.commands.{self.module}"))
        with needs(self.extra):
            return cast(Command, importlib.import_module(f"lockstep.cli.commands.{self.module}"))


ENVIRONMENT = (
    Row("capture", "capture", "print the environment document of this Python process", extra=None),
    Row("scan", "scan", "print the environment document of an image"),
    Row("base", "base", "print an image's layers for images.baseImages of a policy"),
    Row("diff", "diff", "compare two environments"),
    Row("lock", "lock", "print pinned requirements for the serving image"),
    Row("attest", "attest", "sign what is in an image and store that beside it"),
    Row("verify", "verify", "print who signed and attested an image"),
)
COMMANDS = (
    Row("check", "check", "decide manifests without a cluster, for CI", extra="check"),
    Row("explain", "explain", "say why a ModelDeployment is where it is, and what to change", extra=None),
)


class CommandParser(argparse.ArgumentParser):
    """The parser of one command, which asks the command's module for its arguments as soon as they are needed."""

    def __init__(self, *, row: Row | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._row = row

    def load(self) -> None:
        """Take over what the module says."""
        if self._row is None:
            return
        command, self._row = self._row.load(), None
        self.description, self.epilog = command.DESCRIPTION, EPILOG
        self.formatter_class = argparse.RawDescriptionHelpFormatter
        command.arguments(self)
        self.set_defaults(command=lambda: command.run)

    def parse_known_args(self, args: Any = None, namespace: Any = None, **options: Any) -> Any:
        """See `argparse.ArgumentParser`."""
        self.load()
        return super().parse_known_args(args, namespace, **options)


def parser() -> argparse.ArgumentParser:
    """Build the parser."""
    top = argparse.ArgumentParser(prog="lockstep", description="Keeps a wrong model image out of production.", epilog=EPILOG)
    top.add_argument("--version", action="version", version=f"lockstep {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND", parser_class=CommandParser)
    group = commands.add_parser("environment", aliases=["env"], help="capture, scan, compare and lock environments")
    _add(group.add_subparsers(required=True, metavar="COMMAND", parser_class=CommandParser), ENVIRONMENT)
    _add(commands, COMMANDS)
    return top


def _add(commands: Any, rows: Sequence[Row]) -> None:
    for row in rows:
        commands.add_parser(row.name, help=row.help, row=row)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    try:
        return int(_run(parser().parse_args(argv)))
    except CommandError as error:
        _complain(str(error))
    except BrokenPipeError:
        return int(Exit.OK)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        reason = getattr(error, "reason", None)
        if isinstance(reason, Reason):
            _complain(f"{reason}: {with_hint(reason, str(getattr(error, 'message', error)))}")
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


if __name__ == "__main__":
    sys.exit(main())
