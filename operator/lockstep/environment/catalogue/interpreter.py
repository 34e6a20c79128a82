"""The interpreter's version and its effective `sys.path`, told from files alone (CPython's getpath and site modules)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.conda import conda_version
from lockstep.environment.catalogue.dpkg import dpkg_version, has_dpkg
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.launch import Launch, Started
from lockstep.environment.document import Interpreter
from lockstep.environment.tree import FileKind, FileTree


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
    base, series = _base(tree, settings.get("home", executable.rpartition("/")[0]), name)
    return Prefix(
        executable=executable,
        base=base,
        venv=venv,
        system_site=settings.get("include-system-site-packages", "false").lower() == "true",
        series=series,
        implementation=implementation,
    )


def _base(tree: FileTree, folder: str, name: str) -> tuple[str, str]:
    """Search upwards for the standard library, from the interpreter's directory or a virtual environment's `home`."""
    start = folder = folder.rstrip("/")
    stated = re.search(r"(\d+\.\d+)$", name)
    while True:
        for library in tree.listdir(f"{folder}/lib"):
            found = re.fullmatch(r"(?:python|pypy)(\d+\.\d+)", library)
            if found and (stated is None or stated[1] == found[1]) and tree.kind(f"{folder}/lib/{library}/os.py"):
                return folder or "/", found[1]
        if not folder:
            raise CatalogueError(Reason.INTERPRETER_NOT_FOUND, f"the standard library of {start}/{name} is not in the image")
        folder = folder.rpartition("/")[0]


def _venv(tree: FileTree, executable: str) -> tuple[str | None, dict[str, str]]:
    folder = executable.rpartition("/")[0]
    found = [
        (candidate, body)
        for candidate in (folder.rpartition("/")[0], folder)
        if (body := tree.read(f"{candidate}/pyvenv.cfg")) is not None
    ]
    if not found:
        return None, {}
    venv, body = found[0]
    settings: dict[str, str] = {}
    for key, equals, value in (line.partition("=") for line in body.decode("utf-8", "replace").split("\n")):
        if equals:
            settings.setdefault(key.strip().lower(), value.strip())
    # getpath takes the first of two lines and one of two files, site the other; without a home each takes another base.
    if len(found) > 1 or not settings.get("home", "").startswith("/"):
        raise CatalogueError(Reason.INTERPRETER_AMBIGUOUS, f"{venv}/pyvenv.cfg has no absolute home, or is there twice")
    return venv, settings


def interpreter(tree: FileTree, where: Prefix) -> Interpreter:
    """Return implementation and full version, from the binary itself where it says so.

    Raises:
        CatalogueError: InterpreterNotFound when nothing reliable states the version.
    """
    version = _from_binary(tree, where) or _from_header(tree, where) or _from_packages(tree, where)
    if version is None or not version.startswith(f"{where.series}."):
        raise CatalogueError(Reason.INTERPRETER_NOT_FOUND, f"the full version of {where.executable} can't be told")
    return Interpreter(implementation=where.implementation, version=version)


def _from_binary(tree: FileTree, where: Prefix) -> str | None:
    folders = [f"{where.base.rstrip('/')}/lib", *(f"/usr/lib/{m}-linux-gnu" for m in ("x86_64", "aarch64"))]
    libraries = (f"{folder}/libpython{where.series}.so.1.0" for folder in folders)
    for path in (where.executable, *libraries):
        program = tree.program(path)
        if program is not None and program.python is not None:
            return program.python
    return None


def _from_header(tree: FileTree, where: Prefix) -> str | None:
    body = tree.read(f"{where.base.rstrip('/')}/include/python{where.series}/patchlevel.h") or b""
    found = re.search(rb'#define\s+PY_VERSION\s+"([0-9a-z.]+)\+?"', body)
    return found[1].decode() if found else None


def _from_packages(tree: FileTree, where: Prefix) -> str | None:
    if where.base != "/usr":
        return conda_version(tree, where.base, "python")
    version = dpkg_version(tree, f"python{where.series}-minimal")
    return re.split(r"[-+~]", version)[0] if version else None


def search_path(tree: FileTree, where: Prefix, start: Started, launch: Launch) -> tuple[str, ...]:
    """Return the directories of the effective `sys.path`, in order, `.pth` lines included.

    Raises:
        CatalogueError: InterpreterAmbiguous when a variable moves the standard library, or a zip file is on the path.
    """
    for variable in ("PYTHONHOME", "PYTHONUSERBASE", "PYTHONPLATLIBDIR"):
        if launch.env.get(variable):
            raise CatalogueError(Reason.INTERPRETER_AMBIGUOUS, f"the image sets {variable}, which moves the packages")
    isolated = "I" in start.options
    env = {} if isolated or "E" in start.options else launch.env
    paths: list[str] = []
    if start.script is not None and not (isolated or "P" in start.options or env.get("PYTHONSAFEPATH")):
        paths.append(start.script.rpartition("/")[0] or "/")
    for part in env.get("PYTHONPATH", "").split(":") if env.get("PYTHONPATH") else []:
        paths.append(part if part.startswith("/") else f"{launch.working_dir.rstrip('/')}/{part}".rstrip("/") or "/")
    library = f"{where.base.rstrip('/')}/lib/python{where.series}"
    paths += [f"{where.base.rstrip('/')}/lib/python{where.series.replace('.', '')}.zip", library, f"{library}/lib-dynload"]
    user = not (isolated or "s" in start.options or env.get("PYTHONNOUSERSITE"))
    for site in _site_directories(tree, where, launch, user) if "S" not in start.options else ():
        paths += [site, *_pth(tree, site)]
    kept: dict[str, str] = {}
    for path in paths:
        resolved = tree.resolve(path)
        if resolved is None:
            continue
        if tree.kind(resolved) is FileKind.FILE:
            raise CatalogueError(Reason.INTERPRETER_AMBIGUOUS, f"the file {path} is on the path, and archives are not read")
        kept.setdefault(resolved, path)
    return tuple(kept)


def _site_directories(tree: FileTree, where: Prefix, launch: Launch, user: bool) -> Iterator[str]:
    own = f"lib/python{where.series}/site-packages"
    if where.venv is not None:
        yield f"{where.venv}/{own}"
        if not where.system_site:
            return
    if user:
        yield f"{_home(tree, launch)}/.local/{own}"
    if where.base == "/usr" and has_dpkg(tree):
        # Debian's interpreter looks there instead (Debian Python Policy, 2.5).
        yield f"/usr/local/lib/python{where.series}/dist-packages"
        yield "/usr/lib/python3/dist-packages"
        yield f"/usr/lib/python{where.series}/dist-packages"
        return
    yield f"{where.base.rstrip('/')}/{own}"


def _home(tree: FileTree, launch: Launch) -> str:
    if home := launch.env.get("HOME"):
        return home.rstrip("/")
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
