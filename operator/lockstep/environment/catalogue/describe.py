"""The environment document of a root file system, given how its process starts."""

from pydantic import ValidationError

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.candidates import agreed
from lockstep.environment.catalogue.cuda import cuda
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.follow import started
from lockstep.environment.catalogue.interpreter import interpreter, prefix, search_path
from lockstep.environment.catalogue.launch import Launch, Started, UnclearScriptError
from lockstep.environment.catalogue.libc import libc
from lockstep.environment.catalogue.libraries import Libraries
from lockstep.environment.catalogue.packages import packages
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

    def of(start: Started) -> EnvironmentDocument:
        return _document(tree, start, machine, collector)

    try:
        start = started(tree, launch)
    except UnclearScriptError as unclear:
        return agreed(tree, unclear, of)
    return of(start)


def _document(tree: FileTree, start: Started, machine: str, collector: str) -> EnvironmentDocument:
    where = prefix(tree, start)
    paths = search_path(tree, where, start)
    try:
        installed = packages(tree, paths, Libraries(tree, where.executable, start.launch.env, machine=machine))
        return EnvironmentDocument(
            python=interpreter(tree, where),
            platform=Platform(os="linux", machine=machine, libc=libc(tree, machine)),
            packages=installed,
            system=system(tree, where.base),
            cuda=cuda(tree, installed, where.base, machine),
            collector=collector,
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        what = f"{error.title}.{'.'.join(str(part) for part in first['loc'])}"
        raise CatalogueError(Reason.METADATA_INVALID, f"{what}: {first['msg']}: {str(first['input'])[:100]!r}") from error
