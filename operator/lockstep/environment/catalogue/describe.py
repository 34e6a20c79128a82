"""The environment document of a root file system, given how its process starts."""

from collections.abc import Sequence

from pydantic import ValidationError

from lockstep.api.reasons import Reason
from lockstep.environment.candidate import Candidate
from lockstep.environment.catalogue.candidates import find_candidates
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.interpreters import agree_on_document
from lockstep.environment.catalogue.launch.interpreter import effective_path, interpreter, prefix
from lockstep.environment.catalogue.launch.launch import Launch, UnclearScriptError
from lockstep.environment.catalogue.launch.path import SearchPath
from lockstep.environment.catalogue.native.cuda import cuda
from lockstep.environment.catalogue.native.libc import libc
from lockstep.environment.catalogue.native.libraries import Libraries
from lockstep.environment.catalogue.packages.distributions import find_distributions
from lockstep.environment.catalogue.packages.intact import Intact
from lockstep.environment.catalogue.packages.modules import Finder
from lockstep.environment.catalogue.packages.ownership import Ownership
from lockstep.environment.catalogue.packages.packages import packages
from lockstep.environment.catalogue.python.bytecode import bytecode
from lockstep.environment.catalogue.python.code import own_code
from lockstep.environment.catalogue.python.library import library
from lockstep.environment.catalogue.python.startup import startup, with_hooks
from lockstep.environment.catalogue.servers.serving import Serving, serving
from lockstep.environment.catalogue.system.system import system
from lockstep.environment.document import EnvironmentDocument, Platform, Start
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
        CatalogueError, UnreadableFileError: the environment can't be determined.
    """

    def describe_serving(serves: Serving) -> EnvironmentDocument:
        return describe_process(tree, serves, machine=machine, collector=collector, models=models)

    try:
        serves = serving(tree, launch)
    except UnclearScriptError as unclear:
        return agree_on_document(tree, unclear, describe_serving)
    return describe_serving(serves)


def describe_candidates(
    tree: FileTree, launch: Launch, *, machine: str, collector: str, models: Sequence[str] = ()
) -> tuple[Candidate, ...]:
    """List the environments that an image could run, where `describe` can't tell which it starts; arguments as there."""

    def describe_candidate(serves: Serving) -> EnvironmentDocument:
        return describe_process(tree, serves, machine=machine, collector=collector, models=models)

    return find_candidates(tree, launch, describe_candidate)


def describe_process(
    tree: FileTree, serves: Serving, *, machine: str, collector: str, models: Sequence[str] = ()
) -> EnvironmentDocument:
    """Derive the document of a process of which it is known what it runs; arguments and errors as of `describe`."""
    where = prefix(tree, serves.start)
    path = effective_path(tree, where, serves.start, serves.places)
    try:
        distributions = find_distributions(tree, path.entries)
        owners = Ownership(tree, distributions)
        modules = list(Finder(tree, path.entries, path.series).modules())
        code = own_code(tree, path, modules, owners, models)
        hooks = startup(tree, path, owners)
        libraries = Libraries(tree, where.executable, serves.start.launch.env, machine=machine)
        intact = Intact(tree, distributions, modules, owners, prefix=where.base, scripts=serves.scripts)
        described = with_hooks(packages(tree, distributions, libraries, intact=intact), hooks)
        return EnvironmentDocument(
            python=interpreter(tree, where),
            platform=Platform(os="linux", machine=machine, libc=libc(tree, machine)),
            packages=described,
            system=system(tree, where.base),
            cuda=cuda(tree, described, where.base, machine),
            code={**code.digests, **_configuration(tree, serves)},
            shadows=dict(code.shadows) or None,
            unowned=dict(code.unowned) or None,
            bytecode=bytecode(tree, path, modules, owners) or None,
            library=library(tree, where, path, modules) or None,
            start=_start(tree, serves, path),
            startup=dict(hooks.digests),
            collector=collector,
        )
    except ValidationError as error:
        raise invalid_document_error(error) from error


def _configuration(tree: FileTree, serves: Serving) -> dict[str, str]:
    """Return the digests of the files of Python that a server executes as its configuration."""
    return {path.lstrip("/"): digest for path in serves.code if (digest := tree.sha256(path)) is not None}


def _start(tree: FileTree, serves: Serving, path: SearchPath) -> Start:
    model = serves.model
    code = f"{model.rstrip('/')}/code" if model is not None and model.startswith("/") else None
    # MLflow puts what was logged as code_paths first when it loads the model.
    before = [tree.destination(code)] if code is not None and tree.listdir(code) else []
    return Start(
        executable=_printable_path(serves.first.executable),
        program=_printable_path(serves.first.program) if serves.first.program is not None else None,
        server=serves.server,
        path=tuple(dict.fromkeys(_printable_path(one) for one in (*before, *path.stated))),
        model=_printable_path(model) if model is not None else None,
    )


def _printable_path(path: str) -> str:
    """Return a path as documents can hold it; what it begins with stands as it is."""
    return (path if path.isprintable() else ascii(path)[1:-1])[:512]


def invalid_document_error(error: ValidationError) -> CatalogueError:
    """Return the refusal of metadata whose values no document can hold."""
    first = error.errors(include_url=False)[0]
    what = f"{error.title}.{'.'.join(str(part) for part in first['loc'])}"
    return CatalogueError(Reason.METADATA_INVALID, f"{what}: {first['msg']}: {str(first['input'])[:100]!r}")
