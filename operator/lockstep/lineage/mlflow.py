"""Reads lineage from an MLflow tracking server over its REST API. The only file of the operator that speaks MLflow.

MLflow's own client is not used here: it is synchronous, retries for minutes, and brings forty packages along.
"""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from lockstep.api.reasons import Reason
from lockstep.canonical import sha256_of
from lockstep.environment.document import MAX_DOCUMENT_BYTES
from lockstep.environment.storage import ARTIFACT_PATH, SIGNATURE_PATH, digest_parameter, run_artifact
from lockstep.lineage.lineage import Lineage, LineageError, LoggedModel, Run
from lockstep.mlmodel import Described, InvalidMLmodelError, described

_TIMEOUT_SECONDS = 10.0
_API = "/api/2.0/mlflow"
_MAX_ANSWER = 16 * 1024 * 1024
_MAX_MLMODEL = 1024 * 1024
_MAX_EXAMPLE = 1024 * 1024
_MAX_SIGNATURE = 64 * 1024
_MAX_COPIES = 8
_EXAMPLE = "serving_input_example.json"
_LOGGED_MODEL = re.compile(r"^models:/(m-[0-9a-f]{32})$")
_VERSION = re.compile(r"^models:/([^/]+)/([0-9]+)$")


@dataclass(frozen=True)
class MLflowCredentials:
    """The operator's own credentials at MLflow; a token wins over user and password, as in MLflow's client."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    def headers(self) -> dict[str, str]:
        """Return the Authorization header."""
        if self.token:
            return {"Authorization": f"Bearer {self.token}"}
        if self.username:
            return {"Authorization": aiohttp.encode_basic_auth(self.username, self.password or "")}
        return {}


class _NotFoundError(Exception):
    """MLflow answered that there is no such thing."""


class MLflowRegistry:
    """Lineage as one tracking server tells it; implements `ModelRegistry`."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        tracking_uri: str,
        credentials: MLflowCredentials,
        *,
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> None:
        self._session = session
        self._base = tracking_uri.rstrip("/")
        # Sessions that stream layers don't decompress, so nothing compressed is asked for.
        self._headers = credentials.headers() | {"Accept-Encoding": "identity"}
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)

    async def lineage(self, *, name: str, version: str | None = None, alias: str | None = None) -> Lineage:
        """See `ModelRegistry.lineage`."""
        stated = await self._version(name, version) if alias is None else await self._alias(name, alias)
        number = str(stated.get("version", ""))
        origin = await self._origin(stated)
        found = _LOGGED_MODEL.match(str(origin.get("source", "")))
        model_id = found[1] if found else None
        logged_model = await self._logged_model(model_id) if model_id else None
        run_id = (logged_model.source_run_id if logged_model else None) or str(origin.get("run_id") or "") or None
        owner = (str(origin.get("name")), str(origin.get("version")))
        run, mlmodel, document, requirements, python_env, example = await asyncio.gather(
            self._run(run_id),
            self._file(*owner, "MLmodel", _MAX_MLMODEL),
            self._file(*owner, ARTIFACT_PATH, MAX_DOCUMENT_BYTES),
            self._file(*owner, "requirements.txt", _MAX_MLMODEL),
            self._file(*owner, "python_env.yaml", _MAX_MLMODEL),
            self._file(*owner, _EXAMPLE, _MAX_EXAMPLE),
        )
        # Without a document there is nothing that a signature could vouch for.
        signature = await self._file(*owner, SIGNATURE_PATH, _MAX_SIGNATURE) if document is not None else None
        stated_by_model = _described(mlmodel)
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
            mlmodel=mlmodel,
            mlmodel_run_id=stated_by_model.run_id,
            mlmodel_model_id=stated_by_model.model_id,
            environment_document=document,
            environment_signature=signature,
            environment_digest=run.param(digest_parameter(model_id or "")) if run else None,
            requirements=requirements,
            python_env=python_env,
            signature_present=stated_by_model.signature,
            input_example=example,
        )

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
            body = await self._get("/get-artifact", query, MAX_DOCUMENT_BYTES)
        except (_NotFoundError, _TooLargeError) as error:
            message = f"the document of {wanted[0]} is not among the artifacts of run {run.run_id}"
            raise LineageError(Reason.ENVIRONMENT_NOT_RECORDED, message) from error
        if sha256_of(body) != run.param(digest_parameter(wanted[0])):
            message = f"the document of {wanted[0]} among the artifacts of run {run.run_id} is not the one that it recorded"
            raise LineageError(Reason.ENVIRONMENT_DIGEST_CONFLICT, message)
        return body

    async def _version(self, name: str, version: str | None) -> dict[str, Any]:
        try:
            answer = await self._json("model-versions/get", {"name": name, "version": version or ""})
        except _NotFoundError as error:
            message = f"MLflow has no version {version} of the registered model {name}"
            raise LineageError(Reason.VERSION_NOT_FOUND, message) from error
        return _mapping(answer.get("model_version"))

    async def _alias(self, name: str, alias: str) -> dict[str, Any]:
        try:
            answer = await self._json("registered-models/alias", {"name": name, "alias": alias})
        except _NotFoundError as error:
            message = f"the registered model {name} has no alias {alias}, or does not exist"
            raise LineageError(Reason.ALIAS_NOT_FOUND, message) from error
        return _mapping(answer.get("model_version"))

    async def _origin(self, stated: dict[str, Any]) -> dict[str, Any]:
        """Follow `copy_model_version`, whose versions have another version as their source."""
        for _ in range(_MAX_COPIES):
            copied = _VERSION.match(str(stated.get("source", "")))
            if copied is None:
                return stated
            stated = await self._version(copied[1], copied[2])
        raise LineageError(Reason.LINEAGE_CONFLICT, f"the version is a copy of a copy more than {_MAX_COPIES} times")

    async def _logged_model(self, model_id: str) -> LoggedModel | None:
        try:
            answer = await self._json(f"logged-models/{model_id}", {})
        except _NotFoundError:
            return None
        info = _mapping(_mapping(answer.get("model")).get("info"))
        return LoggedModel(model_id, str(info.get("source_run_id") or "") or None, str(info.get("status", "")))

    async def _run(self, run_id: str | None) -> Run | None:
        if run_id is None:
            return None
        try:
            answer = await self._json("runs/get", {"run_id": run_id})
        except _NotFoundError:
            return None
        run = _mapping(answer.get("run"))
        info, data = _mapping(run.get("info")), _mapping(run.get("data"))
        inputs = _mapping(run.get("inputs")).get("dataset_inputs") or []
        datasets = [_mapping(_mapping(entry).get("dataset")) for entry in inputs]
        return Run(
            run_id=str(info.get("run_id", run_id)),
            status=str(info.get("status", "")),
            lifecycle_stage=str(info.get("lifecycle_stage", "")),
            params=_pairs(data.get("params")),
            tags=_pairs(data.get("tags")),
            datasets=tuple((str(d.get("name", "")), str(d.get("digest", ""))) for d in datasets),
        )

    async def _file(self, name: str, version: str, path: str, limit: int) -> bytes | None:
        """Read one file of the version's model; None when there is none, or when it is larger than the limit."""
        query = {"name": name, "version": version, "path": path}
        try:
            return await self._get("/model-versions/get-artifact", query, limit)
        except _NotFoundError:
            return None
        except _TooLargeError as error:
            if path in (_EXAMPLE, SIGNATURE_PATH):
                # Whoever demands them refuses what has none; nothing weaker takes their place.
                return None
            # Not None: what is there but can't be read must not count as missing, where weaker evidence may do.
            reason = Reason.LINEAGE_CONFLICT if path == "MLmodel" else Reason.ENVIRONMENT_DOCUMENT_INVALID
            message = f"{path} of {name} {version} is larger than {limit} bytes"
            raise LineageError(reason, message) from error

    async def _json(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        try:
            return _mapping(json.loads(await self._get(f"{_API}/{path}", query, _MAX_ANSWER)))
        except (ValueError, RecursionError) as error:
            raise self._strange(path, "something that is no JSON") from error
        except _TooLargeError as error:
            raise self._strange(path, f"more than {_MAX_ANSWER} bytes") from error

    def _strange(self, path: str, what: str) -> LineageError:
        message = f"MLflow at {self._base} answered {path} with {what}: is it MLflow's address?"
        return LineageError(Reason.REGISTRY_UNREACHABLE, message, retry=True)

    async def _get(self, path: str, query: Mapping[str, str], limit: int) -> bytes:
        try:
            async with self._session.get(
                f"{self._base}{path}", params=query, headers=self._headers, timeout=self._timeout, allow_redirects=False
            ) as response:
                body = bytearray()
                async for chunk in response.content.iter_chunked(65536):
                    body += chunk
                    if len(body) > limit:
                        raise _TooLargeError
                self._check(response, bytes(body))
                if response.content_type == "text/html":
                    # MLflow sends files as plain text: this is a proxy's login page.
                    raise self._strange(path.removeprefix(f"{_API}/"), "a web page")
                return bytes(body)
        except (aiohttp.ClientError, TimeoutError) as error:
            message = f"MLflow at {self._base} did not answer: {str(error) or type(error).__name__}"
            raise LineageError(Reason.REGISTRY_UNREACHABLE, message, retry=True) from error

    def _check(self, response: aiohttp.ClientResponse, body: bytes) -> None:
        if response.status == 200:
            return
        code = b""
        if found := re.search(rb'"error_code":\s*"([A-Z_]+)"', body[:4096]):
            code = found[1]
        # A missing alias is answered with INVALID_PARAMETER_VALUE. A bare 404 is not MLflow's: nothing follows from it.
        if code in (b"RESOURCE_DOES_NOT_EXIST", b"INVALID_PARAMETER_VALUE"):
            raise _NotFoundError
        if response.status in (401, 403):
            hint = " (start it with --allowed-hosts)" if b"Host header" in body else ""
            message = f"MLflow at {self._base} refused the operator with {response.status}{hint}"
            raise LineageError(Reason.REGISTRY_REFUSED, message, retry=True)
        hint = ": is it MLflow's address?" if response.status == 404 else ""
        message = f"MLflow at {self._base} answered {response.status}{hint}"
        raise LineageError(Reason.REGISTRY_UNREACHABLE, message, retry=True)


class _TooLargeError(Exception):
    """The file is larger than what may be read."""


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _pairs(entries: object) -> tuple[tuple[str, str], ...]:
    found = [_mapping(entry) for entry in entries] if isinstance(entries, list) else []
    return tuple((str(entry.get("key", "")), str(entry.get("value", ""))) for entry in found)


def _described(mlmodel: bytes | None) -> Described:
    """Return what the MLmodel file says of itself: nothing where it can't be read, which then disagrees with everything."""
    try:
        return described(mlmodel) if mlmodel is not None else Described()
    except InvalidMLmodelError:
        return Described()
