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
    found: Sequence[Installed],
    libraries: Libraries,
    *,
    hashed: Collection[str] | None = None,
    intact: Intact | None = None,
    max_steps: int = MAX_STEPS,
) -> tuple[Package, ...]:
    """Return what `importlib.metadata` would find, sorted: for each name, the one that comes first, as it really is.

    Args:
        tree: the root file system.
        found: the distributions in the order of the path.
        libraries: finds shared libraries as the dynamic linker would.
        hashed: names of the distributions whose files are compared with their RECORD; None for all.
        intact: determines which files are not those that their distribution brought; None where nobody asks.
        max_steps: requirements that are followed.

    Raises:
        CatalogueError: a search for libraries without end.
        UnreadableFileError: a file of a distribution was not hashed.
    """
    first: dict[str, Installed] = {}
    for one in found:
        first.setdefault(one.package.name, one)
    ordered = [first[name] for name in sorted(first)]
    loaded = _Loaded(ordered, libraries, max_steps)
    return tuple(
        _with_missing(
            one,
            _with_actual_content(tree, one, intact) if hashed is None or one.package.name in hashed else one.package,
            loaded,
            libraries,
        )
        for one in ordered
    )


def _with_actual_content(tree: FileTree, one: Installed, intact: Intact | None) -> Package:
    """Return the package with its actual content, and the files that are not what its RECORD claims."""
    actual = actual_rows(tree, one.site, one.rows)
    differing = [row for row, claimed in zip(actual, one.rows, strict=True) if row != claimed]
    more: dict[str, Any] = {}
    if differing:
        changed = sorted({row.path for row in differing})
        named = tuple(path[:512] for path in changed[:MAX_CHANGED])
        more = {"content": content_digest(actual), "changed": named, "changed_count": len(changed)}
    if intact is not None and (edited := intact.edited_files(one, differing)):
        more |= {"edited": tuple(path[:512] for path in edited[:MAX_CHANGED]), "edited_count": len(edited)}
    return Package(**dict(one.package) | more) if more else one.package


def _with_missing(one: Installed, package: Package, loaded: "_Loaded", libraries: Libraries) -> Package:
    missing = libraries.missing(one.objects, loaded.before(one)) if one.objects else ()
    return package.model_copy(update={"missing": missing}) if missing else package


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
