"""The environment document of a root file system, given how its process starts."""

from pydantic import ValidationError

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.distributions import distributions
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.interpreter import interpreter, prefix, search_path
from lockstep.environment.catalogue.launch import Launch, started
from lockstep.environment.catalogue.libc import libc
from lockstep.environment.catalogue.system import system
from lockstep.environment.document import EnvironmentDocument, Platform
from lockstep.environment.tree import FileTree


def describe(tree: FileTree, launch: Launch, *, machine: str, collector: str) -> EnvironmentDocument:
    """Derive the document of what a launch starts; nothing is executed.

    Args:
        tree: the root file system.
        launch: how the process starts.
        machine: as `uname -m` prints it (`x86_64`).
        collector: who says so, for the document.

    Raises:
        CatalogueError, UnreadableFileError: the environment can't be told.
    """
    start = started(tree, launch)
    where = prefix(tree, start)
    paths = search_path(tree, where, start, launch)
    try:
        return EnvironmentDocument(
            python=interpreter(tree, where),
            platform=Platform(os="linux", machine=machine, libc=libc(tree, machine)),
            packages=distributions(tree, paths),
            system=system(tree),
            collector=collector,
        )
    except ValidationError as error:
        raise unfit(error) from error


def unfit(error: ValidationError) -> CatalogueError:
    """Return the refusal of metadata whose values no document can hold."""
    first = error.errors(include_url=False)[0]
    what = f"{error.title}.{'.'.join(str(part) for part in first['loc'])}"
    return CatalogueError(Reason.METADATA_INVALID, f"{what}: {first['msg']}: {str(first['input'])[:100]!r}")
