"""The package database of Alpine, Wolfi and their family (Alpine wiki, "Apk spec")."""

from lockstep.environment.catalogue.system.database import Kept, PackageDatabase, unverifiable_error
from lockstep.environment.catalogue.system.stanzas import stanzas
from lockstep.environment.tree import FileTree

# Where /lib is a link to usr/lib the two are one file.
INSTALLED = ("/lib/apk/db/installed", "/usr/lib/apk/db/installed")
FILES = (Kept(r"^/(?:usr/)?lib/apk/db/installed$"),)


def apk(tree: FileTree) -> dict[str, str]:
    """Return the installed packages, version by name; empty where there is no database.

    Raises:
        CatalogueError: the database can't be understood.
        UnreadableFileError: the database can't be read.
    """
    database = PackageDatabase()
    for path in sorted({resolved for path in INSTALLED if (resolved := tree.resolve(path)) is not None}):
        add_installed(database, tree.read(path) or b"", path)
    return database.packages()


def add_installed(database: PackageDatabase, body: bytes, path: str) -> None:
    """Add the packages of an `installed` file: lines of one letter, a colon and a value.

    Raises:
        CatalogueError: a line has another form, or an entry has no name or no version, or two.
    """
    for lines in stanzas(body, path):
        fields: dict[str, str] = {}
        for line in lines:
            if line[1:2] != ":":
                raise unverifiable_error(path, f"a line is {line[:50]!r}, which is no field")
            if line[0] in "PVA" and fields.setdefault(line[0], line[2:]) != line[2:]:
                raise unverifiable_error(path, f"an entry states its {line[0]} twice")
        if not fields.get("P") or not fields.get("V"):
            raise unverifiable_error(path, "an entry has no name (P) or no version (V)")
        database.add(fields["P"], fields.get("A", ""), fields["V"], path)
