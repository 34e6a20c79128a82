"""Installed distributions: what stands on a `sys.path`, read from `*.dist-info`, `*.egg-info` and eggs."""

import csv
import json
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from packaging.utils import canonicalize_name

from lockstep.api.reasons import Reason
from lockstep.environment.binaries.sharedobject import OBJECT_NAME
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.packages import eggs
from lockstep.environment.catalogue.packages.plugs import plugs
from lockstep.environment.catalogue.packages.record import Row, content_digest, files_digest, rows
from lockstep.environment.document import Origin, Package
from lockstep.environment.tree import FileKind, FileTree

_LIBRARY = re.compile(r"/lib(?:64)?/python3[^/]*/site-packages$")
_HEADER = re.compile(r"[!-9;-~]+:")
"""The beginning of a header (RFC 5322, 2.2)."""


@dataclass(frozen=True)
class Installed:
    """One distribution where it is installed."""

    package: Package
    site: str
    """The directory on the path that holds its metadata."""
    folder: str
    """Its metadata: a `.dist-info` or `.egg-info` directory, an `.egg-info` file, or an egg."""
    rows: tuple[Row, ...]
    """Its RECORD, as it stands there; empty when it has none."""
    requires: tuple[str, ...]
    """Names (PEP 503) that it requires whatever its extras; their markers are not evaluated."""

    @property
    def objects(self) -> tuple[str, ...]:
        """Paths of the shared objects that its RECORD names."""
        return tuple(sorted({posixpath.join(self.site, row.path) for row in self.rows if OBJECT_NAME.search(row.path)}))


def find_distributions(tree: FileTree, paths: Sequence[str]) -> tuple[Installed, ...]:
    """Return every distribution on `paths` in their order, with what its metadata claims.

    Those of one name that come later on the path are not what is imported, but their files are owned all the same.

    Raises:
        CatalogueError: metadata that readers read differently (two of one name in a directory, two versions, none).
        UnreadableFileError: a metadata file can't be read.

    Archives on the path are read as `eggs.read_metadata` says.
    """
    distributions: list[Installed] = []
    for path in paths:
        folders: dict[str, str] = {}
        for distribution in _distributions_in(tree, path):
            name = distribution.package.name
            if name in folders:
                raise CatalogueError(
                    Reason.METADATA_INVALID, f"{name} is installed twice: {folders[name]} and {distribution.folder}"
                )
            folders[name] = distribution.folder
            distributions.append(distribution)
    return tuple(distributions)


def _distributions_in(tree: FileTree, path: str) -> Iterator[Installed]:
    """Yield each distribution that stands directly in `path`."""
    resolved = tree.resolve(path)
    if resolved is not None and tree.kind(resolved) is FileKind.FILE:
        metadata = eggs.read_metadata(tree, path)
        if metadata is not None:
            header = _read_header(metadata, path)
            package = Package(name=canonicalize_name(header.name), version=header.version)
            yield Installed(package, path, path, (), header.requires)
        return
    egg = path.lower().endswith(".egg")
    for name in tree.listdir(path):
        if name.startswith("~"):
            _check_leftover(tree, f"{path.rstrip('/')}/{name}")
            continue
        # Letters of either case, as importlib.metadata takes them.
        if name.lower().endswith((".dist-info", ".egg-info")) or (egg and name.lower() == "egg-info"):
            yield _read_distribution(tree, path.rstrip("/"), f"{path.rstrip('/')}/{name}")


def _check_leftover(tree: FileTree, folder: str) -> None:
    """Let pass what pip renamed to remove it, and left behind (pip, "Ignoring invalid distribution").

    pip ignores it and nobody finds it by its name, but `importlib.metadata.entry_points` loads its plugins all the same.
    """
    if folder.lower().endswith((".dist-info", ".egg-info")) and plugs(tree, folder):
        message = f"{folder} is what pip left behind of a package, and declares plugins that are still loaded: delete it"
        raise CatalogueError(Reason.METADATA_INVALID, message)


@dataclass(frozen=True)
class _Header:
    name: str
    version: str
    requires: tuple[str, ...]


def _read_distribution(tree: FileTree, site: str, folder: str) -> Installed:
    metadata = _read_metadata(tree, folder)
    if metadata is None:
        raise CatalogueError(Reason.METADATA_INVALID, f"{folder} has no METADATA")
    header = _read_header(metadata, folder)
    claimed = _read_rows(tree, folder)
    package = Package(
        name=canonicalize_name(header.name),
        version=header.version,
        content=content_digest(claimed),
        files=files_digest(claimed),
        origin=_origin_of(tree, site, folder, header),
        tags=_read_tags(tree, folder),
        plugs=plugs(tree, folder),
    )
    return Installed(package, site, folder, claimed, header.requires)


def _read_metadata(tree: FileTree, folder: str) -> bytes | None:
    resolved = tree.resolve(folder)
    if resolved is not None and tree.kind(resolved) is FileKind.FILE:
        return tree.read(folder)
    body = tree.read(f"{folder}/METADATA")
    return body if body is not None else tree.read(f"{folder}/PKG-INFO")


def _read_header(metadata: bytes, folder: str) -> _Header:
    """Read Name and Version from the headers (core metadata specification: RFC 822 style, body after an empty line)."""
    values: dict[str, list[str]] = {"name": [], "version": [], "requires-dist": []}
    text = metadata.decode("utf-8", errors="replace").removeprefix("\ufeff")
    key, readable = "", True
    # Line ends as email.parser takes them, which importlib.metadata uses: not all those of str.splitlines.
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if not line:
            break
        if line[0] in " \t":
            if key in ("name", "version"):
                raise CatalogueError(Reason.METADATA_INVALID, f"{folder}: its {key.capitalize()} goes on in a second line")
            continue
        # At a line that is no header email.parser takes the text to begin, and others read on.
        readable = readable and _HEADER.match(line) is not None
        key, _, value = line.partition(":")
        key = key.strip().lower()
        if key in values:
            if not readable and key in ("name", "version"):
                raise CatalogueError(
                    Reason.METADATA_INVALID, f"{folder}: its {key.capitalize()} stands below what is no header"
                )
            values[key].append(value.strip())
    for key in ("name", "version"):
        stated = values[key]
        if len(set(stated)) != 1 or not stated[0]:
            what = "no" if not any(stated) else "more than one"
            raise CatalogueError(Reason.METADATA_INVALID, f"{folder}: its metadata states {what} {key.capitalize()}")
    name, version = values["name"][0], values["version"][0]
    # Tools that go by the directory's name must not see another distribution than those that read METADATA.
    stem = folder.rpartition("/")[2]
    if folder.lower().endswith(".dist-info") and canonicalize_name(stem.partition("-")[0]) != canonicalize_name(name):
        raise CatalogueError(Reason.METADATA_INVALID, f"{folder}: its metadata states the name {name[:100]}")
    return _Header(name, version, tuple(_required_names(values["requires-dist"])))


def _required_names(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        name = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line)
        if name and not re.search(r"\bextra\b", line.partition(";")[2]):
            yield canonicalize_name(name[0])


def _read_rows(tree: FileTree, folder: str) -> tuple[Row, ...]:
    """Read RECORD; an egg-info directory has none."""
    record = tree.read(f"{folder}/RECORD")
    if record is None:
        return ()
    try:
        return rows(record.decode())
    except (UnicodeDecodeError, csv.Error) as error:
        raise CatalogueError(Reason.METADATA_INVALID, f"{folder}/RECORD: {error}") from error


def _read_tags(tree: FileTree, folder: str) -> tuple[str, ...]:
    wheel = tree.read(f"{folder}/WHEEL")
    lines = wheel.decode("utf-8", errors="replace").splitlines() if wheel else []
    return tuple(sorted({line.partition(":")[2].strip() for line in lines if line.lower().startswith("tag:")}))


def _origin_of(tree: FileTree, site: str, folder: str, header: _Header) -> Origin | None:
    """Return where a distribution was installed from; None for an index or a channel.

    What conda installed came from a channel: its direct_url.json names a folder of the machine that built the package.
    """
    origin = _read_origin(tree, folder)
    built = origin is not None and origin.url.startswith("file:") and origin.kind != "editable"
    return None if built and _is_condas(tree, site, folder, header) else origin


def _is_condas(tree: FileTree, site: str, folder: str, header: _Header) -> bool:
    """Return whether conda installed a distribution: by its INSTALLER (PEP 376), or by a record of conda's."""
    if (tree.read(f"{folder}/INSTALLER") or b"").strip() == b"conda":
        return True
    records = tree.listdir(f"{_LIBRARY.sub('', site)}/conda-meta") if _LIBRARY.search(site) else ()
    parts = (name.removesuffix(".json").rsplit("-", 2) for name in records if name.endswith(".json"))
    return any(
        len(part) == 3 and part[1] == header.version and canonicalize_name(part[0]) == canonicalize_name(header.name)
        for part in parts
    )


def _read_origin(tree: FileTree, folder: str) -> Origin | None:
    """Read PEP 610's direct_url.json."""
    body = tree.read(f"{folder}/direct_url.json")
    if body is None:
        return None
    try:
        stated = json.loads(body)
        url = str(stated["url"])[:2048]
        if "vcs_info" in stated:
            return Origin(kind="vcs", url=url, commit=str(stated["vcs_info"]["commit_id"]))
        if "archive_info" in stated:
            archive = stated["archive_info"]
            hashes = archive.get("hashes") or {}
            digest = archive.get("hash") or next((f"{k}={v}" for k, v in sorted(hashes.items())), None)
            return Origin(kind="archive", url=url, hash=digest)
        editable = bool((stated.get("dir_info") or {}).get("editable"))
        return Origin(kind="editable" if editable else "directory", url=url)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CatalogueError(Reason.METADATA_INVALID, f"{folder}/direct_url.json can't be read") from error
