"""The effective `sys.path` of a process, and what each directory on it is."""

from dataclasses import dataclass
from enum import Enum, auto


@dataclass(frozen=True)
class SearchPath:
    """Directories without symbolic links, in the order in which imports search them."""

    entries: tuple[str, ...]
    library: frozenset[str]
    """Those of the standard library."""
    site: tuple[str, ...]
    """Those in which the site module reads `.pth` files, in its order; empty with `-S`."""
    early: tuple[str, ...]
    """Those that are on it while start-up hooks run: the script's directory and what a server adds come later."""
    series: str
    """The interpreter's, as `3.11`."""
    customized: bool = True
    """Whether `sitecustomize` is imported: not with `-S`."""
    user_customized: bool = True
    """Whether `usercustomize` is imported: where the user's own site directory is taken."""
    stated: tuple[str, ...] = ()
    """The whole path, with what is not there and would count if it came into being; empty where nobody asks."""
    pycache_prefix: str | None = None
    """The root below which byte code is cached instead of beside its source (PYTHONPYCACHEPREFIX)."""


class Position(Enum):
    """Where a directory is put on the path."""

    FIRST = auto()
    FIRST_UNLESS_THERE = auto()
    """First, unless the path holds the same text already."""
    LAST = auto()


@dataclass(frozen=True)
class Place:
    """A directory that a program puts on `sys.path` once it runs."""

    folder: str
    """An absolute path."""
    position: Position = Position.FIRST
