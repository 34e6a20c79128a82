"""The packages of a tree, without the rest of its document."""

from collections.abc import Collection, Sequence

from lockstep.environment.catalogue.native.libraries import Libraries
from lockstep.environment.catalogue.packages.distributions import find_distributions
from lockstep.environment.catalogue.packages.packages import packages
from lockstep.environment.document import Package
from lockstep.environment.tree import FileTree


def packages_on(tree: FileTree, paths: Sequence[str], hashed: Collection[str] | None = None) -> tuple[Package, ...]:
    """Return the packages on `paths`."""
    return packages(
        tree, find_distributions(tree, paths), Libraries(tree, "/usr/bin/python3", {}, machine="x86_64"), hashed=hashed
    )
