"""The interpreter's version and its effective `sys.path`, from files alone (CPython's getpath and site modules)."""

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.launch.launch import Launch, Started
from lockstep.environment.catalogue.launch.path import Place, Position, SearchPath
from lockstep.environment.catalogue.launch.programs import check_places
from lockstep.environment.catalogue.system.conda import conda_version
from lockstep.environment.catalogue.system.dpkg import dpkg_version, has_dpkg
from lockstep.environment.document import Interpreter
from lockstep.environment.tree import FileKind, FileTree, UnreadableFileError

MOVES_LIBRARY = ("PYTHONHOME", "PYTHONPLATLIBDIR")
"""Variables that move the standard library: a launch that sets one is refused."""


@dataclass(frozen=True)
class Prefix:
    """Where an interpreter keeps its library."""

    executable: str
    """Symbolic links followed."""
    base: str
    """`sys.base_prefix`."""
    venv: str | None
    """The virtual environment (PEP 405), when the interpreter was called through one."""
    system_site: bool
    """True when the virtual environment shows the base's packages too."""
    series: str
    """`3.11`."""
    implementation: str
    library: str = "lib"
    """`sys.platlibdir`: `lib64` on Fedora and its kin, where `lib` is searched after it."""

    @property
    def name(self) -> str:
        """The library's own directory (`python3.11`, `pypy3.10`)."""
        return f"{'pypy' if self.implementation == 'pypy' else 'python'}{self.series}"

    @property
    def standard_library(self) -> str:
        """Where `os.py` is."""
        return f"{self.base.rstrip('/')}/{self.library}/{self.name}"

    def sites(self, root: str) -> tuple[str, ...]:
        """Return the site-packages directories below a prefix (`site.getsitepackages`)."""
        return tuple(
            f"{root.rstrip('/')}/{folder}/{self.name}/site-packages" for folder in dict.fromkeys((self.library, "lib"))
        )


def prefix(tree: FileTree, start: Started) -> Prefix:
    """Find the interpreter's prefixes.

    Raises:
        CatalogueError: InterpreterNotFound.
    """
    executable = tree.resolve(start.executable)
    if executable is None or tree.kind(executable) is not FileKind.FILE:
        raise CatalogueError(Reason.INTERPRETER_NOT_FOUND, f"{start.executable} is not in the image")
    name = executable.rpartition("/")[2]
    implementation = "pypy" if name.startswith("pypy") else "cpython"
    venv, settings = _venv(tree, start.executable)
    base, library, series = _base(tree, settings.get("home", executable.rpartition("/")[0]), name)
    return Prefix(
        executable=executable,
        base=base,
        venv=venv,
        system_site=settings.get("include-system-site-packages", "false").lower() == "true",
        series=series,
        implementation=implementation,
        library=library,
    )


def _base(tree: FileTree, folder: str, name: str) -> tuple[str, str, str]:
    """Search upwards for the standard library, from the interpreter's directory or a virtual environment's `home`."""
    start = folder = folder.rstrip("/")
    stated = re.search(r"(\d+\.\d+)$", name)
    library_name = re.compile(rf"{'pypy' if name.startswith('pypy') else 'python'}(\d+\.\d+)")
    while True:
        libraries = [
            (library, series[1])
            for library in ("lib", "lib64")
            for entry in tree.listdir(f"{folder}/{library}")
            if (series := library_name.fullmatch(entry)) and (stated is None or stated[1] == series[1])
            if tree.kind(f"{folder}/{library}/{entry}/os.py")
        ]
        if libraries:
            library, series_found = libraries[0]
            places = {tree.resolve(f"{folder}/{library}") for library, series in libraries if series == series_found}
            if len(places) > 1:
                message = f"{folder}/lib and {folder}/lib64 both hold the standard library"
                raise CatalogueError(Reason.INTERPRETER_AMBIGUOUS, message)
            return folder or "/", library, series_found
        if not folder:
            raise CatalogueError(Reason.INTERPRETER_NOT_FOUND, f"the standard library of {start}/{name} is not in the image")
        folder = folder.rpartition("/")[0]


def _venv(tree: FileTree, executable: str) -> tuple[str | None, dict[str, str]]:
    folder = executable.rpartition("/")[0]
    configurations = [
        (candidate, body)
        for candidate in (folder.rpartition("/")[0], folder)
        if (body := tree.read(f"{candidate}/pyvenv.cfg")) is not None
    ]
    if not configurations:
        return None, {}
    venv, body = configurations[0]
    settings: dict[str, str] = {}
    for key, equals, value in (line.partition("=") for line in body.decode("utf-8", "replace").split("\n")):
        if equals:
            settings.setdefault(key.strip().lower(), value.strip())
    # getpath takes the first of two lines and one of two files, site the other; without a home each takes another base.
    if len(configurations) > 1 or not settings.get("home", "").startswith("/"):
        raise CatalogueError(Reason.INTERPRETER_AMBIGUOUS, f"{venv}/pyvenv.cfg has no absolute home, or is there twice")
    return venv, settings


def interpreter(tree: FileTree, where: Prefix) -> Interpreter:
    """Return implementation and full version, from the binary itself where it says so.

    Raises:
        CatalogueError: InterpreterNotFound when nothing reliable states the version.
    """
    version = _from_binary(tree, where) or _from_header(tree, where) or _from_packages(tree, where)
    if version is None or not version.startswith(f"{where.series}."):
        raise CatalogueError(Reason.INTERPRETER_NOT_FOUND, f"the full version of {where.executable} can't be determined")
    return Interpreter(implementation=where.implementation, version=version)


def _from_binary(tree: FileTree, where: Prefix) -> str | None:
    folders = [f"{where.base.rstrip('/')}/{where.library}", *(f"/usr/lib/{m}-linux-gnu" for m in ("x86_64", "aarch64"))]
    libraries = (f"{folder}/libpython{where.series}.so.1.0" for folder in folders)
    for path in (where.executable, *libraries):
        program = tree.program(path)
        if program is not None and program.python is not None:
            return program.python
    return None


def _from_header(tree: FileTree, where: Prefix) -> str | None:
    body = tree.read(f"{where.base.rstrip('/')}/include/{where.name}/patchlevel.h") or b""
    match = re.search(rb'#define\s+PY_VERSION\s+"([0-9a-z.]+)\+?"', body)
    return match[1].decode() if match else None


def _from_packages(tree: FileTree, where: Prefix) -> str | None:
    if where.base != "/usr":
        return conda_version(tree, where.base, "python")
    version = dpkg_version(tree, f"python{where.series}-minimal")
    return re.split(r"[-+~]", version)[0] if version else None


def search_path(tree: FileTree, where: Prefix, start: Started) -> tuple[str, ...]:
    """Return the directories and archives of the effective `sys.path`, in order, `.pth` lines included.

    Raises:
        CatalogueError: as `effective_path` does.
    """
    return effective_path(tree, where, start).entries


def effective_path(tree: FileTree, where: Prefix, start: Started, places: Sequence[Place] = ()) -> SearchPath:
    """Return the effective `sys.path`, `.pth` lines included.

    Args:
        tree: the root file system.
        where: the interpreter's prefixes.
        start: how it is started.
        places: what its program puts on the path once it runs, in this order.

    Raises:
        CatalogueError: InterpreterAmbiguous when a variable moves the standard library, or a directory leads into the kernel's.
    """
    launch = start.launch
    for variable in MOVES_LIBRARY:
        if launch.env.get(variable):
            raise CatalogueError(Reason.INTERPRETER_AMBIGUOUS, f"the image sets {variable}, which moves the packages")
    isolated = "I" in start.options
    env = {} if isolated or "E" in start.options else launch.env
    script: list[str] = []
    if start.script is not None and not (isolated or "P" in start.options or env.get("PYTHONSAFEPATH")):
        script.append(start.script.rpartition("/")[0] or "/")
    stated = env.get("PYTHONPATH", "").split(":") if env.get("PYTHONPATH") else []
    # The site module makes them absolute by their text (`site.removeduppaths`).
    own = [posixpath.normpath(posixpath.join("/", launch.absolute(part))) for part in stated]
    library = [where.standard_library, f"{where.standard_library}/lib-dynload"]
    archive = [f"{where.base.rstrip('/')}/{where.library}/python{where.series.replace('.', '')}.zip"]
    user = not (isolated or "s" in start.options or env.get("PYTHONNOUSERSITE"))
    sites = list(_site_directories(tree, where, launch, user)) if "S" not in start.options else []
    added = [path for site in sites for path in (site, *_pth(tree, site))]
    before = archive if where.implementation != "pypy" else []
    early = [*own, *before, *library, *added]
    every = _add_places([*script, *early], places)
    cache = start.pycache_prefix if start.pycache_prefix is not None else env.get("PYTHONPYCACHEPREFIX")
    destinations = tuple(dict.fromkeys(tree.destination(path) for path in every))
    check_places(destinations)
    return SearchPath(
        entries=_existing_entries(tree, every),
        stated=destinations,
        library=frozenset(_resolve_all(tree, library)),
        site=_resolve_all(tree, sites),
        early=_existing_entries(tree, early),
        series=where.series,
        customized="S" not in start.options,
        user_customized="S" not in start.options and user and (where.venv is None or where.system_site),
        pycache_prefix=launch.absolute(cache) if cache else None,
    )


def _add_places(path: Sequence[str], places: Sequence[Place]) -> list[str]:
    """Return the path after a program has put its directories there."""
    entries = list(path)
    for place in places:
        if place.position is Position.LAST:
            entries.append(place.folder)
        elif place.position is Position.FIRST or place.folder not in entries:
            entries.insert(0, place.folder)
    return entries


def _existing_entries(tree: FileTree, paths: Iterable[str]) -> tuple[str, ...]:
    """Return the directories and archives among some paths that are there, symbolic links followed, each once."""
    kept: dict[str, str] = {}
    for path in paths:
        resolved = tree.resolve(path)
        if resolved is not None and tree.kind(resolved) in (FileKind.DIRECTORY, FileKind.FILE):
            # Whether it is an egg goes by the name on the path, not by what a link leads to.
            same = path.lower().endswith(".egg") == resolved.lower().endswith(".egg")
            kept.setdefault(resolved, resolved if same else path)
    return tuple(kept.values())


def _resolve_all(tree: FileTree, paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(resolved for path in paths if (resolved := tree.resolve(path)) is not None))


def _site_directories(tree: FileTree, where: Prefix, launch: Launch, user: bool) -> Iterator[str]:
    if where.venv is not None:
        yield from where.sites(where.venv)
        if not where.system_site:
            return
    if user:
        yield f"{_user_base(tree, launch)}/lib/{where.name}/site-packages"
    if where.base == "/usr" and _is_debian_python(tree, where):
        # Debian's interpreter searches these instead (Debian Python Policy, 2.5).
        yield f"/usr/local/lib/python{where.series}/dist-packages"
        yield "/usr/lib/python3/dist-packages"
        yield f"/usr/lib/python{where.series}/dist-packages"
        return
    if where.base == "/usr" and where.library == "lib64":
        # Fedora's and Red Hat's interpreter searches /usr/local first; some releases only where the user's site is on.
        local = [site for site in where.sites("/usr/local") if tree.listdir(site)]
        if local and not user:
            message = f"whether {local[0]} is on the path without the user's site differs between releases"
            raise CatalogueError(Reason.INTERPRETER_AMBIGUOUS, message)
        yield from local
    yield from where.sites(where.base)


def _user_base(tree: FileTree, launch: Launch) -> str:
    """Return the directory of the user's own packages (`site.getuserbase`, which takes no notice of -E)."""
    stated = launch.env.get("PYTHONUSERBASE")
    if stated and not stated.startswith("/"):
        message = f"the image sets PYTHONUSERBASE to {stated[:200]}, which is no absolute path"
        raise CatalogueError(Reason.INTERPRETER_AMBIGUOUS, message)
    return stated.rstrip("/") if stated else f"{home(tree, launch)}/.local"


def _is_debian_python(tree: FileTree, where: Prefix) -> bool:
    """Return whether the interpreter is Debian's: by its own site module, else by Debian's layout or package database."""
    try:
        body = tree.read(f"{where.standard_library}/site.py")
    except UnreadableFileError:
        body = None
    if body:
        return b"dist-packages" in body
    return tree.kind("/usr/lib/python3/dist-packages") is FileKind.DIRECTORY or has_dpkg(tree)


def home(tree: FileTree, launch: Launch) -> str:
    """Return the home directory of the user that a launch has, without a slash at its end."""
    if stated := launch.env.get("HOME"):
        return stated.rstrip("/")
    user = launch.user.partition(":")[0] or "0"
    for line in (tree.read("/etc/passwd") or b"").decode("utf-8", "replace").splitlines():
        fields = line.split(":")
        if len(fields) >= 6 and user in (fields[0], fields[2]):
            return fields[5].rstrip("/")
    return "/root" if user in ("0", "root") else ""


def _pth(tree: FileTree, site: str) -> Iterator[str]:
    """Yield the directories that `.pth` files add (site module); lines that import are code and add none that is known."""
    for name in tree.listdir(site):
        if not name.endswith(".pth") or name.startswith("."):
            continue
        body = tree.read(f"{site}/{name}") or b""
        for raw in body.decode("utf-8-sig", "replace").splitlines():
            line = raw.rstrip()
            if line and not line.startswith(("#", "import ", "import\t")):
                yield line if line.startswith("/") else f"{site}/{line}"
