"""What can be imported: for every module the file that runs, found as CPython's FileFinder and PathFinder find it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.tree import FileKind, FileTree

_MAX_DIRECTORIES = 100_000
_MAX_DEPTH = 100
_MAX_NAMES = 20
"""So many import names one directory may have by way of links: links among directories multiply without end."""
# Directories of the system below a path entry `/`: what can be imported from there by accident is nobody's code.
_SYSTEM = frozenset(
    "bin boot dev etc lib lib32 lib64 libx32 lost media mnt proc run sbin sys tmp usr var".split()  # noqa: SIM905
)


class Kind(IntEnum):
    """Kinds of module files, in the order in which they are preferred within a directory."""

    EXTENSION = 0
    SOURCE = 1
    BYTECODE = 2


_SUFFIXES = {Kind.EXTENSION: ".so", Kind.SOURCE: ".py", Kind.BYTECODE: ".pyc"}


@dataclass(frozen=True, slots=True)
class Module:
    """One module and the file that runs when it is imported."""

    path: str
    """Import path: `fraud/features.py`, `fraud/__init__.py`, `fraud/_fast.so` whatever tag the file's name bears."""
    file: str
    entry: str
    """The directory on the path that it was found in."""
    kind: Kind


@dataclass(frozen=True, slots=True)
class _Portion:
    """One directory in which the modules of a package are searched for."""

    entry: str
    folder: str


class Finder:
    """Finds modules in a tree.

    Args:
        tree: the root file system.
        entries: the directories on the path, in order.
        series: the interpreter's, as `3.11`; extension modules of another one are no modules.
    """

    def __init__(self, tree: FileTree, entries: Sequence[str], series: str) -> None:
        self._tree = tree
        self._entries = entries
        self._tags = (f"cpython-{series.replace('.', '')}", f"pypy{series.replace('.', '')}")
        self._walked: Counter[str] = Counter()

    def modules(self) -> Iterator[Module]:
        """Yield every module that can be imported, each once.

        Raises:
            CatalogueError: LimitExceeded, when there are more directories than can be walked.
        """
        return self._modules_below([_Portion(entry, entry) for entry in self._entries], "", frozenset())

    def top_levels(self, entry: str) -> dict[str, Module]:
        """Return what one directory on the path would give for each top-level name, namespace packages left out."""
        modules = {name: self._top_level(entry, name, files) for name, files in self._names(entry).items()}
        return {name: module for name, module in modules.items() if module is not None}

    def top_level(self, entry: str, name: str) -> Module | None:
        """Return what one directory on the path would give for one top-level name."""
        files = self._names(entry).get(name)
        return self._top_level(entry, name, files) if files is not None else None

    def _top_level(self, entry: str, name: str, files: dict[str, str]) -> Module | None:
        folder = f"{entry.rstrip('/')}/{name}"
        init = self._module(entry, folder, f"{name}/__init__", self._files(folder, "__init__")) if "" in files else None
        return init or self._module(entry, entry, name, files)

    def _modules_below(self, portions: Sequence[_Portion], prefix: str, above: frozenset[str]) -> Iterator[Module]:
        namespaces: dict[str, list[_Portion]] = {}
        settled: set[str] = set()
        for portion in portions:
            for name, files in self._names(portion.folder).items():
                if name in settled:
                    continue
                below = f"{portion.folder.rstrip('/')}/{name}"
                is_directory = "" in files and self._is_directory(below)
                if is_directory and self._files(below, "__init__"):
                    settled.add(name)
                    yield from self._package([_Portion(portion.entry, below)], f"{prefix}{name}/", above)
                    continue
                module = self._module(portion.entry, portion.folder, prefix + name, files)
                if module is not None:
                    settled.add(name)
                    yield module
                elif is_directory:
                    namespaces.setdefault(name, []).append(_Portion(portion.entry, below))
        for name, parts in namespaces.items():
            if name not in settled:
                yield from self._package(parts, f"{prefix}{name}/", above)

    def _package(self, portions: Sequence[_Portion], prefix: str, above: frozenset[str]) -> Iterator[Module]:
        taken: list[_Portion] = []
        within = set(above)
        for portion in portions:
            resolved = self._tree.resolve(portion.folder)
            # A link to a directory above leads round in a circle; another entry of the path is walked as what it is.
            if resolved is None or resolved in above or resolved in self._entries:
                continue
            within.add(resolved)
            taken.append(portion)
            self._walked[resolved] += 1
            if self._walked[resolved] > _MAX_NAMES:
                raise _limit_error(f"{resolved[:200]} can be imported by more than {_MAX_NAMES} names")
        if len(self._walked) > _MAX_DIRECTORIES:
            raise _limit_error(f"there are more than {_MAX_DIRECTORIES} directories on the interpreter's path")
        if len(within) > _MAX_DEPTH:
            raise _limit_error(f"more than {_MAX_DEPTH} directories on the interpreter's path lie in one another")
        return self._modules_below(taken, prefix, frozenset(within)) if taken else iter(())

    def _names(self, folder: str) -> dict[str, dict[str, str]]:
        """Return for every name that could be a module the files that bear it, by suffix; a directory's is empty."""
        names: dict[str, dict[str, str]] = {}
        for file in self._tree.listdir(folder):
            name, _, suffix = file.partition(".")
            if name.isidentifier() and name != "__pycache__" and not (folder == "/" and name in _SYSTEM):
                names.setdefault(name, {})[suffix] = file
        return names

    def _files(self, folder: str, name: str) -> dict[str, str]:
        candidates = (file.partition(".") for file in self._tree.listdir(folder) if file.startswith(f"{name}."))
        return {
            suffix: f"{stem}.{suffix}"
            for stem, _, suffix in candidates
            if self._suffix_rank(suffix) is not None and self._is_file(f"{folder}/{stem}.{suffix}")
        }

    def _module(self, entry: str, folder: str, path: str, files: dict[str, str]) -> Module | None:
        ranked = sorted((rank, file) for suffix, file in files.items() if (rank := self._suffix_rank(suffix)) is not None)
        for (kind, _), name in ranked:
            file = f"{folder.rstrip('/')}/{name}"
            if self._is_file(file):
                return Module(path + _SUFFIXES[kind], file, entry, kind)
        return None

    def _suffix_rank(self, suffix: str) -> tuple[Kind, int] | None:
        """Return the kind of a file by its suffix and its place within the kind (`importlib.machinery`'s lists)."""
        if suffix in ("py", "pyc"):
            return (Kind.SOURCE if suffix == "py" else Kind.BYTECODE), 0
        if not suffix.endswith("so"):
            return None
        if suffix.startswith(self._tags) and suffix.endswith(".so"):
            return Kind.EXTENSION, 0
        return (Kind.EXTENSION, 1 if suffix == "abi3.so" else 2) if suffix in ("abi3.so", "so") else None

    def _is_file(self, path: str) -> bool:
        return self._is_kind(path, FileKind.FILE)

    def _is_directory(self, path: str) -> bool:
        return self._is_kind(path, FileKind.DIRECTORY)

    def _is_kind(self, path: str, wanted: FileKind) -> bool:
        kind = self._tree.kind(path)
        if kind is FileKind.SYMLINK:
            resolved = self._tree.resolve(path)
            kind = self._tree.kind(resolved) if resolved is not None else None
        return kind is wanted


def _limit_error(message: str) -> CatalogueError:
    return CatalogueError(Reason.LIMIT_EXCEEDED, message)
