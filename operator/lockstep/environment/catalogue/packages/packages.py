"""The packages of a document: the installed distributions, with their actual content and the libraries that they lack."""

from collections.abc import Collection, Sequence
from typing import Any

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.native.libraries import Libraries
from lockstep.environment.catalogue.packages.distributions import Installed
from lockstep.environment.catalogue.packages.intact import Intact
from lockstep.environment.catalogue.packages.record import actual_rows, content_digest
from lockstep.environment.document import Package
from lockstep.environment.tree import FileTree

MAX_CHANGED = 20
"""So many changed files of a package are named."""
MAX_STEPS = 5_000_000
"""Requirements that are followed for all packages; an environment of 400 packages takes some ten thousand."""


def packages(
    tree: FileTree,
    distributions: Sequence[Installed],
    libraries: Libraries,
    *,
    hashed: Collection[str] | None = None,
    intact: Intact | None = None,
    max_steps: int = MAX_STEPS,
) -> tuple[Package, ...]:
    """Return what `importlib.metadata` would find, sorted: for each name, the one that comes first, as it really is.

    Args:
        tree: the root file system.
        distributions: the distributions in the order of the path.
        libraries: finds shared libraries as the dynamic linker would.
        hashed: names of the distributions whose files are compared with their RECORD; None for all.
        intact: determines which files are not those that their distribution brought; None where nobody asks.
        max_steps: requirements that are followed.

    Raises:
        CatalogueError: a search for libraries without end.
        UnreadableFileError: a file of a distribution was not hashed.
    """
    first: dict[str, Installed] = {}
    for distribution in distributions:
        first.setdefault(distribution.package.name, distribution)
    ordered = [first[name] for name in sorted(first)]
    loaded = _Loaded(ordered, libraries, max_steps)
    return tuple(
        _with_missing(
            distribution,
            _with_actual_content(tree, distribution, intact)
            if hashed is None or distribution.package.name in hashed
            else distribution.package,
            loaded,
            libraries,
        )
        for distribution in ordered
    )


def _with_actual_content(tree: FileTree, distribution: Installed, intact: Intact | None) -> Package:
    """Return the package with its actual content, and the files that are not what its RECORD claims."""
    actual = actual_rows(tree, distribution.site, distribution.rows)
    differing = [row for row, claimed in zip(actual, distribution.rows, strict=True) if row != claimed]
    more: dict[str, Any] = {}
    if differing:
        changed = sorted({row.path for row in differing})
        named = tuple(path[:512] for path in changed[:MAX_CHANGED])
        more = {"content": content_digest(actual), "changed": named, "changed_count": len(changed)}
    if intact is not None and (edited := intact.edited_files(distribution, differing)):
        more |= {"edited": tuple(path[:512] for path in edited[:MAX_CHANGED]), "edited_count": len(edited)}
    return Package(**dict(distribution.package) | more) if more else distribution.package


def _with_missing(distribution: Installed, package: Package, loaded: "_Loaded", libraries: Libraries) -> Package:
    missing = libraries.missing(distribution.objects, loaded.names_loaded_before(distribution)) if distribution.objects else ()
    return package.model_copy(update={"missing": missing}) if missing else package


class _Loaded:
    """What is loaded before a package: it imports what it requires first. So torchvision finds the libraries of torch."""

    def __init__(self, installed: Sequence[Installed], libraries: Libraries, max_steps: int) -> None:
        self._names = {distribution.package.name: libraries.names(distribution.objects) for distribution in installed}
        self._requires = {
            distribution.package.name: {name for name in distribution.requires if name in self._names}
            for distribution in installed
        }
        self._steps = 0
        self._max_steps = max_steps

    def names_loaded_before(self, distribution: Installed) -> frozenset[str]:
        """Return the names that the packages provide which a package requires, themselves or through others."""
        seen, todo = {distribution.package.name}, [distribution.package.name]
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
