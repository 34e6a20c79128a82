"""Readers of what an image's file system holds."""

import ast
import email
import io
import posixpath
from contextlib import suppress

from packaging.utils import canonicalize_name

from lockstep.environment.binaries.elf import python_version
from lockstep.environment.binaries.sharedobject import MAX_NEEDED, read_shared_object
from lockstep.environment.catalogue.launch.entryscript import entry_point, loaded_entry_point
from lockstep.environment.catalogue.launch.follow import follow_launch
from lockstep.environment.catalogue.launch.interpreter import interpreter, prefix, search_path
from lockstep.environment.catalogue.launch.launch import Launch
from lockstep.environment.catalogue.launch.shellscript import commands
from lockstep.environment.catalogue.native.libc import libc
from lockstep.environment.catalogue.packages.filelists import apk_files, conda_files, md5sums
from lockstep.environment.catalogue.packages.record import content_digest, rows
from lockstep.environment.catalogue.servers.gunicornconfig import settings
from lockstep.environment.catalogue.servers.serving import serving
from lockstep.environment.catalogue.system.apk import apk
from lockstep.environment.catalogue.system.conda import conda
from lockstep.environment.catalogue.system.dpkg import dpkg_version
from lockstep.environment.catalogue.system.rpm import rpm, rpm_files
from lockstep.environment.catalogue.system.rpmheader import rpm_files_of, rpm_package
from lockstep.environment.catalogue.system.system import distribution, system
from lockstep.environment.document import EnvironmentDocument, Package
from lockstep.environment.requirements import baseline
from lockstep.environment.statement import parse_statement
from lockstep.environment.tree import EntryTree, FileKind
from lockstep.formats.dsse import parse_envelope
from tests.fakes.installed import packages_on
from tests.fakes.roots import VENV_SITE, Files, debian, tree, venv
from tests.fakes.roots import distribution as installed

MLSERVER = "#!/opt/venv/bin/python3\nimport sys\nfrom mlserver.cli import main\nsys.exit(main())\n"
COMMANDS = {"uvicorn": "uvicorn.main:main", "gunicorn": "gunicorn.app.wsgiapp:run", "flask": "flask.cli:main"}
_ENV = {"PATH": "/opt/venv/bin:/usr/bin:/bin"}
_IMAGE = EnvironmentDocument.parse(
    b'{"schema":"lockstep.dev/environment/v1","python":{"implementation":"cpython","version":"3.11.2"},'
    b'"platform":{"os":"linux","machine":"x86_64"},"packages":[],"collector":"fuzz"}'
)


def _installed(file: str, data: bytes) -> tuple[Package, ...]:
    files: Files = dict(installed(VENV_SITE, "iris", "1.0"))
    files[f"{VENV_SITE}/iris-1.0.dist-info/{file}"] = data
    return packages_on(tree(files), [VENV_SITE])


def metadata(data: bytes) -> None:
    """Where a METADATA is taken, `importlib.metadata` reads the same name and version in it."""
    files: Files = {f"{VENV_SITE}/iris.egg-info/PKG-INFO": data}
    (found,) = packages_on(tree(files), [VENV_SITE])
    try:
        # As `importlib.metadata` does: text with any line end, then the standard library's parser.
        theirs = email.message_from_string(io.TextIOWrapper(io.BytesIO(data), encoding="utf-8").read().removeprefix("\ufeff"))
    except UnicodeDecodeError:
        return
    assert canonicalize_name((theirs["Name"] or "").strip()) == found.name
    assert (theirs["Version"] or "").strip() == found.version


def record(data: bytes) -> None:
    """The order of a RECORD's rows does not matter."""
    _installed("RECORD", data)
    lines = data.decode().splitlines(keepends=True)
    if b'"' not in data and b"\r" not in data and data.endswith(b"\n") and len(lines) == data.count(b"\n"):
        assert content_digest(rows("".join(reversed(lines)))) == content_digest(rows(data.decode()))


def origin(data: bytes) -> None:
    _installed("direct_url.json", data)


def wheel(data: bytes) -> None:
    _installed("WHEEL", data)


def dpkg(data: bytes) -> None:
    """Every package that the database names can be asked for."""
    for path in ("/var/lib/dpkg/status", "/var/lib/dpkg/status.d/one"):
        root = tree({path: data})
        for name in list(system(root, "/usr").packages)[:3]:
            assert ":" in name or dpkg_version(root, name) is not None


def apk_(data: bytes) -> None:
    apk(tree({"/lib/apk/db/installed": data}))
    assert all(len(digest) % 2 == 0 and path.startswith("/") for path, digest in apk_files(data, "installed"))


def md5sums_(data: bytes) -> None:
    """Whatever a list names has a digest."""
    assert all(len(digest) == 32 and path.startswith("/") for path, digest in md5sums(data, "list"))


def rpm_(data: bytes) -> None:
    """A database, and a log beside it that is believed where it is one."""
    root = tree({"/var/lib/rpm/rpmdb.sqlite": data})
    rpm(root)
    list(rpm_files(root))


def rpmheader(data: bytes) -> None:
    """One header: what identifies a package, and its lists of files."""
    rpm_package(data)
    list(rpm_files_of(data))


def rpmmanifest(data: bytes) -> None:
    rpm(tree({"/var/lib/rpmmanifest/container-manifest-2": data}))


def conda_(data: bytes) -> None:
    conda(tree({"/opt/conda/conda-meta/mkl-2024.1-h1_0.json": data}), "/opt/conda")
    list(conda_files(data, "record"))


def gunicorn(data: bytes) -> None:
    """Whatever settings a file has, they are texts of the names that were asked for."""
    assert set(settings(data, ("chdir", "pythonpath"))) <= {"chdir", "pythonpath"}


def entryscript(data: bytes) -> None:
    """A script that is taken for an installer's is Python, and calls what it imports and nothing else."""
    text = data.decode("utf-8", "replace")
    found = entry_point(text)
    loaded_entry_point(text)
    if found is not None and text.startswith("#!"):
        with suppress(SyntaxError, ValueError):
            calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
            assert len(calls) <= 6


def modelsettings(data: bytes) -> None:
    """Whatever MLServer's settings say, the model is an absolute path or a URI."""
    files: Files = {"/opt/venv/bin/mlserver": MLSERVER, "/models/m/model-settings.json": data}
    root = tree(debian() | venv() | files)
    found = serving(root, Launch(argv=("mlserver", "start", "/models"), env=_ENV))
    assert found.model is None or found.model.startswith("/") or ":" in found.model


def servers(data: bytes) -> None:
    """Whatever the command line of a server says, its directories are absolute paths."""
    words = data.decode("utf-8", "replace").split("\n")[:20]
    scripts: Files = {f"/opt/venv/bin/{name}": _command(entry) for name, entry in COMMANDS.items()}
    root = tree(debian() | venv() | scripts | {"/app/main.py": ""})
    found = serving(root, Launch(argv=tuple(words), env=_ENV, working_dir="/app"))
    assert all(posixpath.isabs(place.folder) for place in found.places)


def _command(entry: str) -> str:
    module, _, name = entry.partition(":")
    return MLSERVER.replace("from mlserver.cli import main", f"from {module} import {name}").replace("main()", f"{name}()")


def object_(data: bytes) -> None:
    """Whatever an object claims to need are a bounded number of names."""
    found = read_shared_object(io.BytesIO(data))
    assert found is None or len(found.needed) <= MAX_NEEDED


def shell(data: bytes) -> None:
    commands(data.decode("utf-8", "replace"))


def dsse(data: bytes) -> None:
    """An envelope's payload is a statement, or it is refused."""
    parse_statement(parse_envelope(data, "application/vnd.in-toto+json").payload)


def osrelease(data: bytes) -> None:
    distribution(tree({"/etc/os-release": data}))


def launch(data: bytes) -> None:
    """Whatever a command line leads to is an executable of the image."""
    words = data.decode("utf-8", "replace").split("\n")
    root = tree(debian() | venv())
    where = follow_launch(root, Launch(argv=tuple(words[:20]), env=_ENV, working_dir="/tmp"))
    assert root.resolve(where.executable) is not None
    assert where.script is None or posixpath.isabs(where.script)


def shebang(data: bytes) -> None:
    """Whatever a script leads to is an executable of the image."""
    root = tree(debian() | venv() | {"/opt/venv/bin/serve": data})
    where = follow_launch(root, Launch(argv=("serve", "--port", "8080"), env=_ENV))
    assert root.kind(root.resolve(where.executable) or "") is FileKind.FILE


def pyvenv(data: bytes) -> None:
    _paths({"/opt/venv/pyvenv.cfg": data})


def pth(data: bytes) -> None:
    """Path files add directories that exist, and nothing else."""
    root, paths = _paths({f"{VENV_SITE}/more.pth": data, "/opt/more": None})
    assert all(root.kind(root.resolve(path) or "") is FileKind.DIRECTORY for path in paths)


def _paths(files: Files) -> tuple[EntryTree, tuple[str, ...]]:
    root = tree(debian() | venv() | files)
    how = Launch(argv=("/opt/venv/bin/python",), env=_ENV)
    start = follow_launch(root, how)
    where = prefix(root, start)
    interpreter(root, where)
    return root, search_path(root, where, start)


def elf_(data: bytes) -> None:
    """A version is a version, whatever a binary claims."""
    found = python_version(data)
    assert found is None or found.replace(".", "").replace("rc", "").replace("a", "").replace("b", "").isdigit()


def libc_(data: bytes) -> None:
    for path in ("/usr/lib/x86_64-linux-gnu/libc.so.6", "/lib/ld-musl-x86_64.so.1"):
        libc(tree({path: data}), "x86_64")


def requirements(data: bytes) -> None:
    """What is pinned can be written into a document and read back."""
    pins, _, python = data.partition(b"\0")
    _same(baseline(pins, python or None, _IMAGE))


def document(data: bytes) -> None:
    """A document survives its own text."""
    _same(EnvironmentDocument.parse(data))


def _same(found: EnvironmentDocument) -> None:
    assert EnvironmentDocument.parse(found.canonical()) == found
