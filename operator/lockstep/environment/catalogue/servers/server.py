"""What is known of a server program: what it puts on `sys.path`, and whether it starts another program that serves."""

import posixpath
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lockstep.environment.catalogue.launch.launch import Launch, ambiguous_error
from lockstep.environment.catalogue.launch.path import Place
from lockstep.environment.catalogue.servers.options import NotReadError, Options, Words, read
from lockstep.environment.tree import FileKind, FileTree


@dataclass(frozen=True)
class Called:
    """A server program as it is started."""

    tree: FileTree
    launch: Launch
    """Variables and working directory of the program."""
    arguments: tuple[str, ...]
    """What follows the program on its command line."""
    path: tuple[str, ...]
    """The path that its interpreter has, before the program changes it."""

    @property
    def working_directory(self) -> str:
        """The working directory."""
        return self.at("")

    def at(self, path: str, folder: str | None = None) -> str:
        """Return `path` as seen from a folder, or from the working directory; `..` counts from where links lead."""
        start = folder if folder is not None else posixpath.join("/", self.launch.working_dir)
        joined = posixpath.join(start, path)
        return self.tree.destination(joined)

    def variable(self, name: str) -> str | None:
        """Return a variable's value; None where it is not set or empty, which click takes for the same."""
        return self.launch.env.get(name) or None

    def read(self, options: Options, words: Sequence[str] | None = None) -> Words:
        """Read the command line.

        Raises:
            CatalogueError: InterpreterAmbiguous, when an option is not known whose meaning counts.
        """
        try:
            return read(self.arguments if words is None else words, options)
        except NotReadError as error:
            raise self.undetermined_error(str(error), "leave that option out, or write --option=value") from error

    def undetermined_error(self, why: str, advice: str) -> Exception:
        """Return the refusal of this start."""
        return ambiguous_error(" ".join(self.launch.argv), why, advice)

    def is_file(self, path: str) -> bool:
        """Return whether a regular file stands where a path leads."""
        resolved = self.tree.resolve(path)
        return resolved is not None and self.tree.kind(resolved) is FileKind.FILE

    def is_folder(self, path: str) -> bool:
        """Return whether a directory stands where a path leads."""
        resolved = self.tree.resolve(path)
        return resolved is not None and self.tree.kind(resolved) is FileKind.DIRECTORY


@dataclass(frozen=True)
class Effect:
    """What a server program does, as far as it decides what is imported."""

    places: tuple[Place, ...] = ()
    """In the order in which it puts them there."""
    model: str | None = None
    """The model that it says it serves: an absolute path, or a URI as it stands there."""
    next: Launch | None = None
    """The program that it starts to serve in its place."""
    code: tuple[str, ...] = ()
    """Files of Python that it executes as its configuration."""
    goes_to: str | None = None
    """The directory that it is told to make its working directory; None where it is told none."""


@dataclass(frozen=True)
class Server:
    """One program."""

    name: str
    entries: frozenset[str]
    """The entry points (`module:attribute`) that its console scripts call."""
    effect: Callable[[Called], Effect]
    modules: frozenset[str] = frozenset()
    """The modules by which `python -m` starts it."""
    variables: frozenset[str] = frozenset()
    """Variables that decide what it imports, and that `effect` follows."""
    launcher: bool = False
    """Whether it serves nothing itself and only starts another program."""
    code: re.Pattern[str] | None = None
    """The text that `python -c` is given where images are made to start it so; its groups are the arguments."""
