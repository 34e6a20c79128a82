"""What a package database says is installed, collected without taking one package for another."""

from dataclasses import dataclass

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.errors import CatalogueError

MAX_PACKAGES = 100_000
"""A database with more entries than this is refused: distributions in full have fewer."""
_MAX_TEXT = 512


def unverifiable_error(path: str, why: str) -> CatalogueError:
    """Return the refusal of a package database."""
    # Names of files in an image are anybody's, and the message is shown on terminals.
    shown = path[:300] if path.isprintable() else ascii(path[:300])
    return CatalogueError(Reason.SYSTEM_UNVERIFIABLE, f"{shown}: {why}")


@dataclass(frozen=True)
class Kept:
    """Files of an image that a reader needs, so that the layer scan keeps their bodies."""

    pattern: str
    """Regular expression for absolute paths."""
    limit: int = 64 * 2**20
    """Bytes up to which a body is kept; a larger one is refused where it is read."""


class PackageDatabase:
    """The installed packages by name and architecture."""

    def __init__(self) -> None:
        self._versions: dict[str, dict[str, str]] = {}
        self._count = 0

    def add(self, name: str, architecture: str, version: str, path: str) -> None:
        """Add what the database at `path` says.

        Raises:
            CatalogueError: another version of it is installed already, there are too many packages, or a text is no name.
        """
        for text in (name, version):
            if not text or len(text) > _MAX_TEXT or not text.isprintable() or text != text.strip():
                raise unverifiable_error(path, f"it names a package {name[:100]!r} with the version {version[:100]!r}")
        versions = self._versions.setdefault(name, {})
        before = versions.setdefault(architecture, version)
        if before != version:
            raise unverifiable_error(path, f"{name} is installed twice: {before} and {version}")
        self._count += 1
        if self._count > MAX_PACKAGES:
            raise unverifiable_error(path, f"it names more than {MAX_PACKAGES} packages")

    def packages(self) -> dict[str, str]:
        """Return versions by name; a name in several architectures stands once for each, as `name:architecture`."""
        return {
            name if len(versions) == 1 else f"{name}:{architecture}": version
            for name, versions in self._versions.items()
            for architecture, version in versions.items()
        }
