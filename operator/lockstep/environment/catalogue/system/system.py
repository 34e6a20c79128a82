"""What the operating system brings: distribution (os-release) and packages, from whichever databases exist."""

import re

from lockstep.environment.catalogue.system.conda import conda
from lockstep.environment.catalogue.system.database import unverifiable_error
from lockstep.environment.catalogue.system.readers import READERS
from lockstep.environment.document import System
from lockstep.environment.tree import FileTree

_OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")


def system(tree: FileTree, prefix: str) -> System:
    """Read the distribution and its installed packages; names that exist in one architecture only stand without it.

    No database is no error, whatever the distribution: distroless images and those from scratch have none.

    Args:
        tree: the root file system.
        prefix: the interpreter's (`sys.base_prefix`), which may be a conda environment.

    Raises:
        CatalogueError: a package database can't be understood.
        UnreadableFileError: a package database can't be read.
    """
    packages: dict[str, str] = {}
    for reader in READERS:
        for name, version in reader.read(tree).items():
            if packages.setdefault(name, version) != version:
                raise unverifiable_error(
                    reader.name, f"it has {name} {version}, and another package manager has {packages[name]}"
                )
    return System(distribution=distribution(tree), packages=packages, conda=conda(tree, prefix))


def distribution(tree: FileTree) -> str | None:
    """Return `debian 12` from os-release(5); None where there is none."""
    body = next((body for path in _OS_RELEASE if (body := tree.read(path)) is not None), None)
    if body is None:
        return None
    values = dict(re.findall(r"^([A-Z_]+)=[\"']?([^\"'\n]*)[\"']?\s*$", body.decode("utf-8", "replace"), re.MULTILINE))
    return " ".join(part for part in (values.get("ID"), values.get("VERSION_ID")) if part) or None
