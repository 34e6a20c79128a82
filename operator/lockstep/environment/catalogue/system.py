"""What the operating system brings: distribution (os-release) and packages (dpkg)."""

import re

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.document import System
from lockstep.environment.tree import FileTree

DPKG_STATUS = "/var/lib/dpkg/status"
DPKG_STATUS_FOLDER = "/var/lib/dpkg/status.d"
_OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")


def system(tree: FileTree) -> System:
    """Read the distribution and its installed packages; names that exist in one architecture only stand without it.

    Raises:
        CatalogueError: the package database can't be understood.
        UnreadableFileError: the package database can't be read.
    """
    return System(distribution=distribution(tree), packages=_dpkg(tree))


def distribution(tree: FileTree) -> str | None:
    """Return `debian 12` from os-release(5); None where there is none."""
    body = next((body for path in _OS_RELEASE if (body := tree.read(path)) is not None), None)
    if body is None:
        return None
    values = dict(re.findall(r"^([A-Z_]+)=[\"']?([^\"'\n]*)[\"']?\s*$", body.decode("utf-8", "replace"), re.MULTILINE))
    return " ".join(part for part in (values.get("ID"), values.get("VERSION_ID")) if part) or None


def has_dpkg(tree: FileTree) -> bool:
    """Tell whether the distribution is one of Debian's family."""
    return tree.kind(DPKG_STATUS) is not None or tree.kind(DPKG_STATUS_FOLDER) is not None


def dpkg_version(tree: FileTree, name: str) -> str | None:
    """Return the version of an installed package, whatever its architecture."""
    packages = _dpkg(tree)
    return next((version for key, version in packages.items() if key.partition(":")[0] == name), None)


def _dpkg(tree: FileTree) -> dict[str, str]:
    stanzas: list[dict[str, str]] = []
    status = tree.read(DPKG_STATUS)
    if status is not None:
        stanzas += [s for s in _stanzas(status, DPKG_STATUS) if s.get("status", "").split()[-1:] == ["installed"]]
    # Distroless images keep one file a package there, without a Status line.
    for name in tree.listdir(DPKG_STATUS_FOLDER):
        if not name.endswith(".md5sums"):
            stanzas += _stanzas(tree.read(f"{DPKG_STATUS_FOLDER}/{name}") or b"", f"{DPKG_STATUS_FOLDER}/{name}")
    found: dict[str, dict[str, str]] = {}
    for stanza in stanzas:
        architecture = stanza.get("architecture", "")
        found.setdefault(stanza["package"], {})[architecture] = stanza["version"]
    return {
        name if len(versions) == 1 else f"{name}:{architecture}": version
        for name, versions in found.items()
        for architecture, version in versions.items()
    }


def _stanzas(body: bytes, path: str) -> list[dict[str, str]]:
    stanzas: list[dict[str, str]] = []
    for block in re.split(r"\n[ \t]*\n", body.decode("utf-8", "replace").strip("\n")):
        fields = {
            key.lower(): value.strip()
            for line in block.split("\n")
            if line[:1] not in (" ", "\t", "") and ":" in line
            for key, _, value in [line.partition(":")]
        }
        if not fields:
            continue
        if fields.get("status", "installed").split()[-1:] != ["installed"]:
            continue
        if "package" not in fields or "version" not in fields:
            raise CatalogueError(Reason.SYSTEM_UNVERIFIABLE, f"{path}: an entry has no Package or no Version")
        stanzas.append(fields)
    return stanzas
