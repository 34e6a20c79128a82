"""Installed distributions: what stands on a `sys.path`, read from `*.dist-info` and `*.egg-info`."""

import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from packaging.utils import canonicalize_name

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.record import canonical_record_digest
from lockstep.environment.document import Origin, Package
from lockstep.environment.tree import FileKind, FileTree

_HEADER = re.compile(r"[!-9;-~]+:")
"""The beginning of a header (RFC 5322, 2.2)."""


def distributions(tree: FileTree, paths: Sequence[str]) -> tuple[Package, ...]:
    """Return what `importlib.metadata` would find on `paths`: for each name, the one that comes first.

    Raises:
        CatalogueError: metadata that readers read differently (two of one name in a directory, two versions, none).
        UnreadableFileError: a metadata file can't be read.
    """
    found: dict[str, Package] = {}
    for path in paths:
        here: dict[str, str] = {}
        for folder in _metadata_folders(tree, path):
            package = _read(tree, folder)
            if package.name in here:
                raise CatalogueError(
                    Reason.METADATA_INVALID, f"{package.name} is installed twice: {here[package.name]} and {folder}"
                )
            here[package.name] = folder
            found.setdefault(package.name, package)
    return tuple(sorted(found.values(), key=lambda package: package.name))


def _metadata_folders(tree: FileTree, path: str) -> Iterator[str]:
    for name in tree.listdir(path):
        # A directory that is an egg itself, as easy_install puts it on the path, keeps its metadata under this name.
        if name.endswith((".dist-info", ".egg-info")) or (name == "EGG-INFO" and path.endswith(".egg")):
            yield f"{path.rstrip('/')}/{name}"


@dataclass(frozen=True)
class _Header:
    name: str
    version: str


def _read(tree: FileTree, folder: str) -> Package:
    metadata = _metadata(tree, folder)
    if metadata is None:
        raise CatalogueError(Reason.METADATA_INVALID, f"{folder} has no METADATA")
    header = _header(metadata, folder)
    return Package(
        name=canonicalize_name(header.name),
        version=header.version,
        content=_content(tree, folder),
        origin=_origin(tree, folder),
        tags=_tags(tree, folder),
    )


def _metadata(tree: FileTree, folder: str) -> bytes | None:
    resolved = tree.resolve(folder)
    if resolved is not None and tree.kind(resolved) is FileKind.FILE:
        return tree.read(folder)
    body = tree.read(f"{folder}/METADATA")
    return body if body is not None else tree.read(f"{folder}/PKG-INFO")


def _header(metadata: bytes, folder: str) -> _Header:
    """Read Name and Version from the headers (core metadata specification: RFC 822 style, body after an empty line)."""
    values: dict[str, list[str]] = {"name": [], "version": []}
    text = metadata.decode("utf-8", errors="replace").removeprefix("\ufeff")
    key, readable = "", True
    # Line ends as email.parser takes them, which importlib.metadata uses: not all those of str.splitlines.
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if not line:
            break
        if line[0] in " \t":
            if key in values:
                raise CatalogueError(Reason.METADATA_INVALID, f"{folder}: its {key.capitalize()} goes on in a second line")
            continue
        # At a line that is no header email.parser takes the text to begin, and others read on.
        readable = readable and _HEADER.match(line) is not None
        key, _, value = line.partition(":")
        key = key.strip().lower()
        if key in values:
            if not readable:
                raise CatalogueError(
                    Reason.METADATA_INVALID, f"{folder}: its {key.capitalize()} stands below what is no header"
                )
            values[key].append(value.strip())
    for key, stated in values.items():
        if len(set(stated)) != 1 or not stated[0]:
            what = "no" if not any(stated) else "more than one"
            raise CatalogueError(Reason.METADATA_INVALID, f"{folder}: its metadata states {what} {key.capitalize()}")
    name, version = values["name"][0], values["version"][0]
    # Tools that go by the directory's name must not see another distribution than those that read METADATA.
    stem = folder.rpartition("/")[2].removesuffix(".dist-info")
    if folder.endswith(".dist-info") and canonicalize_name(stem.partition("-")[0]) != canonicalize_name(name):
        raise CatalogueError(Reason.METADATA_INVALID, f"{folder}: its metadata states the name {name[:100]}")
    return _Header(name, version)


def _content(tree: FileTree, folder: str) -> str | None:
    record = tree.read(f"{folder}/RECORD")
    if record is None:
        return None
    try:
        return canonical_record_digest(record.decode())
    except (UnicodeDecodeError, csv.Error) as error:
        raise CatalogueError(Reason.METADATA_INVALID, f"{folder}/RECORD: {error}") from error


def _tags(tree: FileTree, folder: str) -> tuple[str, ...]:
    wheel = tree.read(f"{folder}/WHEEL")
    lines = wheel.decode("utf-8", errors="replace").splitlines() if wheel else []
    return tuple(sorted({line.partition(":")[2].strip() for line in lines if line.lower().startswith("tag:")}))


def _origin(tree: FileTree, folder: str) -> Origin | None:
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
