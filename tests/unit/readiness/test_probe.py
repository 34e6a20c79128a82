"""What a pod that is not ready answers, as a sentence. Against servers on loopback."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from lockstep.api.server import Server
from lockstep.readiness.probe import HttpProber
from tests.fakes.mlflow_server import free_port

Handler = Callable[[web.Request], Awaitable[web.Response]]


def server(port: int) -> Server:
    return Server.model_validate({"port": port, "custom": {"readyPath": "/ready"}})


async def said(port: int) -> str:
    async with aiohttp.ClientSession() as session:
        return await HttpProber(session).said(address="127.0.0.1", server=server(port))


@asynccontextmanager
async def answering(handler: Handler) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    async with TestServer(app) as running:
        assert running.port is not None
        yield running.port


async def test_a_port_where_nobody_listens_is_named() -> None:
    port = free_port()
    assert await said(port) == f"GET /ready on port {port}: connection refused"


@pytest.mark.parametrize(("status", "body", "told"), [(404, "not here", "404: not here"), (503, "", "503"), (200, "ok", "200")])
async def test_an_answer_is_told_with_what_it_says(status: int, body: str, told: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, text=body)

    async with answering(answer) as port:
        assert await said(port) == f"GET /ready on port {port} was answered with {told}"


async def test_of_a_long_answer_the_beginning_is_told_and_no_redirect_is_followed() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=int(statuses.pop()), headers={"Location": "http://example.com/"}, text="x" * 10_000)

    statuses = [302, 500]
    async with answering(answer) as port:
        text = await said(port)
        assert await said(port) == f"GET /ready on port {port} was answered with 302"
    assert text.startswith(f"GET /ready on port {port} was answered with 500: xxx")
    assert len(text) < 300
