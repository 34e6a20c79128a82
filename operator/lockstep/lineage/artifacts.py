"""The files of a model version on an MLflow server: which there are, and what each of them holds.

MLflow lists the files of a logged model (3.x) and those among a run's artifacts (2.x); it has no list for a version. Content is
asked for by name and version in both cases. The server reads all of it from where it lies with its own credentials.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from lockstep.api.reasons import Reason
from lockstep.formats.modelfiles import MAX_FILES, NOT_THE_MODEL, InvalidModelFilesError, check_path
from lockstep.lineage.connection import MLflowConnection, mapping
from lockstep.lineage.lineage import LineageError, LoggedModel, Place, Run

CONTENT = "/model-versions/get-artifact"
_MAX_FOLDERS = MAX_FILES
_MAX_PAGES = 1000


def place_of(owner: tuple[str, str], uri: str, logged_model: LoggedModel | None, run: Run | None) -> Place | None:
    """Return where the files at `uri` are listed; None when they lie elsewhere than their logged model or run keeps them."""
    where = uri.rstrip("/")
    if logged_model is not None:
        model = Place(*owner, uri=where, model_id=logged_model.model_id)
        return model if where and where == logged_model.artifact_uri.rstrip("/") else None
    root = f"{run.artifact_uri.rstrip('/')}/" if run is not None and run.artifact_uri else ""
    if run is None or not root or not where.startswith(root):
        return None
    return Place(*owner, uri=where, run_id=run.run_id, prefix=where.removeprefix(root))


class Artifacts:
    """Lists and reads files."""

    def __init__(self, connection: MLflowConnection) -> None:
        self._connection = connection

    async def folder(self, place: Place, folder: str = "") -> Mapping[str, int | None]:
        """Return what one directory of the model holds, by path from the model's own: a file's size, None for a directory.

        Raises:
            LineageError: MLflow did not answer, or has no such list (`NotOfferedError`).
        """
        below = "/".join(part for part in (place.prefix, folder) if part)
        if place.model_id is not None:
            path, query, key = f"logged-models/{place.model_id}/artifacts/directories", {}, "artifact_directory_path"
        else:
            path, query, key = "artifacts/list", {"run_id": str(place.run_id)}, "path"
        if below:
            query = query | {key: below}
        sizes: dict[str, int | None] = {}
        for _ in range(_MAX_PAGES):
            answer = await self._connection.json(path, query)
            entries = answer.get("files") or []
            for entry in map(mapping, entries if isinstance(entries, list) else []):
                sizes[_join(folder, _name(entry, below))] = None if entry.get("is_dir") else _size(entry)
            token = answer.get("next_page_token")
            if not token or len(sizes) > MAX_FILES + _MAX_FOLDERS:
                return sizes
            query = query | {"page_token": str(token)}
        return sizes

    async def files(self, place: Place) -> Mapping[str, int]:
        """Return the sizes of all files of the model, by path.

        Raises:
            LineageError: as `folder`; ModelFilesRefused where there are too many of them, or one has a path that can't be
                compared.
        """
        sizes: dict[str, int] = {}
        folders = [""]
        for count, folder in enumerate(folders):
            if count > _MAX_FOLDERS or len(sizes) > MAX_FILES:
                raise _refusal(place, f"it has more than {MAX_FILES} files or directories")
            for path, size in (await self.folder(place, folder)).items():
                try:
                    check_path(path)
                except InvalidModelFilesError as error:
                    raise _refusal(place, str(error)) from error
                if size is None:
                    folders.append(path)
                elif path not in NOT_THE_MODEL:
                    sizes[path] = size
        return sizes

    async def digest(self, place: Place, path: str, took: Callable[[int], None]) -> tuple[str, int]:
        """Read a file and return digest and size; nothing of it is kept.

        Args:
            place: whose file.
            path: which.
            took: called with the size of each piece in bytes.

        Raises:
            NotFoundError: there is no such file.
            LineageError: MLflow did not give it.
        """
        total, size = hashlib.sha256(), 0
        query = {"name": place.name, "version": place.version, "path": path}
        async with self._connection.stream(CONTENT, query) as chunks:
            async for chunk in chunks:
                total.update(chunk)
                size += len(chunk)
                took(len(chunk))
        return f"sha256:{total.hexdigest()}", size


def _refusal(place: Place, why: str) -> LineageError:
    return LineageError(Reason.MODEL_FILES_REFUSED, f"the files of {place.name} {place.version} can't be compared: {why}")


def _name(entry: Mapping[str, Any], below: str) -> str:
    """Return an entry's own name. MLflow gives paths from the run's or the logged model's directory."""
    return str(entry.get("path", "")).removeprefix(f"{below}/" if below else "")


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _size(entry: Mapping[str, Any]) -> int:
    # An empty file is listed without a size.
    stated = str(entry.get("file_size") or 0)
    return int(stated) if stated.isascii() and stated.isdigit() and len(stated) < 20 else 0
