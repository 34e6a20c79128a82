"""The package database of Debian and its family (dpkg(1), deb822(5))."""

from lockstep.environment.catalogue.system.database import Kept, PackageDatabase, unverifiable_error
from lockstep.environment.catalogue.system.stanzas import stanzas
from lockstep.environment.tree import FileTree

STATUS = "/var/lib/dpkg/status"
STATUS_FOLDER = "/var/lib/dpkg/status.d"
FILES = (
    # The packages, and what those of Python say of their files.
    Kept(r"^/var/lib/dpkg/(?:status|status\.d/[^/]+|info/(?:lib|idle-)?python3[^/]*\.md5sums)$"),
)
_FIELDS = {"package", "status", "architecture", "version"}
# In every other state a package's files are there, configured or not (dpkg(1), "Package states").
_NOT_THERE = {"not-installed", "config-files", "half-installed"}


def has_dpkg(tree: FileTree) -> bool:
    """Return whether the distribution is one of Debian's family."""
    return tree.kind(STATUS) is not None or tree.kind(STATUS_FOLDER) is not None


def dpkg(tree: FileTree) -> dict[str, str]:
    """Return the installed packages, version by name; empty where there is no database.

    Raises:
        CatalogueError: the database can't be understood.
        UnreadableFileError: the database can't be read.
    """
    database = PackageDatabase()
    add_status(database, tree.read(STATUS) or b"", STATUS)
    # Distroless images keep one file a package there, without a Status line.
    for name in tree.listdir(STATUS_FOLDER):
        if not name.endswith(".md5sums"):
            add_status(database, tree.read(f"{STATUS_FOLDER}/{name}") or b"", f"{STATUS_FOLDER}/{name}")
    return database.packages()


def dpkg_version(tree: FileTree, name: str) -> str | None:
    """Return the version of an installed package, whatever its architecture."""
    return next((version for key, version in dpkg(tree).items() if key.partition(":")[0] == name), None)


def add_status(database: PackageDatabase, body: bytes, path: str) -> None:
    """Add the packages of a status file.

    Raises:
        CatalogueError: an installed package has no name or no version, states one twice, or is there in two versions.
    """
    for lines in stanzas(body, path):
        fields: dict[str, str] = {}
        for line in lines:
            key, colon, value = line.partition(":")
            key = key.lower()
            if not colon or key not in _FIELDS:
                continue
            if fields.setdefault(key, value.strip()) != value.strip():
                raise unverifiable_error(path, f"an entry states its {key.capitalize()} twice")
        state = fields.get("status", "installed").split()[-1:]
        if not fields or (state and state[0] in _NOT_THERE):
            continue
        if not fields.get("package") or not fields.get("version"):
            raise unverifiable_error(path, "an entry has no Package or no Version")
        database.add(fields["package"], fields.get("architecture", ""), fields["version"], path)
