"""The interpreter's own library: which of its modules are not those that it came with."""

from collections.abc import Iterable, Iterator, Sequence

from lockstep.environment.catalogue.launch.interpreter import Prefix
from lockstep.environment.catalogue.launch.path import SearchPath
from lockstep.environment.catalogue.packages.filelists import FileLists, file_lists
from lockstep.environment.catalogue.packages.modules import Kind, Module
from lockstep.environment.catalogue.packages.ownership import DEBIANS_OWN
from lockstep.environment.catalogue.python.code import HOOKS, NEVER_IMPORTED
from lockstep.environment.document import LibraryKind
from lockstep.environment.tree import FileStat, FileTree

MAX_NAMED = 100
"""So many are named; one is enough to refuse."""
_MOST = 0.9
"""Share of the library's files that a layer holds which brings the library."""
_NEW = 0.5
"""Share of those that have another content than before where it is another library, and not the same one copied again."""


def library(tree: FileTree, where: Prefix, path: SearchPath, modules: Iterable[Module]) -> dict[str, LibraryKind]:
    """Find what is not the interpreter's own, sorted by path, the first 100.

    What the package that brought the library states counts: dpkg's, apk's and rpm's lists of files, conda's records. Where no
    package brought it, the image layer that did is what a later layer's content is held against.

    Raises:
        CatalogueError: a list of files can't be understood.
        UnreadableFileError: a file's digest was not taken.
    """
    relevant = [module for module in modules if module.entry in path.library and not _is_left_out(module)]
    lists = file_lists(tree, where.base)
    if f"{where.standard_library}/os.py" in lists:
        differing = dict(_differing_by_lists(tree, lists, where, relevant))
    else:
        differing = _differing_by_layers(tree, where, relevant)
    differing |= dict.fromkeys(_find_changed_copy(tree, where), LibraryKind.CHANGED)
    differing |= {
        module.file: LibraryKind.CHANGED
        for module in modules
        if module.entry == DEBIANS_OWN and module.file in lists and not lists.holds(tree, module.file)
    }
    return dict(sorted(differing.items())[:MAX_NAMED])


def _is_left_out(module: Module) -> bool:
    """Return whether a module is left out: one that nothing imports, a hook, which is compared as such, or byte code alone,
    which is judged elsewhere.
    """
    top = module.path.partition("/")[0].partition(".")[0]
    return top in NEVER_IMPORTED or top in HOOKS or module.kind is Kind.BYTECODE


def _differing_by_lists(
    tree: FileTree, lists: FileLists, where: Prefix, modules: Sequence[Module]
) -> Iterator[tuple[str, LibraryKind]]:
    for file in (*(module.file for module in modules), *_interpreter_files(tree, where)):
        if file not in lists:
            if file != where.executable:
                yield file, LibraryKind.ADDED
        elif not lists.holds(tree, file):
            yield file, LibraryKind.CHANGED


def _find_changed_copy(tree: FileTree, where: Prefix) -> Iterator[str]:
    """Yield the interpreter where it is a copy outside of its base (a virtual environment's) and not the same as its base's."""
    home = f"{where.base.rstrip('/')}/bin"
    if where.venv is None or where.executable.startswith(f"{home}/"):
        return
    names = (f"{home}/python{where.series}", f"{home}/python3", f"{home}/python")
    originals = {tree.sha256(path) for path in names if tree.resolve(path) is not None}
    if originals and tree.sha256(where.executable) not in originals:
        yield where.executable


def _interpreter_files(tree: FileTree, where: Prefix) -> Iterator[str]:
    """Yield the interpreter, and the library that it is in where it is in one."""
    yield where.executable
    for folder in (f"{where.base.rstrip('/')}/{where.library}", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"):
        path = tree.resolve(f"{folder}/libpython{where.series}.so.1.0")
        if path is not None:
            yield path


def _differing_by_layers(tree: FileTree, where: Prefix, modules: Sequence[Module]) -> dict[str, LibraryKind]:
    stats = {module.file: stat for module in modules if (stat := tree.stat(module.file)) is not None}
    base = _layer_of_library(list(stats.values()))
    fresh = [file for file, stat in stats.items() if stat.layer >= base]
    named = {file for file, stat in stats.items() if stat.layer > base}
    if len(fresh) < _NEW * len(stats) and not _is_another_build(tree, where, modules, base):
        # The same library copied again, as a build in several stages does: its files have the content that they had.
        named |= set(fresh)
    return dict.fromkeys(named, LibraryKind.LATER)


def _layer_of_library(stats: Sequence[FileStat]) -> int:
    """Return the last layer that holds nearly all of the library's files: the one that brought it."""
    numbers = sorted({stat.put for stat in stats}, reverse=True)
    return next((n for n in numbers if sum(stat.put >= n for stat in stats) >= _MOST * len(stats)), 0)


def _is_another_build(tree: FileTree, where: Prefix, modules: Sequence[Module], layer: int) -> bool:
    """Return whether a layer brought another build: its interpreter, or every compiled module, has another content too."""
    binaries = [stat for path in _interpreter_files(tree, where) if (stat := tree.stat(path)) is not None]
    compiled = [stat for module in modules if module.kind is Kind.EXTENSION and (stat := tree.stat(module.file)) is not None]
    return any(stat.layer >= layer for stat in binaries) or (bool(compiled) and all(stat.layer >= layer for stat in compiled))
