"""The readers of package databases. This is the only list of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lockstep.environment.catalogue.system import apk, dpkg, rpm
from lockstep.environment.catalogue.system.database import Kept
from lockstep.environment.tree import FileTree


@dataclass(frozen=True)
class Reader:
    """Reads the database of one package manager."""

    name: str
    read: Callable[[FileTree], Mapping[str, str]]
    """Returns the installed packages, version by name; empty where there is no database."""
    files: tuple[Kept, ...]
    """What the layer scan has to keep for it."""


READERS: tuple[Reader, ...] = (
    Reader("dpkg", dpkg.dpkg, dpkg.FILES),
    Reader("apk", apk.apk, apk.FILES),
    Reader("rpm", rpm.rpm, rpm.FILES),
)
