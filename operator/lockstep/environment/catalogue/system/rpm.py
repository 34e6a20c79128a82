"""The package database of Fedora, RHEL, SUSE, Amazon Linux, Azure Linux and their family."""

from collections.abc import Iterator

from lockstep.environment.catalogue.system.database import Kept, PackageDatabase, unverifiable_error
from lockstep.environment.catalogue.system.rpmheader import RpmHeaderError, RpmPackage, rpm_files_of, rpm_package
from lockstep.environment.catalogue.system.sqlitelog import LogError, with_log
from lockstep.environment.catalogue.system.stanzas import stanzas
from lockstep.environment.tree import FileTree

FOLDERS = ("/var/lib/rpm", "/usr/lib/sysimage/rpm", "/usr/share/rpm")
SQLITE = "rpmdb.sqlite"
MANIFEST = "/var/lib/rpmmanifest/container-manifest-2"
"""What Azure Linux and CBL-Mariner leave in images without the database."""
FILES = (
    Kept(r"^/(?:var/lib|usr/lib/sysimage|usr/share)/rpm/rpmdb\.sqlite(?:-wal|-journal)?$"),
    Kept(r"^/var/lib/rpmmanifest/container-manifest-2$"),
)
_OTHER_FORMATS = {"Packages": "Berkeley DB", "Packages.db": "ndb"}
_KEY = "gpg-pubkey"
"""A public key, which RPM keeps among the packages."""


def rpm(tree: FileTree) -> dict[str, str]:
    """Return the installed packages, `[epoch:]version-release` by name; empty where there is no database.

    A package that is installed in several versions (kernels are) has them all, sorted: `5.14-1, 5.14-2`.

    Raises:
        CatalogueError: the database can't be understood, has a format that isn't read, or there are two.
        UnreadableFileError: the database can't be read.
    """
    sources = sorted(_sources(tree))
    if len(sources) > 1:
        raise unverifiable_error(
            sources[0], f"{sources[1]} names packages too, and which of the two counts can't be determined"
        )
    versions: dict[tuple[str, str], set[str]] = {}
    for path in sources:
        for package in _packages(tree, path):
            if package.name != _KEY:
                versions.setdefault((package.name, package.architecture), set()).add(package.version)
    database = PackageDatabase()
    for (name, architecture), several in versions.items():
        database.add(name, architecture, ", ".join(sorted(several)), sources[0])
    return database.packages()


def _sources(tree: FileTree) -> Iterator[str]:
    if tree.kind(MANIFEST) is not None:
        yield MANIFEST
    # The folders are links to one another in many distributions.
    for folder in {resolved for folder in FOLDERS if (resolved := tree.resolve(folder)) is not None}:
        names = tree.listdir(folder)
        for name, form in _OTHER_FORMATS.items():
            if name in names:
                raise unverifiable_error(
                    f"{folder}/{name}", f"its format ({form}) isn't read, so its packages are not verifiable"
                )
        if SQLITE in names:
            yield f"{folder}/{SQLITE}"


def _packages(tree: FileTree, path: str) -> Iterator[RpmPackage]:
    if path == MANIFEST:
        yield from manifest(_body(tree, path), path)
        return
    try:
        for blob in _headers(tree, path):
            yield rpm_package(blob)
    except RpmHeaderError as error:
        raise unverifiable_error(path, str(error)) from error


def rpm_files(tree: FileTree) -> Iterator[tuple[str, str, str]]:
    """Yield of the files of Python's packages path, algorithm and digest.

    Raises:
        CatalogueError: the database can't be understood.
        UnreadableFileError: the database can't be read.
    """
    for path in (one for one in _sources(tree) if one != MANIFEST):
        try:
            for blob in _headers(tree, path):
                if "python" in rpm_package(blob).name:
                    yield from rpm_files_of(blob)
        except RpmHeaderError as error:
            raise unverifiable_error(path, str(error)) from error


def _body(tree: FileTree, path: str) -> bytes:
    body = tree.read(path)
    if body is None:
        raise unverifiable_error(path, "it is no regular file")
    return body


def _headers(tree: FileTree, path: str) -> Iterator[bytes]:
    body = _body(tree, path)
    if tree.read(f"{path}-journal"):
        raise unverifiable_error(path, "a transaction on the database was neither finished nor undone")
    try:
        # Only here: training may run on a Python that was built without SQLite, and where there is no RPM that is no matter.
        from lockstep.environment.catalogue.system.rpmdb import rpm_headers
    except ImportError as error:
        raise unverifiable_error(path, "this Python was built without SQLite, which reads it") from error
    try:
        log = tree.read(f"{path}-wal")
        yield from rpm_headers(with_log(body, log) if log else body, path)
    except LogError as error:
        raise unverifiable_error(path, str(error)) from error


def manifest(body: bytes, path: str) -> Iterator[RpmPackage]:
    """Read a container manifest: a line a package, its fields parted by tabs.

    The first is the name, the second `version-release`, the sixth the epoch or `(none)`, the eighth the architecture.

    Raises:
        CatalogueError: a line has another form.
    """
    for lines in stanzas(body, path):
        for line in lines:
            fields = line.split("\t")
            if len(fields) < 8 or not fields[0] or "-" not in fields[1]:
                raise unverifiable_error(path, f"a line is {line[:50]!r}, which names no package")
            epoch = fields[5] if fields[5] not in ("(none)", "0", "") else ""
            if epoch and not (epoch.isascii() and epoch.isdigit()):
                raise unverifiable_error(path, f"the epoch of {fields[0][:100]!r} is no number")
            yield RpmPackage(fields[0], fields[7], f"{epoch}:{fields[1]}" if epoch else fields[1])
