"""The packages of a conda environment, from the records in its `conda-meta` (conda's documentation, "Environments")."""

import json

from lockstep.environment.catalogue.system.database import PackageDatabase, unverifiable_error
from lockstep.environment.tree import FileTree, UnreadableFileError


def conda(tree: FileTree, prefix: str) -> dict[str, str] | None:
    """Return the packages of the environment at `prefix`, `version build` by name; None where it is not conda's.

    Raises:
        CatalogueError: a record can't be understood, or two records are of one name.
    """
    folder = f"{prefix.rstrip('/')}/conda-meta"
    if tree.resolve(folder) is None:
        return None
    database = PackageDatabase()
    paths: dict[str, str] = {}
    for file in tree.listdir(folder):
        if not file.endswith(".json"):
            continue
        path = f"{folder}/{file}"
        name, version, build = _split_name(path, file.removesuffix(".json"))
        if name in paths:
            raise unverifiable_error(path, f"{name[:100]!r} has another record: {paths[name][:300]!r}")
        paths[name] = path
        if (body := _body(tree, path)) is not None:
            check_record(body, path, (name, version, build))
        database.add(name, "", f"{version} {build}", path)
    return database.packages()


def conda_version(tree: FileTree, prefix: str, name: str) -> str | None:
    """Return the version of a package without its build."""
    stated = (conda(tree, prefix) or {}).get(name)
    return stated.split(" ")[0] if stated else None


def _split_name(path: str, stem: str) -> tuple[str, str, str]:
    parts = stem.rsplit("-", 2)
    if len(parts) != 3 or not all(parts) or " " in stem:
        raise unverifiable_error(path, "its name is not made of a package's name, version and build")
    return parts[0], parts[1], parts[2]


def _body(tree: FileTree, path: str) -> bytes | None:
    """Return the record; None when it is too large to be kept: it lists every file, and its name says what is needed."""
    try:
        return tree.read(path)
    except UnreadableFileError:
        return None


def check_record(body: bytes, path: str, named: tuple[str, str, str]) -> None:
    """Check that a record states what its file name says: conda takes no notice of one that does not.

    Raises:
        CatalogueError: it states something else, or is no JSON object.
    """
    try:
        record = json.loads(body)
        stated = (record["name"], record["version"], record["build"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise unverifiable_error(path, "it is no record of a conda package") from error
    if stated != named:
        raise unverifiable_error(path, f"it states {str(stated)[:200]}, which is not what its name says")
