"""Reads lineage from an MLflow tracking server over its REST API; `connection` asks, `artifacts` knows of the files."""

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp

from lockstep.api.reasons import Reason
from lockstep.environment.document import MAX_DOCUMENT_BYTES
from lockstep.formats.canonical import sha256_of
from lockstep.formats.mlmodel import Described, InvalidMLmodelError, read_mlmodel
from lockstep.formats.storage import ARTIFACT_PATH, SIGNATURE_PATH, digest_parameter, run_artifact
from lockstep.lineage.artifacts import CONTENT, Artifacts, place_of
from lockstep.lineage.connection import (
    BrokenError,
    MLflowConnection,
    MLflowCredentials,
    NotFoundError,
    NotOfferedError,
    TooLargeError,
    mapping,
)
from lockstep.lineage.lineage import Lineage, LineageError, LoggedModel, Place, Run

_MAX_MLMODEL = 1024 * 1024
_MAX_EXAMPLE = 1024 * 1024
_MAX_SIGNATURE = 64 * 1024
_MAX_COPIES = 8
_EXAMPLE = "serving_input_example.json"
_LIMITS = {
    "MLmodel": _MAX_MLMODEL,
    ARTIFACT_PATH: MAX_DOCUMENT_BYTES,
    "requirements.txt": _MAX_MLMODEL,
    "python_env.yaml": _MAX_MLMODEL,
    _EXAMPLE: _MAX_EXAMPLE,
    SIGNATURE_PATH: _MAX_SIGNATURE,
}
"""The files that lineage is read from, and how many bytes each may have."""
_LOGGED_MODEL = re.compile(r"^models:/(m-[0-9a-f]{32})$")
_VERSION = re.compile(r"^models:/([^/]+)/([0-9]+)$")


class MLflowRegistry:
    """Lineage as one tracking server reports it; implements `ModelRegistry`."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        tracking_uri: str,
        credentials: MLflowCredentials,
        *,
        timeout_seconds: float = 10.0,
    ) -> None:
        self._mlflow = MLflowConnection(session, tracking_uri, credentials, timeout_seconds=timeout_seconds)
        self._artifacts = Artifacts(self._mlflow)

    async def lineage(self, *, name: str, version: str | None = None, alias: str | None = None) -> Lineage:
        """See `ModelRegistry.lineage`."""
        stated = await self._version(name, version) if alias is None else await self._alias(name, alias)
        origin = await self._origin(stated)
        found = _LOGGED_MODEL.match(str(origin.get("source", "")))
        model_id = found[1] if found else None
        owner = (str(origin.get("name")), str(origin.get("version")))
        number = str(stated.get("version", ""))
        logged_model, uri = await asyncio.gather(self._logged_model(model_id), self._uri(name, number))
        run_id = (logged_model.source_run_id if logged_model else None) or str(origin.get("run_id") or "") or None
        run = await self._run(run_id)
        place = place_of(owner, uri, logged_model, run)
        files, unreadable = await self._files(owner, place)
        stated_by_model = _ids_in_mlmodel(files.get("MLmodel"))
        return Lineage(
            name=name,
            version=number,
            alias=alias,
            version_status=str(stated.get("status", "READY")),
            version_run_id=str(stated.get("run_id") or "") or None,
            source=str(stated.get("source", "")),
            model_id=model_id,
            logged_model=logged_model,
            run=run,
            mlmodel=files.get("MLmodel"),
            mlmodel_run_id=stated_by_model.run_id,
            mlmodel_model_id=stated_by_model.model_id,
            environment_document=files.get(ARTIFACT_PATH),
            # Without a document there is nothing that a signature could vouch for.
            environment_signature=files.get(SIGNATURE_PATH) if ARTIFACT_PATH in files else None,
            environment_digest=run.param(digest_parameter(model_id or "")) if run else None,
            requirements=files.get("requirements.txt"),
            python_env=files.get("python_env.yaml"),
            signature_present=stated_by_model.signature,
            input_example=files.get(_EXAMPLE),
            place=place,
            artifact_uri=uri,
            unreadable=unreadable,
        )

    async def files(self, place: Place) -> Mapping[str, int]:
        """See `ModelRegistry.files`."""
        try:
            return await self._artifacts.files(place)
        except NotFoundError as error:
            raise _gone(place, "they") from error
        except NotOfferedError as error:
            message = f"MLflow at {self._mlflow.base} does not list the files of {place.name} {place.version}"
            raise LineageError(Reason.MODEL_FILES_UNREADABLE, f"{message}: {error.message}") from error

    async def digest(self, place: Place, path: str, took: Callable[[int], None]) -> tuple[str, int]:
        """See `ModelRegistry.digest`."""
        try:
            return await self._artifacts.digest(place, path, took)
        except NotFoundError as error:
            raise _gone(place, path) from error

    async def recorded_document(self, *, run_id: str | None = None, model_id: str | None = None) -> bytes:
        """Read the environment document that a run recorded for a logged model (of a run with one model: for that one).

        Raises:
            LineageError: there is none, or MLflow did not answer.
        """
        if model_id is not None:
            logged_model = await self._logged_model(model_id)
            run_id = logged_model.source_run_id if logged_model else None
        run = await self._run(run_id)
        if run is None:
            raise LineageError(Reason.RUN_MISSING, f"MLflow has no run of {model_id or run_id}")
        prefix = digest_parameter("")
        models = [key.removeprefix(prefix) for key, _ in run.params if key.startswith(prefix)]
        wanted = [one for one in models if model_id in (None, one)]
        if len(wanted) != 1:
            said = f"environments of {', '.join(models)}: name one of these models" if models else "no environment"
            raise LineageError(Reason.ENVIRONMENT_NOT_RECORDED, f"the run {run.run_id} recorded {said}")
        query = {"run_uuid": run.run_id, "path": run_artifact(wanted[0])}
        try:
            body = await self._mlflow.body("/get-artifact", query, MAX_DOCUMENT_BYTES)
        except (NotFoundError, TooLargeError) as error:
            message = f"the document of {wanted[0]} is not among the artifacts of run {run.run_id}"
            raise LineageError(Reason.ENVIRONMENT_NOT_RECORDED, message) from error
        if sha256_of(body) != run.param(digest_parameter(wanted[0])):
            message = f"the document of {wanted[0]} among the artifacts of run {run.run_id} is not the one that it recorded"
            raise LineageError(Reason.ENVIRONMENT_DIGEST_CONFLICT, message)
        return body

    async def _version(self, name: str, version: str | None) -> dict[str, Any]:
        try:
            answer = await self._mlflow.json("model-versions/get", {"name": name, "version": version or ""})
        except NotFoundError as error:
            message = f"MLflow has no version {version} of the registered model {name}"
            raise LineageError(Reason.VERSION_NOT_FOUND, message) from error
        return mapping(answer.get("model_version"))

    async def _alias(self, name: str, alias: str) -> dict[str, Any]:
        try:
            answer = await self._mlflow.json("registered-models/alias", {"name": name, "alias": alias})
        except NotFoundError as error:
            message = f"the registered model {name} has no alias {alias}, or does not exist"
            raise LineageError(Reason.ALIAS_NOT_FOUND, message) from error
        return mapping(answer.get("model_version"))

    async def _origin(self, stated: dict[str, Any]) -> dict[str, Any]:
        """Follow `copy_model_version`, whose versions have another version as their source."""
        for _ in range(_MAX_COPIES):
            copied = _VERSION.match(str(stated.get("source", "")))
            if copied is None:
                return stated
            stated = await self._version(copied[1], copied[2])
        raise LineageError(Reason.LINEAGE_CONFLICT, f"the version is a copy of a copy more than {_MAX_COPIES} times")

    async def _logged_model(self, model_id: str | None) -> LoggedModel | None:
        if model_id is None:
            return None
        try:
            answer = await self._mlflow.json(f"logged-models/{model_id}", {})
        except NotFoundError:
            return None
        info = mapping(mapping(answer.get("model")).get("info"))
        return LoggedModel(
            model_id=model_id,
            source_run_id=str(info.get("source_run_id") or "") or None,
            status=str(info.get("status", "")),
            artifact_uri=str(info.get("artifact_uri", "")),
        )

    async def _run(self, run_id: str | None) -> Run | None:
        if run_id is None:
            return None
        try:
            answer = await self._mlflow.json("runs/get", {"run_id": run_id})
        except NotFoundError:
            return None
        run = mapping(answer.get("run"))
        info, data = mapping(run.get("info")), mapping(run.get("data"))
        inputs = mapping(run.get("inputs")).get("dataset_inputs") or []
        datasets = [mapping(mapping(entry).get("dataset")) for entry in inputs]
        return Run(
            run_id=str(info.get("run_id", run_id)),
            status=str(info.get("status", "")),
            lifecycle_stage=str(info.get("lifecycle_stage", "")),
            params=_pairs(data.get("params")),
            tags=_pairs(data.get("tags")),
            datasets=tuple((str(d.get("name", "")), str(d.get("digest", ""))) for d in datasets),
            artifact_uri=str(info.get("artifact_uri", "")),
        )

    async def _files(self, owner: tuple[str, str], place: Place | None) -> tuple[Mapping[str, bytes], str | None]:
        """Read the files that lineage is read from, by path; nothing, and why, where the server can't read them itself."""
        try:
            wanted = await self._paths_to_read(place)
            bodies = await asyncio.gather(*(self._file(*owner, path) for path in wanted))
        except BrokenError as error:
            return {}, error.message
        return {path: body for path, body in zip(wanted, bodies, strict=True) if body is not None}, None

    async def _paths_to_read(self, place: Place | None) -> list[str]:
        """Return which of them to ask for: those that are listed (MLflow 2 answers 500 for others), or all without a list."""
        if place is None:
            return list(_LIMITS)
        try:
            listed = dict(await self._artifacts.folder(place))
            folder = ARTIFACT_PATH.partition("/")[0]
            if folder in listed:
                listed |= await self._artifacts.folder(place, folder)
        except NotFoundError:
            return []
        except NotOfferedError:
            return list(_LIMITS)
        return [path for path in _LIMITS if path in listed]

    async def _file(self, name: str, version: str, path: str) -> bytes | None:
        """Read one file of the version's model; None when there is none, or when it is larger than its limit."""
        limit = _LIMITS[path]
        try:
            return await self._mlflow.body(CONTENT, {"name": name, "version": version, "path": path}, limit)
        except NotFoundError:
            return None
        except TooLargeError as error:
            if path in (_EXAMPLE, SIGNATURE_PATH):
                # Whoever demands them refuses what has none; nothing weaker takes their place.
                return None
            # Not None: what is there but can't be read must not count as missing, where weaker evidence may do.
            reason = Reason.LINEAGE_CONFLICT if path == "MLmodel" else Reason.ENVIRONMENT_DOCUMENT_INVALID
            message = f"{path} of {name} {version} is larger than {limit} bytes"
            raise LineageError(reason, message) from error

    async def _uri(self, name: str, version: str) -> str:
        """Return where a version's files are: where a loader that is given its name would read them."""
        try:
            answer = await self._mlflow.json("model-versions/get-download-uri", {"name": name, "version": version})
        except NotFoundError:
            return ""
        return str(answer.get("artifact_uri", ""))


def _gone(place: Place, what: str) -> LineageError:
    message = f"the files of {place.name} {place.version} change while they are read: {what} can't be found any more"
    return LineageError(Reason.REGISTRY_UNREACHABLE, message, retry=True)


def _pairs(entries: object) -> tuple[tuple[str, str], ...]:
    found = [mapping(entry) for entry in entries] if isinstance(entries, list) else []
    return tuple((str(entry.get("key", "")), str(entry.get("value", ""))) for entry in found)


def _ids_in_mlmodel(mlmodel: bytes | None) -> Described:
    """Return what the MLmodel file says of itself: nothing where it can't be read, which then disagrees with everything."""
    try:
        return read_mlmodel(mlmodel) if mlmodel is not None else Described()
    except InvalidMLmodelError:
        return Described()
