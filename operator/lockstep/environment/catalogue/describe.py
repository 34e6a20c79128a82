"""The environment document of a root file system, given how its process starts."""

from collections.abc import Sequence

from pydantic import ValidationError

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.bytecode import bytecode
from lockstep.environment.catalogue.candidates import agreed
from lockstep.environment.catalogue.code import own_code
from lockstep.environment.catalogue.cuda import cuda
from lockstep.environment.catalogue.distributions import installed
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.follow import started
from lockstep.environment.catalogue.interpreter import effective_path, interpreter, prefix
from lockstep.environment.catalogue.launch import Launch, Started, UnclearScriptError
from lockstep.environment.catalogue.libc import libc
from lockstep.environment.catalogue.libraries import Libraries
from lockstep.environment.catalogue.modules import Finder
from lockstep.environment.catalogue.ownership import Ownership
from lockstep.environment.catalogue.packages import packages
from lockstep.environment.catalogue.startup import startup, with_hooks
from lockstep.environment.catalogue.system import system
from lockstep.environment.document import EnvironmentDocument, Platform
from lockstep.environment.tree import FileTree


def describe(
    tree: FileTree, launch: Launch, *, machine: str, collector: str, models: Sequence[str] = ()
) -> EnvironmentDocument:
    """Derive the document of what a launch starts; nothing is executed.

    Args:
        tree: the root file system.
        launch: how the process starts.
        machine: as `uname -m` prints it (`x86_64`).
        collector: who says so, for the document.
        models: directories of the logged models inside; they may bring code.

    Raises:
        CatalogueError, UnreadableFileError: the environment can't be told.
    """

    def of(start: Started) -> EnvironmentDocument:
        return _document(tree, start, machine, collector, models)

    try:
        start = started(tree, launch)
    except UnclearScriptError as unclear:
        return agreed(tree, unclear, of)
    return of(start)


def _document(tree: FileTree, start: Started, machine: str, collector: str, models: Sequence[str]) -> EnvironmentDocument:
    where = prefix(tree, start)
    path = effective_path(tree, where, start)
    try:
        found = installed(tree, path.entries)
        owners = Ownership(tree, found)
        modules = list(Finder(tree, path.entries, path.series).modules())
        code = own_code(tree, path, modules, owners, models)
        hooks = startup(tree, path, owners)
        libraries = Libraries(tree, where.executable, start.launch.env, machine=machine)
        described = with_hooks(packages(tree, found, libraries), hooks)
        return EnvironmentDocument(
            python=interpreter(tree, where),
            platform=Platform(os="linux", machine=machine, libc=libc(tree, machine)),
            packages=described,
            system=system(tree, where.base),
            cuda=cuda(tree, described, where.base, machine),
            code=dict(code.digests),
            shadows=dict(code.shadows) or None,
            unowned=dict(code.unowned) or None,
            bytecode=bytecode(tree, path, modules, owners) or None,
            startup=dict(hooks.digests),
            collector=collector,
        )
    except ValidationError as error:
        raise unfit(error) from error


def unfit(error: ValidationError) -> CatalogueError:
    """Return the refusal of metadata whose values no document can hold."""
    first = error.errors(include_url=False)[0]
    what = f"{error.title}.{'.'.join(str(part) for part in first['loc'])}"
    return CatalogueError(Reason.METADATA_INVALID, f"{what}: {first['msg']}: {str(first['input'])[:100]!r}")
