"""A registry of the OCI distribution API on the loopback device, with the faults that a test asks for."""

import base64
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from tests.fakes.images import INDEX, MemorySource, text

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Fault = Callable[[web.BaseRequest], Awaitable[web.StreamResponse | None]]


class FakeRegistry:
    """Serves a `MemorySource`; `fault` sees every request first and may answer it."""

    def __init__(self, source: MemorySource, name: str = "team/iris") -> None:
        self.source = source
        self.requests: list[web.BaseRequest] = []
        self.fault: Fault | None = None
        self.referrers: int | None = None
        """Entries of one page of the referrers API; None where the registry has none of it."""
        self._name = name

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request)
        if self.fault is not None and (answer := await self.fault(request)) is not None:
            return answer
        kind, _, wanted = request.path.removeprefix(f"/v2/{self._name}/").partition("/")
        if request.method in ("POST", "PUT"):
            return await self._store(request, kind, wanted)
        if kind == "referrers" and self.referrers is not None:
            return self._referrers(request, wanted)
        if kind == "manifests" and (body := self.source.blobs.get(self.source.tags.get(wanted, wanted))) is not None:
            return web.Response(body=body)
        if kind == "blobs" and (body := self.source.blobs.get(wanted)) is not None:
            return web.Response(body=body)
        return web.Response(status=404)

    async def _store(self, request: web.BaseRequest, kind: str, wanted: str) -> web.StreamResponse:
        """Take a blob in one piece, or a manifest."""
        if request.method == "POST":
            return web.Response(status=202, headers={"Location": f"/v2/{self._name}/blobs/uploads/1?state=x"})
        body = await request.read()
        if kind == "manifests":
            self.source.put(body, wanted)
            return web.Response(status=201)
        return web.Response(status=201 if self.source.put(body) == request.query["digest"] else 400)

    def _referrers(self, request: web.BaseRequest, digest: str) -> web.StreamResponse:
        found, at = self.source.referring(digest), int(request.query.get("from", "0"))
        assert self.referrers is not None
        after = at + self.referrers
        link = {"Link": f'<{request.path}?from={after}>; rel="next"'} if after < len(found) else {}
        page = {"schemaVersion": 2, "mediaType": INDEX, "manifests": found[at:after]}
        return web.Response(body=text(page), headers=link)

    def authorizations(self) -> list[str | None]:
        """Return the Authorization header of each request so far."""
        return [request.headers.get("Authorization") for request in self.requests]


@asynccontextmanager
async def serving(handler: Handler, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve on a free port, over TLS where a context is given, and yield `host:port`."""
    runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, host, 0, ssl_context=tls)
    await site.start()
    try:
        yield f"{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def basic(user: str, password: str) -> str:
    """Return the Authorization header of a user."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
