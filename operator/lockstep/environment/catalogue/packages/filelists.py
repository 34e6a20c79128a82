"""What package managers say of the files that they installed: digests by path, of those that belong to an interpreter."""

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.system.apk import INSTALLED
from lockstep.environment.catalogue.system.database import unverifiable_error
from lockstep.environment.catalogue.system.dpkg import STATUS_FOLDER
from lockstep.environment.catalogue.system.rpm import rpm_files
from lockstep.environment.catalogue.system.stanzas import stanzas
from lockstep.environment.tree import FileTree, UnreadableFileError

INFO = "/var/lib/dpkg/info"
MAX_FILES = 200_000
"""So many files an interpreter's packages may name; Python with its tests has some four thousand."""
_LISTS = re.compile(r"(?:lib|idle-)?python3[^/]*\.md5sums")
_LINE = re.compile(r"([0-9a-f]{32})  (\S[^\n]*)")
_PYTHON = re.compile(r"(?:^|/)usr/(?:lib(?:64)?/python3|bin/python3)|(?:^|/)libpython3")


@dataclass
class FileLists:
    """Digests of files as their packages state them. A file that several name may have either content."""

    digests: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    """By absolute path: algorithm (md5, sha1, sha256) and hexadecimal digits."""

    def __contains__(self, path: str) -> bool:
        return path in self.digests

    def add(self, path: str, algorithm: str, digest: str) -> None:
        """Add what a package says of a file.

        Raises:
            CatalogueError: there are too many.
        """
        self.digests.setdefault(path, set()).add((algorithm, digest))
        if len(self.digests) > MAX_FILES:
            raise unverifiable_error(path, f"the interpreter's packages name more than {MAX_FILES} files")

    def holds(self, tree: FileTree, path: str) -> bool:
        """Return whether a file has a content that a package states.

        Raises:
            UnreadableFileError: its digest was not taken.
        """
        for algorithm, digest in self.digests.get(path, ()):
            actual = (tree.sha256(path) or "")[7:] if algorithm == "sha256" else tree.digest(path, algorithm)
            if actual == digest:
                return True
        return False


def file_lists(tree: FileTree, prefix: str) -> FileLists:
    """Return what dpkg, apk, rpm, or conda for the environment at `prefix`, say of an interpreter's files.

    Raises:
        CatalogueError: a list can't be understood.
        UnreadableFileError: a list can't be read.
    """
    lists = FileLists()
    for path in _dpkg_lists(tree):
        for name, digest in md5sums(tree.read(path) or b"", path):
            lists.add(name, "md5", digest)
    for path in sorted({resolved for path in INSTALLED if (resolved := tree.resolve(path)) is not None}):
        for name, digest in apk_files(tree.read(path) or b"", path):
            lists.add(name, "sha1", digest)
    for name, algorithm, digest in rpm_files(tree):
        lists.add(name, algorithm, digest)
    folder = f"{prefix.rstrip('/')}/conda-meta"
    for name in tree.listdir(folder):
        if re.fullmatch(r"python-3[^-]*-[^-]+\.json", name):
            _add_conda(lists, tree, f"{folder}/{name}", prefix)
    return lists


def _dpkg_lists(tree: FileTree) -> Iterator[str]:
    yield from (f"{INFO}/{name}" for name in tree.listdir(INFO) if _LISTS.fullmatch(name))
    # Distroless images keep one beside each package's status.
    yield from (f"{STATUS_FOLDER}/{name}" for name in tree.listdir(STATUS_FOLDER) if name.endswith(".md5sums"))


def md5sums(body: bytes, path: str) -> Iterator[tuple[str, str]]:
    """Yield paths and digests of a list as dh_md5sums(1) writes it.

    Raises:
        CatalogueError: a line has another form.
    """
    for line in body.decode("utf-8", "surrogateescape").split("\n"):
        if not line:
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise unverifiable_error(path, f"a line is {line[:50]!r}, which is no digest of a file")
        yield f"/{match[2].removeprefix('./').lstrip('/')}", match[1]


def apk_files(body: bytes, path: str) -> Iterator[tuple[str, str]]:
    """Yield paths and sha1 digests of Python's files: `F:` names a directory, `R:` a file in it, `Z:` its checksum.

    Raises:
        CatalogueError: a checksum is none.
    """
    for lines in stanzas(body, path):
        folder = name = ""
        for line in lines:
            kind, value = line[:2], line[2:]
            if kind == "F:":
                folder = value
            elif kind == "R:":
                name = f"/{folder}/{value}"
            elif kind == "Z:" and value.startswith("Q1") and _PYTHON.search(name):
                try:
                    yield name, base64.b64decode(value[2:], validate=True).hex()
                except ValueError as error:
                    raise unverifiable_error(path, f"the checksum of {name[:100]!r} is none") from error


def conda_files(body: bytes, path: str) -> Iterator[tuple[str, str]]:
    """Yield paths relative to the prefix and sha256 digests, as the files are once the prefix stands in them.

    Raises:
        CatalogueError: the record can't be understood.
    """
    try:
        record: Any = json.loads(body)
        for entry in record.get("paths_data", {}).get("paths", []):
            digest = entry.get("sha256_in_prefix") or entry.get("sha256")
            if digest:
                yield str(entry["_path"]), str(digest)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise unverifiable_error(path, "it is no record of a conda package") from error


def _add_conda(lists: FileLists, tree: FileTree, path: str, prefix: str) -> None:
    try:
        body = tree.read(path) or b""
    except UnreadableFileError as error:
        raise unverifiable_error(path, error.why) from error
    for name, digest in conda_files(body, path):
        lists.add(f"{prefix.rstrip('/')}/{name}", "sha256", digest)


def conda_file_lists(tree: FileTree, prefix: str) -> FileLists:
    """Return what all of conda's records that were kept say of the files of the environment at `prefix`."""
    lists = FileLists()
    folder = f"{prefix.rstrip('/')}/conda-meta"
    for name in tree.listdir(folder):
        if name.endswith(".json"):
            try:
                _add_conda(lists, tree, f"{folder}/{name}", prefix)
            except CatalogueError:
                # A record that was not kept, or says nothing of files, excuses nothing.
                continue
    return lists
