"""Which distribution a file belongs to."""

import posixpath
from collections.abc import Sequence

from lockstep.environment.catalogue.packages.distributions import Installed
from lockstep.environment.catalogue.packages.record import Row
from lockstep.environment.tree import FileTree

DEBIANS_OWN = "/usr/lib/python3/dist-packages"
"""What dpkg installs (Debian Python Policy, 2.5); its packages are known by their versions."""


class Ownership:
    """The files of installed distributions, by RECORD, or where there is none by what egg-info says.

    Args:
        tree: the root file system.
        distributions: the distributions in the order of the path.

    Raises:
        UnreadableFileError: a list of files can't be read.
    """

    def __init__(self, tree: FileTree, distributions: Sequence[Installed]) -> None:
        self._files: dict[str, tuple[Installed, Row]] = {}
        self._names: dict[str, Installed] = {}
        self._others: dict[str, set[str]] = {}
        for distribution in distributions:
            rows = distribution.rows or _installed_files(tree, distribution)
            for row in rows:
                path = _join_path(distribution.site, row.path)
                first = self._files.setdefault(path, (distribution, row))
                if first[1].hash != row.hash:
                    self._others.setdefault(path, set()).add(row.hash)
            if not rows:
                for name in _top_levels(tree, distribution):
                    self._names.setdefault(f"{distribution.site}/{name}", distribution)

    def owner(self, file: str, entry: str) -> Installed | None:
        """Return the distribution that a file below the path entry belongs to; None when it belongs to none."""
        listed = self._files.get(file)
        return listed[0] if listed is not None else self._owner_by_name(file, entry)

    def row(self, file: str) -> Row | None:
        """Return what a distribution says of a file; None when none lists it."""
        listed = self._files.get(file)
        return listed[1] if listed is not None else None

    def hashes(self, file: str) -> set[str]:
        """Return the hashes that distributions state of a file, as RECORD writes them."""
        row = self.row(file)
        stated = {row.hash, *self._others.get(file, ())} if row is not None else set()
        return {f"{one.rstrip('=')}" for one in stated if one}

    def is_owned_by_system(self, entry: str) -> bool:
        """Return whether the operating system's package manager owns what is in a directory on the path."""
        return entry == DEBIANS_OWN

    def _owner_by_name(self, file: str, entry: str) -> Installed | None:
        top = file.removeprefix(f"{entry}/").partition("/")[0].partition(".")[0]
        return self._names.get(f"{entry}/{top}")


def _join_path(site: str, path: str) -> str:
    return posixpath.normpath(f"{site}/{path}") if ".." in path or "./" in path or "//" in path else f"{site}/{path}"


def _installed_files(tree: FileTree, distribution: Installed) -> tuple[Row, ...]:
    """Read the list that `setup.py install --record` left: paths relative to the egg-info directory."""
    body = tree.read(f"{distribution.folder}/installed-files.txt")
    lines = body.decode("utf-8", "replace").splitlines() if body is not None else []
    folder = distribution.folder.rpartition("/")[2]
    return tuple(Row(posixpath.normpath(f"{folder}/{line.strip()}"), "") for line in lines if line.strip())


def _top_levels(tree: FileTree, distribution: Installed) -> list[str]:
    body = tree.read(f"{distribution.folder}/top_level.txt")
    if body is None:
        return [distribution.package.name.replace("-", "_")]
    return [line.strip() for line in body.decode("utf-8", "replace").splitlines() if line.strip()]
