"""All environments that an image could run: every interpreter, by itself and with each directory of packages put first."""

from collections.abc import Callable, Iterator, Sequence

from lockstep.environment.candidate import Candidate
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.interpreters import find_interpreters, has_framework
from lockstep.environment.catalogue.launch.interpreter import prefix, search_path
from lockstep.environment.catalogue.launch.launch import Launch, Started
from lockstep.environment.catalogue.launch.path import Place
from lockstep.environment.catalogue.servers.serving import Serving
from lockstep.environment.document import EnvironmentDocument
from lockstep.environment.tree import FileKind, FileTree, UnreadableFileError

MAX_CANDIDATES = 16
_MAX_ENTRIES = 1_000_000

Describe = Callable[[Serving], EnvironmentDocument]


def find_candidates(tree: FileTree, launch: Launch, describe: Describe) -> tuple[Candidate, ...]:
    """List the environments that an image could run; empty where they can't be listed, or are too many.

    An interpreter that can import no model framework is left out where another one can: with packages of another directory
    it may serve a model after all, and is listed with that one.

    Args:
        tree: the root file system.
        launch: how the image starts; its variables and working directory are those of every candidate.
        describe: derives the document of one of them.
    """
    try:
        starts = find_interpreters(tree, launch)
        paths = {start.executable: search_path(tree, prefix(tree, start), start) for start in starts}
        folders = list(_package_folders(tree, [entry for path in paths.values() for entry in path]))
        own = [start for start in starts if has_framework(tree, start)] or starts
    except (CatalogueError, UnreadableFileError):
        return ()
    if len(own) + len(starts) * len(folders) > MAX_CANDIDATES:
        return ()
    alone = [_describe(start, None, describe) for start in own]
    return (*alone, *(_describe(start, folder, describe) for folder in folders for start in starts))


def _describe(start: Started, added: str | None, describe: Describe) -> Candidate:
    places = (Place(added),) if added is not None else ()
    try:
        return Candidate(start.executable, added, describe(Serving(start, start, places)))
    except CatalogueError as error:
        return Candidate(start.executable, added, fault=error.message)
    except UnreadableFileError as error:
        return Candidate(start.executable, added, fault=str(error))


def _package_folders(tree: FileTree, known: Sequence[str]) -> Iterator[str]:
    """Yield the directories in which distributions are installed and that are neither on a path nor below one.

    What is below one is a package's own (setuptools brings distributions of its own so).
    """
    folders, seen = [""], 0
    while folders:
        folder = folders.pop()
        if folder in known:
            continue
        names = tree.listdir(folder or "/")
        seen += len(names)
        if seen > _MAX_ENTRIES:
            return
        if any(name.endswith((".dist-info", ".egg-info")) and _is_folder(tree, f"{folder}/{name}") for name in names):
            yield folder or "/"
            continue
        folders += [f"{folder}/{name}" for name in names if _is_folder(tree, f"{folder}/{name}")]


def _is_folder(tree: FileTree, path: str) -> bool:
    return tree.kind(path) is FileKind.DIRECTORY
