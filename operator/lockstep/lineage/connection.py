"""Requests to one MLflow tracking server, and what its answers mean."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from lockstep.api.reasons import Reason
from lockstep.lineage.lineage import LineageError

API = "/api/2.0/mlflow"
_TIMEOUT_SECONDS = 10.0
_STREAM_SECONDS = 600.0
"""Until the next bytes of a large file come: a server that proxies an object store fetches the whole file first."""
_MAX_ANSWER = 16 * 1024 * 1024
_CHUNK = 1024 * 1024
_ERROR = 4096


@dataclass(frozen=True)
class MLflowCredentials:
    """The operator's own credentials at MLflow; a token wins over user and password, as in MLflow's client."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "MLflowCredentials":
        """Read MLflow's own variables (mlflow.org, "Authentication"); empty ones count as unset."""
        return cls(
            username=environ.get("MLFLOW_TRACKING_USERNAME") or None,
            password=environ.get("MLFLOW_TRACKING_PASSWORD") or None,
            token=environ.get("MLFLOW_TRACKING_TOKEN") or None,
        )

    def headers(self) -> dict[str, str]:
        """Return the Authorization header."""
        if self.token:
            return {"Authorization": f"Bearer {self.token}"}
        if self.username:
            return {"Authorization": aiohttp.encode_basic_auth(self.username, self.password or "")}
        return {}


class NotFoundError(Exception):
    """MLflow answered that there is no such thing."""


class TooLargeError(Exception):
    """The answer is larger than what may be read."""


class NotOfferedError(LineageError):
    """The server has no such request: it is no MLflow, an older one, or something before it lets only some requests pass."""


class BrokenError(LineageError):
    """The server answered that it failed, so that this one thing could not be determined."""


class MLflowConnection:
    """Asks one tracking server. MLflow's own client is synchronous and retries for minutes, so it is not used."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        tracking_uri: str,
        credentials: MLflowCredentials,
        *,
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> None:
        self._session = session
        self.base = tracking_uri.rstrip("/")
        # Sessions that stream layers don't decompress, so nothing compressed is asked for.
        self._headers = credentials.headers() | {"Accept-Encoding": "identity"}
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._unhurried = aiohttp.ClientTimeout(total=None, sock_connect=timeout_seconds, sock_read=_STREAM_SECONDS)

    async def json(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        """Return the JSON object that a request below `API` is answered with; an empty one for anything else.

        Raises:
            NotFoundError: there is no such thing.
            LineageError: the server did not answer as MLflow does.
        """
        try:
            return mapping(json.loads(await self.body(f"{API}/{path}", query, _MAX_ANSWER)))
        except (ValueError, RecursionError) as error:
            raise self._unexpected_answer(path, "something that is no JSON") from error
        except TooLargeError as error:
            raise self._unexpected_answer(path, f"more than {_MAX_ANSWER} bytes") from error

    async def body(self, path: str, query: Mapping[str, str], limit: int) -> bytes:
        """Return a file as a whole.

        Raises:
            NotFoundError: there is no such file.
            TooLargeError: it has more than `limit` bytes.
            LineageError: the server did not answer as MLflow does.
        """
        async with self._request(path, query, self._timeout) as response:
            body = await _read_limited(response, limit)
            self._check(response, path, body)
            return body

    @asynccontextmanager
    async def stream(self, path: str, query: Mapping[str, str]) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a file of any size; its bytes come in pieces.

        Raises:
            NotFoundError, LineageError: as `body`; LineageError too where the body breaks off.
        """
        async with self._request(path, query, self._unhurried) as response:
            # A model may hold web pages, which come as attachments; a proxy's login page does not.
            page = response.content_type == "text/html" and "Content-Disposition" not in response.headers
            if response.status != 200 or page:
                self._check(response, path, await response.content.read(_ERROR))
            yield response.content.iter_chunked(_CHUNK)

    @asynccontextmanager
    async def _request(
        self, path: str, query: Mapping[str, str], patience: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with self._session.get(
                f"{self.base}{path}", params=query, headers=self._headers, timeout=patience, allow_redirects=False
            ) as response:
                yield response
        except (aiohttp.ClientError, TimeoutError) as error:
            message = f"MLflow at {self.base} did not answer: {str(error) or type(error).__name__}"
            raise LineageError(Reason.REGISTRY_UNREACHABLE, message, retry=True) from error

    def _unexpected_answer(self, path: str, what: str) -> LineageError:
        name = path.removeprefix(f"{API}/")
        message = f"MLflow at {self.base} answered {name} with {what}: is it MLflow's address?"
        return LineageError(Reason.REGISTRY_UNREACHABLE, message, retry=True)

    def _check(self, response: aiohttp.ClientResponse, path: str, body: bytes) -> None:
        if response.status == 200:
            if response.content_type == "text/html":
                # MLflow sends files as plain text: this is a proxy's login page.
                raise self._unexpected_answer(path, "a web page")
            return
        code = b""
        if found := re.search(rb'"error_code":\s*"([A-Z_]+)"', body[:_ERROR]):
            code = found[1]
        # A missing alias is answered with INVALID_PARAMETER_VALUE. A bare 404 is not MLflow's: nothing follows from it.
        if code in (b"RESOURCE_DOES_NOT_EXIST", b"INVALID_PARAMETER_VALUE"):
            raise NotFoundError
        if response.status in (401, 403):
            hint = " (start it with --allowed-hosts)" if b"Host header" in body else ""
            message = f"MLflow at {self.base} refused the operator with {response.status}{hint}"
            raise LineageError(Reason.REGISTRY_REFUSED, message, retry=True)
        hint = ": is it MLflow's address?" if response.status == 404 else ""
        message = f"MLflow at {self.base} answered {response.status}{hint}"
        kind = LineageError
        if response.status in (404, 405, 501):
            kind = NotOfferedError
        elif response.status in (500, 503):
            kind = BrokenError
        raise kind(Reason.REGISTRY_UNREACHABLE, message, retry=True)


async def _read_limited(response: aiohttp.ClientResponse, limit: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(65536):
        body += chunk
        if len(body) > limit:
            raise TooLargeError
    return bytes(body)


def mapping(value: object) -> dict[str, Any]:
    """Return a JSON object, or an empty one in the place of anything else."""
    return value if isinstance(value, dict) else {}
