"""One client that asks one address: the requests, and what comes back for them."""

import asyncio
import os
from contextlib import AsyncExitStack
from urllib.parse import quote

import aiohttp
from yarl import URL

from lockstep.readiness.answers import NoAnswerError
from lockstep.readiness.client import Client, decode_content
from lockstep.readiness.excerpt import error_excerpt
from lockstep.readiness.port import Audit
from lockstep.readiness.protocols.exchange import Request, ServingProtocol

_MAX_ANSWER = 16 * 1024 * 1024
_LARGE_ANSWER = 256 * 1024
"""Answers beyond this, and packed ones, are judged one at a time: as objects of Python they take 25 times their size."""
_CHUNK = 65536
_SLOW = "make the server faster, or let the platform team raise readiness.timeoutSeconds"


class AuditError(Exception):
    """The audit has failed; the message says how."""

    def __init__(self, message: str, advice: str | None = None, *, unreachable: bool = False) -> None:
        super().__init__(message)
        self.advice = advice
        """What would help, where it is known."""
        self.unreachable = unreachable
        """Whether no answer came, which may pass by itself."""


def session(client: Client) -> aiohttp.ClientSession:
    """Return a session of its own for each audit, as each client has: connections are kept, and shared with nobody."""
    return aiohttp.ClientSession(
        headers=client.headers,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )


class Conversation:
    """Asks for readiness and for predictions."""

    def __init__(
        self,
        connections: aiohttp.ClientSession,
        audit: Audit,
        protocol: ServingProtocol,
        headers: dict[str, str],
        large: asyncio.Semaphore,
    ) -> None:
        self._connections = connections
        self._audit = audit
        self._protocol = protocol
        self._headers = headers
        self._large = large
        self._patience = aiohttp.ClientTimeout(total=audit.timeout_seconds)

    async def ready(self) -> str:
        """Ask the path of the readiness probe and return what was asked.

        Raises:
            AuditError: the answer is not 200.
        """
        asked = f"GET {self._audit.server.ready_path}"
        async with AsyncExitStack() as held:
            status, _ = await self._ask("GET", self._audit.server.ready_path, asked, None, held)
        if status != 200:
            raise AuditError(f"{asked} was answered with {status}")
        return asked

    async def predict(self, request: Request) -> None:
        """Ask for a prediction.

        Raises:
            AuditError: it is not answered rightly.
        """
        asked = f"POST {request.path}"
        about = f"{asked} with {request.name}"
        async with AsyncExitStack() as held:
            status, body = await self._ask("POST", request.path, asked, request.body, held)
            if status != 200:
                excerpt = await asyncio.to_thread(error_excerpt, body, request.body)
                message = f"{about} was answered with {status}" + (f": {excerpt}" if excerpt else "")
                raise AuditError(message, self._protocol.advice(status))
            try:
                # Beside the event loop, since an answer may have hundreds of thousands of numbers.
                await asyncio.to_thread(self._protocol.check, request, body, missing=self._audit.missing_predictions)
            except NoAnswerError as error:
                raise AuditError(f"{about}: {error}") from error

    async def _ask(self, method: str, path: str, asked: str, data: bytes | None, held: AsyncExitStack) -> tuple[int, bytes]:
        headers = self._headers | ({"Content-Type": "application/json"} if data is not None else {})
        try:
            async with self._connections.request(
                method, self._url(path), data=data, headers=headers, timeout=self._patience, allow_redirects=False
            ) as response:
                packed = response.headers.get("Content-Encoding", "")
                body = await self._read(response, asked, held, packed=packed != "")
                return response.status, decode_content(body, packed, _MAX_ANSWER)
        except TimeoutError as error:
            message = f"{asked} was not answered within {self._audit.timeout_seconds:g} s"
            raise AuditError(message, _SLOW, unreachable=True) from error
        except aiohttp.ClientConnectionError as error:
            message = f"it could not be reached on port {self._audit.port} ({asked}): {_why(error)}"
            raise AuditError(message, unreachable=True) from error
        except (aiohttp.ClientError, ValueError) as error:
            raise AuditError(f"{asked}: its answer can't be read: {error}") from error

    def _url(self, path: str) -> URL:
        host = self._audit.address
        # As it is written: what a client would tidy up in a path, the kubelet does not.
        written = quote(path, safe="/%:@!$&'()*+,;=-._~")
        return URL(f"http://{f'[{host}]' if ':' in host else host}:{self._audit.port}{written}", encoded=True)

    async def _read(self, response: aiohttp.ClientResponse, asked: str, held: AsyncExitStack, *, packed: bool) -> bytes:
        """Read a body; a large one holds, until `held` ends, what only one answer at a time can hold."""
        body = bytearray()
        alone = False
        async for chunk in response.content.iter_chunked(_CHUNK):
            body += chunk
            if len(body) > _MAX_ANSWER:
                raise AuditError(f"{asked} was answered with more than {_MAX_ANSWER} bytes")
            if not alone and len(body) > _LARGE_ANSWER:
                await held.enter_async_context(self._large)
                alone = True
        if packed and not alone:
            await held.enter_async_context(self._large)
        return bytes(body)


def _why(error: aiohttp.ClientConnectionError) -> str:
    """Return what the operating system says, where it says something: `Connection refused`."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, OSError) and cause.errno is not None:
        return os.strerror(cause.errno)
    return str(error) or type(error).__name__
