"""Which needed shared libraries a root file system lacks: the search of the dynamic linker, from files alone."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lockstep.api.reasons import Reason
from lockstep.environment.binaries.sharedobject import MAX_NAME, SharedObject, Undetermined
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.native.libc import libc
from lockstep.environment.catalogue.native.linkerpaths import glibc_directories, musl_directories
from lockstep.environment.document import UNDETERMINED
from lockstep.environment.tree import FileKind, FileTree

MAX_STEPS = 5_000_000
"""Directories that are searched for one environment; PyTorch with CUDA takes some ten thousand."""
# musl takes these for itself, whatever follows the dot (musl, ldso/dynlink.c, load_library).
_MUSL_OWN = ("libc.", "libpthread.", "librt.", "libm.", "libdl.", "libutil.", "libxnet.")


@dataclass(frozen=True)
class Loaded:
    """An object as the dynamic linker would have it in memory."""

    folder: str
    """Where it was found: `$ORIGIN`."""
    object: SharedObject
    loader: "Loaded | None" = None
    """What needed it first; None for what the process itself loads."""


@dataclass
class _Closure:
    """Objects that are loaded together, with all that they need."""

    loaded: set[str]
    """Names that are not searched for: an object of that name is loaded already."""
    provided: frozenset[str] = frozenset()
    """Names that count although no search finds them: an object of that name may be loaded first, by its path."""
    seen: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    todo: deque[Loaded] = field(default_factory=deque)


class Libraries:
    """The shared libraries of a root file system, as a process finds them that was started in it (ld.so(8))."""

    def __init__(
        self, tree: FileTree, interpreter: str, env: Mapping[str, str], *, machine: str, max_steps: int = MAX_STEPS
    ) -> None:
        """Search as the process of `interpreter` (a path) does with the environment variables `env`.

        Args:
            tree: the root file system.
            interpreter: path of the program.
            env: its variables, of which `LD_LIBRARY_PATH` counts.
            machine: as `uname -m` prints it (`x86_64`).
            max_steps: directories that may be searched.
        """
        self._tree = tree
        self._max_steps = max_steps
        self._machine = machine
        self._musl = (libc(tree, machine) or "").startswith("musl")
        self._steps = 0
        self._names: dict[str, frozenset[str]] = {}
        self._folders: dict[tuple[str, str], tuple[str, ...]] = {}
        self._objects: dict[str, SharedObject | Undetermined | None] = {}
        self._default = tuple(
            self._existing_directories(musl_directories(tree) if self._musl else glibc_directories(tree, machine))
        )
        program = tree.resolve(interpreter) or interpreter
        folder = _folder(program)
        self._variable = self._expand(env.get("LD_LIBRARY_PATH", "").replace(";", ":"), folder)
        shared_object = self._object(program)
        self._main = Loaded(folder, shared_object) if isinstance(shared_object, SharedObject) else None
        self._process = self._loaded_at_start()

    def names(self, objects: Iterable[str]) -> frozenset[str]:
        """Return the names under which some objects (paths) serve others once they are loaded."""
        return frozenset(shared_object.soname for _, shared_object in self._of_this_machine(objects) if shared_object.soname)

    def missing(self, objects: Sequence[str], provided: frozenset[str]) -> tuple[str, ...]:
        """Return the names (sorted) that a package's objects need, themselves or through others, and nothing provides.

        A library that is loaded already serves everyone who needs its name: what the interpreter needs, and, where no
        search finds it, what the package itself brings, since it may load that by its path first.

        Args:
            objects: paths of the package's shared objects; what is no object for this machine is passed over.
            provided: names that other packages provide, which this one imports first.

        Returns:
            Names of libraries, and `?` followed by the name of a file whose needs can't be determined.

        Raises:
            CatalogueError: LimitExceeded when it takes too many steps.
        """
        own = list(self._of_this_machine(objects))
        closure = _Closure(set(self._process), provided | self.names(objects))
        closure.missing |= {UNDETERMINED + _name(path) for path in objects if self._object(path) is Undetermined.BROKEN}
        needed = {name for _, shared_object in own for name in shared_object.needed}
        # What another one needs is loaded by it, and inherits its search path; the rest is loaded by the process itself.
        for path, shared_object in sorted(own, key=lambda one: ((one[1].soname or _name(one[0])) in needed, one[0])):
            self._add_object(closure, path, Loaded(_folder(path), shared_object))
            self._search_needs(closure)
        return tuple(sorted({_printable_name(name) for name in closure.missing}))

    def _loaded_at_start(self) -> set[str]:
        closure = _Closure(set())
        if self._main is not None:
            closure.todo.append(self._main)
            self._search_needs(closure)
        return closure.loaded

    def _of_this_machine(self, paths: Iterable[str]) -> Iterator[tuple[str, SharedObject]]:
        for path in paths:
            shared_object = self._object(path)
            # Packages bring objects for other machines too, which are never loaded.
            if isinstance(shared_object, SharedObject) and (
                self._main is None or _is_same_machine(shared_object, self._main.object)
            ):
                yield path, shared_object

    def _add_object(self, closure: _Closure, path: str, loaded: Loaded) -> None:
        resolved = self._tree.resolve(path) or path
        if resolved not in closure.seen:
            closure.seen.add(resolved)
            closure.todo.append(loaded)

    def _search_needs(self, closure: _Closure) -> None:
        """Search for what the objects need, in the dynamic linker's order: breadth first."""
        while closure.todo:
            loaded = closure.todo.popleft()
            for name in loaded.object.needed:
                if name in closure.loaded or (self._musl and name.startswith(_MUSL_OWN)):
                    continue
                path = self._search(name, loaded)
                if path is None:
                    closure.missing |= {name} - closure.provided
                    continue
                closure.loaded.add(name)
                shared_object = self._object(path)
                if isinstance(shared_object, SharedObject):
                    closure.loaded |= {shared_object.soname} if shared_object.soname else set()
                    self._add_object(closure, path, Loaded(_folder(path), shared_object, loaded))
                elif shared_object is Undetermined.BROKEN:
                    closure.missing.add(UNDETERMINED + _name(path))

    def _search(self, name: str, loader: Loaded) -> str | None:
        if "/" in name:
            paths = (f"{folder}/{_name(name)}" for folder in self._expand(_folder(name), loader.folder))
            return next((path for path in paths if self._is_loadable(path, loader.object)), None)
        for folder in self._directories(loader):
            self._count_step()
            if name in self._list_names(folder) and self._is_loadable(path := f"{folder.rstrip('/')}/{name}", loader.object):
                return path
        return None

    def _directories(self, loader: Loaded) -> Iterator[str]:
        """Yield where the needs of an object are searched for, in order."""
        if self._musl:
            # musl makes no difference between the two, and climbs through both (ldso/dynlink.c, load_library).
            yield from self._variable
            for ancestor in self._loaders(loader):
                yield from self._expand(ancestor.object.runpath or ancestor.object.rpath or "", ancestor.folder)
        else:
            if loader.object.runpath is None:
                for ancestor in self._loaders(loader):
                    yield from self._expand(
                        ancestor.object.rpath or "" if ancestor.object.runpath is None else "", ancestor.folder
                    )
            yield from self._variable
            yield from self._expand(loader.object.runpath or "", loader.folder)
        yield from self._default

    def _loaders(self, loader: Loaded) -> Iterator[Loaded]:
        """Yield an object, what loaded it, and so on; the program is the last."""
        ancestor: Loaded | None = loader
        while ancestor is not None:
            self._count_step()
            if ancestor is not self._main:
                yield ancestor
            ancestor = ancestor.loader
        if self._main is not None:
            yield self._main

    def _expand(self, path: str, origin: str) -> tuple[str, ...]:
        """Return the directories of a search path that exist; relative ones depend on where the process stands: none."""
        known = self._folders.get((path, origin))
        if known is None:
            texts = (_expand_tokens(part, origin, self._machine) for part in path.split(":"))
            known = self._folders[path, origin] = tuple(self._existing_directories(one for text in texts for one in text))
        return known

    def _existing_directories(self, folders: Iterable[str]) -> list[str]:
        """Return the directories that exist, each once. `..` counts from where a link leads, as in the kernel."""
        existing: dict[str, None] = {}
        for folder in folders:
            self._count_step()
            resolved = self._tree.resolve(folder) if folder.startswith("/") else None
            if resolved is not None and self._tree.kind(resolved) is FileKind.DIRECTORY:
                existing[resolved] = None
        return list(existing)

    def _count_step(self) -> None:
        self._steps += 1
        if self._steps > self._max_steps:
            raise CatalogueError(
                Reason.LIMIT_EXCEEDED, f"the search for shared libraries takes more than {self._max_steps} steps"
            )

    def _list_names(self, folder: str) -> frozenset[str]:
        known = self._names.get(folder)
        if known is None:
            known = self._names[folder] = frozenset(self._tree.listdir(folder))
        return known

    def _is_loadable(self, path: str, loader: SharedObject) -> bool:
        """Return whether the linker would take a file: one of another machine is passed over, one never read counts."""
        shared_object = self._object(path)
        return (
            _is_same_machine(shared_object, loader)
            if isinstance(shared_object, SharedObject)
            else shared_object in (Undetermined.BROKEN, Undetermined.NOT_READ)
        )

    def _object(self, path: str) -> SharedObject | Undetermined | None:
        if path not in self._objects:
            self._objects[path] = self._tree.shared_object(path)
        return self._objects[path]


def _is_same_machine(one: SharedObject, other: SharedObject) -> bool:
    return (one.machine, one.bits) == (other.machine, other.bits)


def _expand_tokens(text: str, origin: str, machine: str) -> Iterator[str]:
    """Expand the dynamic string tokens; `$LIB` is a directory that each distribution chooses, so all are given."""
    for token, value in (("ORIGIN", origin), ("PLATFORM", machine)):
        text = text.replace(f"${{{token}}}", value).replace(f"${token}", value)
    for lib in ("lib64", "lib", f"lib/{machine}-linux-gnu") if "$LIB" in text or "${LIB}" in text else ("",):
        yield text.replace("${LIB}", lib).replace("$LIB", lib)


def _printable_name(name: str) -> str:
    """Return a name as documents can hold it."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in name[: MAX_NAME + 1])


def _folder(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def _name(path: str) -> str:
    return path.rpartition("/")[2]
