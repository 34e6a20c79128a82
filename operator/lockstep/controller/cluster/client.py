"""The Kubernetes API over the official client, narrowed to `Cluster`: raw dicts, a timeout on every call, a fence on writes."""

import asyncio
import builtins
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient, ApiException

from lockstep.controller.cluster.ports import (
    CONTROLLER_REVISION,
    POD,
    ConflictError,
    DeposedError,
    Kind,
    Object,
    RejectedError,
    UnavailableError,
)
from lockstep.rollout.objects.labels import FIELD_MANAGER

_SECONDS = 10.0
_PAGE = 500
_JSON = "application/json"
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_STRATEGIC = "application/strategic-merge-patch+json"
_YAML = "application/yaml"

Fence = Callable[[], float]
"""Returns for how many seconds this process may still write for sure; not positive when it may not."""


class KubernetesCluster:
    """Implements `Cluster`."""

    def __init__(self, client: ApiClient, fence: Fence) -> None:
        self._client = client
        self._fence = fence

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Object | None:
        """See `Cluster.get`."""
        return _parsed(await self._fetch("GET", _path(kind, namespace, name), missing_is_none=True))

    async def list(self, kind: Kind, namespace: str | None, *, labels: Mapping[str, str] | None = None) -> Sequence[Object]:
        """See `Cluster.list`."""
        return await self._list(kind, namespace, labels, _JSON)

    async def list_metadata(
        self, kind: Kind, namespace: str | None, *, labels: Mapping[str, str] | None = None
    ) -> Sequence[Object]:
        """See `Cluster.list_metadata`."""
        return await self._list(kind, namespace, labels, _METADATA)

    async def _list(
        self, kind: Kind, namespace: str | None, labels: Mapping[str, str] | None, accept: str
    ) -> "builtins.list[Object]":
        selector = ",".join(f"{key}={value}" for key, value in (labels or {}).items())
        query = {"labelSelector": selector} if selector else {}
        found: list[Object] = []
        proceed: dict[str, str] = {}
        while True:
            asked = {"limit": str(_PAGE), **query, **proceed}
            page = _parsed(await self._fetch("GET", _path(kind, namespace), asked, accept=accept)) or {}
            # The items of a list don't say what they are.
            found += [{"apiVersion": kind.api_version, "kind": kind.kind} | item for item in page.get("items") or []]
            if not (token := (page.get("metadata") or {}).get("continue")):
                return found
            proceed = {"continue": token}

    async def create(self, kind: Kind, namespace: str | None, body: Object) -> Object:
        """See `Cluster.create`."""
        content_type, sent = _serialize(kind, body)
        query = {"fieldManager": FIELD_MANAGER}
        return await self._write("POST", _path(kind, namespace), sent, query=query, content_type=content_type)

    async def apply(self, kind: Kind, namespace: str | None, body: Object, *, resource_version: str) -> Object:
        """See `Cluster.apply`."""
        metadata = dict(body["metadata"], resourceVersion=resource_version)
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        path = _path(kind, namespace, body["metadata"]["name"])
        return await self._write("PATCH", path, dict(body, metadata=metadata), query=query, content_type=_APPLY)

    async def replace(self, kind: Kind, namespace: str | None, body: Object, *, resource_version: str) -> Object:
        """See `Cluster.replace`."""
        metadata = dict(body["metadata"], resourceVersion=resource_version)
        whole = {"apiVersion": kind.api_version, "kind": kind.kind} | body | {"metadata": metadata}
        path = _path(kind, namespace, body["metadata"]["name"])
        content_type, sent = _serialize(kind, whole)
        return await self._write("PUT", path, sent, query={"fieldManager": FIELD_MANAGER}, content_type=content_type)

    async def patch_status(
        self, kind: Kind, namespace: str | None, name: str, status: Object, *, resource_version: str
    ) -> Object:
        """See `Cluster.patch_status`."""
        # A JSON patch replaces the whole status: a merge would leave what is no longer said.
        operations = [
            # Not `test`, whose failure is a 422 that doesn't say what failed: an update from another version is a 409.
            {"op": "replace", "path": "/metadata/resourceVersion", "value": resource_version},
            {"op": "add", "path": "/status", "value": status},
        ]
        path = f"{_path(kind, namespace, name)}/status"
        query = {"fieldManager": FIELD_MANAGER}
        return await self._write("PATCH", path, operations, query=query, content_type="application/json-patch+json")

    async def scale(self, kind: Kind, namespace: str, name: str, replicas: int) -> None:
        """See `Cluster.scale`."""
        path = f"{_path(kind, namespace, name)}/scale"
        await self._write("PATCH", path, {"spec": {"replicas": replicas}}, content_type=_MERGE)

    async def add_ephemeral_container(self, namespace: str, pod: Object, container: Object) -> None:
        """See `Cluster.add_ephemeral_container`."""
        path = f"{_path(POD, namespace, pod['metadata']['name'])}/ephemeralcontainers"
        # By the uid it is this pod or none.
        body = {"metadata": {"uid": pod["metadata"]["uid"]}, "spec": {"ephemeralContainers": [container]}}
        await self._write("PATCH", path, body, query={"fieldManager": FIELD_MANAGER}, content_type=_STRATEGIC)

    async def read_log(self, namespace: str, pod: str, container: str, limit: int) -> bytes:
        """See `Cluster.read_log`."""
        query = {"container": container, "limitBytes": str(limit)}
        return await self._fetch("GET", f"{_path(POD, namespace, pod)}/log", query, accept="*/*") or b""

    async def delete(self, kind: Kind, namespace: str | None, name: str, *, uid: str | None = None) -> None:
        """See `Cluster.delete`."""
        options: Object = {"propagationPolicy": "Background"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        await self._call_fenced("DELETE", _path(kind, namespace, name), body=options, missing_is_none=True)

    async def _write(
        self,
        method: str,
        path: str,
        body: Any,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Object:
        return await self._call_fenced(method, path, query, body, content_type=content_type) or {}

    async def _call_fenced(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        *,
        content_type: str = "application/json",
        missing_is_none: bool = False,
    ) -> Object | None:
        left = self._fence()
        if left <= 0:
            raise DeposedError("the Lease is not held for sure")
        seconds = min(_SECONDS, left)
        answer = await self._fetch(
            method, path, query, body, content_type=content_type, seconds=seconds, missing_is_none=missing_is_none
        )
        return _parsed(answer)

    async def _fetch(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        *,
        content_type: str = "application/json",
        seconds: float = _SECONDS,
        missing_is_none: bool = False,
        accept: str = _JSON,
    ) -> bytes | None:
        headers = {"Accept": accept, "Content-Type": content_type}
        try:
            async with asyncio.timeout(seconds):
                # Asynchronous, since it may read a token that has been renewed.
                _, url, headers, _, _ = await self._client.param_serialize(
                    method, path, query_params=list((query or {}).items()), header_params=headers, auth_settings=["BearerToken"]
                )
                response = await self._client.call_api(method, url, headers, body, _request_timeout=seconds)
                data: bytes = await response.response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise UnavailableError(f"{method} {path}: {str(error) or type(error).__name__}") from error
        except ApiException as error:
            raise _error(method, path, error.status or 0, str(error.body or error.reason)) from error
        if response.status == 404 and missing_is_none:
            return None
        if response.status >= 400:
            after = str(response.headers.get("Retry-After", ""))
            raise _error(method, path, response.status, data.decode("utf-8", "replace"), after)
        return data


def _parsed(data: bytes | None) -> Object | None:
    if data is None:
        return None
    answer: Object = json.loads(data)
    return answer


def _path(kind: Kind, namespace: str | None, name: str | None = None) -> str:
    base = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    scope = f"/namespaces/{namespace}" if kind.namespaced and namespace is not None else ""
    return f"{base}{scope}/{kind.plural}" + (f"/{name}" if name is not None else "")


def _serialize(kind: Kind, body: Object) -> tuple[str, Object | str]:
    """Return how an object is sent: as JSON, and a ControllerRevision as YAML (of which JSON is a part).

    Of JSON the API server keeps a ControllerRevision's data byte for byte, our blanks included, and compares it byte for byte
    with what it writes itself when somebody patches a label or the owners. Of YAML it writes the data itself from the first.
    """
    return (_YAML, json.dumps(body)) if kind == CONTROLLER_REVISION else (_JSON, body)


def _error(method: str, path: str, status: int, body: str, retry_after: str = "") -> Exception:
    try:
        message = str(json.loads(body).get("message") or body)
    except (ValueError, AttributeError):
        message = body
    message = message[:1000]
    if status == 409:
        return ConflictError(message)
    if status in (429, 500, 502, 503, 504) or status == 0:
        seconds = float(retry_after) if retry_after.isdigit() else None
        return UnavailableError(f"{method} {path} was answered with {status}: {message}", retry_after=seconds)
    return RejectedError(message)
