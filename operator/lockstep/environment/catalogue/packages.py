"""The packages of a document: the installed distributions, each with the shared libraries that it does not find."""

from collections.abc import Sequence

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.distributions import Installed, distributions
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.libraries import Libraries
from lockstep.environment.document import Package
from lockstep.environment.tree import FileTree

MAX_STEPS = 5_000_000
"""Requirements that are followed for all packages; an environment of 400 packages takes some ten thousand."""


def packages(tree: FileTree, paths: Sequence[str], libraries: Libraries, *, max_steps: int = MAX_STEPS) -> tuple[Package, ...]:
    """Return the distributions on `paths`, sorted by name.

    Raises:
        CatalogueError: metadata that readers read differently, or a search for libraries without end.
        UnreadableFileError: a metadata file can't be read.
    """
    installed = distributions(tree, paths)
    loaded = _Loaded(installed, libraries, max_steps)
    return tuple(_with_missing(one, loaded, libraries) for one in installed)


def _with_missing(one: Installed, loaded: "_Loaded", libraries: Libraries) -> Package:
    missing = libraries.missing(one.objects, loaded.before(one)) if one.objects else ()
    return one.package.model_copy(update={"missing": missing}) if missing else one.package


class _Loaded:
    """What is loaded before a package: it imports what it requires first. So torchvision finds the libraries of torch."""

    def __init__(self, installed: Sequence[Installed], libraries: Libraries, max_steps: int) -> None:
        self._names = {one.package.name: libraries.names(one.objects) for one in installed}
        self._requires = {one.package.name: {name for name in one.requires if name in self._names} for one in installed}
        self._steps = 0
        self._max_steps = max_steps

    def before(self, one: Installed) -> frozenset[str]:
        """Return the names that the packages provide which a package requires, themselves or through others."""
        seen, todo = {one.package.name}, [one.package.name]
        provided: set[str] = set()
        while todo:
            required = self._requires[todo.pop()]
            for name in required - seen:
                provided |= self._names[name]
                self._steps += len(self._names[name])
            todo += required - seen
            seen |= required
            self._steps += 1 + len(required)
            if self._steps > self._max_steps:
                raise CatalogueError(
                    Reason.LIMIT_EXCEEDED, f"following the packages' requirements takes more than {self._max_steps} steps"
                )
        return frozenset(provided)
