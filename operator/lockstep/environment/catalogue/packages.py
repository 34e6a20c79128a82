"""The packages of a document: the installed distributions, each with the shared libraries that it does not find."""

from collections.abc import Mapping, Sequence

from lockstep.environment.catalogue.distributions import Installed, distributions
from lockstep.environment.catalogue.libraries import Libraries
from lockstep.environment.document import Package
from lockstep.environment.tree import FileTree


def packages(tree: FileTree, paths: Sequence[str], libraries: Libraries) -> tuple[Package, ...]:
    """Return the distributions on `paths`, sorted by name.

    Raises:
        CatalogueError: metadata that readers read differently, or a search for libraries without end.
        UnreadableFileError: a metadata file can't be read.
    """
    installed = {one.package.name: one for one in distributions(tree, paths)}
    names = {name: libraries.names(one.objects) for name, one in installed.items()}
    return tuple(_with_missing(one, installed, names, libraries) for one in installed.values())


def _with_missing(
    one: Installed, installed: Mapping[str, Installed], names: Mapping[str, frozenset[str]], libraries: Libraries
) -> Package:
    if not one.objects:
        return one.package
    # What a package requires it imports first, so that libraries which that brings are loaded: torchvision needs torch's.
    seen, todo = {one.package.name}, list(one.requires)
    provided: frozenset[str] = frozenset()
    while todo:
        name = todo.pop()
        if name in installed and name not in seen:
            seen.add(name)
            provided |= names[name]
            todo += installed[name].requires
    missing = libraries.missing(one.objects, provided)
    return one.package.model_copy(update={"missing": missing}) if missing else one.package
