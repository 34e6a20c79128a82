"""Directories that programs put on `sys.path` while they run."""

from dataclasses import dataclass
from enum import Enum, auto


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
