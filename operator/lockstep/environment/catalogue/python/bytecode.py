"""Compiled files that run instead of their source (PEP 3147, PEP 552)."""

from collections.abc import Iterable, Iterator

from lockstep.environment.catalogue.launch.path import SearchPath
from lockstep.environment.catalogue.packages.modules import Kind, Module
from lockstep.environment.catalogue.packages.ownership import Ownership
from lockstep.environment.catalogue.packages.record import row_hash
from lockstep.environment.document import BytecodeKind
from lockstep.environment.tree import HEAD, FileTree

MAX_BYTECODE = 100
"""So many are named; one is enough to refuse."""


def bytecode(tree: FileTree, path: SearchPath, modules: Iterable[Module], owners: Ownership) -> dict[str, BytecodeKind]:
    """Find byte code that the interpreter takes without, or in spite of, its source: path to kind, sorted, the first 100.

    Byte code that stands alone is fine where a distribution brought it and says by which digest.

    Raises:
        UnreadableFileError: what is known of a file is not enough.
    """
    kinds: dict[str, BytecodeKind] = {}
    caches = _Caches(tree, path)
    for module in modules:
        if module.kind is Kind.BYTECODE and not _is_brought_by_distribution(tree, module, owners):
            kinds[module.file] = BytecodeKind.SOURCELESS
        elif module.kind is Kind.SOURCE:
            for cache in caches.caches_of(module.file):
                kind = _judge_cache(tree, cache, module.file)
                if kind is not None:
                    kinds[cache] = kind
    return dict(sorted(kinds.items())[:MAX_BYTECODE])


def _is_brought_by_distribution(tree: FileTree, module: Module, owners: Ownership) -> bool:
    row, digest = owners.row(module.file), tree.sha256(module.file)
    return row is not None and digest is not None and row.hash == row_hash(digest)


def _judge_cache(tree: FileTree, cache: str, source: str) -> BytecodeKind | None:
    """Read a cache's header: magic number, flags, and either the source's hash or its time and size (PEP 552)."""
    head = tree.head(cache)
    if head is None or len(head) < HEAD:
        return None
    flags, modified, size = (int.from_bytes(head[at : at + 4], "little") for at in (4, 8, 12))
    if flags & 1:
        return None if flags & 2 else BytecodeKind.UNCHECKED
    compiled, written = tree.stat(cache), tree.stat(source)
    if compiled is None or written is None:
        return None
    taken = (modified, size) == (written.modified & 0xFFFFFFFF, written.size & 0xFFFFFFFF)
    return BytecodeKind.STALE if taken and compiled.layer < written.layer else None


class _Caches:
    """The cached byte code of sources, whatever the level of optimisation."""

    def __init__(self, tree: FileTree, path: SearchPath) -> None:
        self._tree = tree
        self._prefix = path.pycache_prefix
        series = path.series.replace(".", "")
        self._tags = (f"cpython-{series}", f"pypy{series}")
        self._folders: dict[str, dict[str, list[str]]] = {}

    def caches_of(self, source: str) -> Iterator[str]:
        folder, _, name = source.rpartition("/")
        cached = f"{self._prefix.rstrip('/')}{folder}" if self._prefix is not None else f"{folder}/__pycache__"
        if cached not in self._folders:
            self._folders[cached] = self._list_caches(cached)
        for file in self._folders[cached].get(name.removesuffix(".py"), ()):
            yield f"{cached}/{file}"

    def _list_caches(self, folder: str) -> dict[str, list[str]]:
        caches: dict[str, list[str]] = {}
        for file in self._tree.listdir(folder):
            stem, _, rest = file.partition(".")
            if rest.endswith(".pyc") and rest.partition(".")[0] in self._tags:
                caches.setdefault(stem, []).append(file)
        return caches
