"""The readiness audit against real servers that speak the protocols, and against broken ones."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from lockstep.api.server import Server
from lockstep.gates.evidence import AuditFact
from lockstep.readiness.audit import HttpAuditor
from tests.fakes.http import Handler, serving
from tests.fakes.mlflow_server import free_port

EXAMPLE = b'{"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2.5], [2, 3]]}}'
MLFLOW: dict[str, Any] = {"mlflow": {}}
V2: dict[str, Any] = {"openInferenceV2": {"modelName": "iris/1"}}
CUSTOM: dict[str, Any] = {"custom": {"readyPath": "/live", "predictPath": "/score", "predictBody": '{"x": 1}'}}


class Recorder:
    """Answers as it is told and keeps what it was asked."""

    def __init__(self, *, ready: int = 200, status: int = 200, body: bytes = b'{"predictions": [0]}') -> None:
        self.ready, self.status, self.body = ready, status, body
        self.asked: list[tuple[str, str, bytes]] = []
        self.headers: list[dict[str, str]] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.raw_path, await request.read()))
        self.headers.append(dict(request.headers))
        if request.method == "GET":
            return web.Response(status=self.ready)
        response = web.Response(status=self.status, body=self.body, content_type="application/json")
        # As FastAPI's GZipMiddleware and MLServer do: compressed for whoever takes it.
        response.enable_compression()
        return response


@asynccontextmanager
async def auditor() -> AsyncIterator[HttpAuditor]:
    # The controller's session: it streams layers too, so it doesn't decompress.
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield HttpAuditor(session)


async def audited(
    handler: Handler,
    protocol: dict[str, Any] = MLFLOW,
    *,
    example: bytes | None = EXAMPLE,
    requests: int = 2,
    seconds: float = 5,
) -> AuditFact:
    async with serving(handler) as port, auditor() as one:
        server = Server.model_validate({"port": port} | protocol)
        return await one.audit(
            pod="iris-1",
            address="127.0.0.1",
            server=server,
            input_example=example,
            requests=requests,
            timeout_seconds=seconds,
        )


async def test_mlflow_gets_the_registered_example_as_it_stands() -> None:
    server = Recorder()
    fact = await audited(server)
    assert (fact.passed, fact.answered, len(fact.latencies), fact.failure) == (True, 2, 2, None)
    assert server.asked == [("GET", "/ping", b""), ("POST", "/invocations", EXAMPLE), ("POST", "/invocations", EXAMPLE)]
    assert server.headers[1]["Content-Type"] == "application/json"


async def test_v2_is_asked_at_the_model_with_columns_as_tensors() -> None:
    server = Recorder(body=b'{"outputs": [{"name": "y", "data": [1, 0]}]}')
    fact = await audited(server, V2, requests=1)
    assert (fact.passed, fact.answered) == (True, 1)
    assert [path for _, path, _ in server.asked] == ["/v2/models/iris%2F1/ready", "/v2/models/iris%2F1/infer"]
    assert json.loads(server.asked[1][2]) == {
        "inputs": [
            {"name": "a", "shape": [2, 1], "datatype": "INT64", "data": [1, 2]},
            {"name": "b", "shape": [2, 1], "datatype": "FP64", "data": [2.5, 3]},
        ],
        "parameters": {"content_type": "pd"},
    }


async def test_a_server_of_its_own_protocol_gets_its_own_body() -> None:
    server = Recorder(body=b"ok")
    fact = await audited(server, CUSTOM, requests=1)
    assert fact.passed
    assert server.asked == [("GET", "/live", b""), ("POST", "/score", b'{"x": 1}')]


async def test_without_an_example_only_readiness_is_asked() -> None:
    server = Recorder()
    fact = await audited(server, example=None)
    assert (fact.passed, fact.answered) == (True, 0)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("server", "protocol", "says"),
    [
        (Recorder(ready=503), MLFLOW, "GET /ping was answered with 503"),
        (Recorder(ready=302), MLFLOW, "GET /ping was answered with 302"),
        (Recorder(status=400, body=b'{"message": "no column b"}'), MLFLOW, 'answered with 400: {"message": "no column b"}'),
        (Recorder(status=500, body=b"\xff" * 900), MLFLOW, "answered with 500"),
        (Recorder(body=b'{"predictions": []}'), MLFLOW, "its answer holds no predictions"),
        (Recorder(body=b'{"predictions": null}'), MLFLOW, "its answer holds no predictions"),
        (Recorder(body=b"[1]"), MLFLOW, "its answer holds no predictions"),
        (Recorder(body=b"<html>"), MLFLOW, "its answer is no JSON"),
        (Recorder(body=b""), MLFLOW, "its answer is no JSON"),
        (Recorder(body=b"[" * 200_000), MLFLOW, "its answer is no JSON"),
        (Recorder(body=b"[" * 200_000), V2, "its answer is no JSON"),
        (Recorder(body=b'{"outputs": [{"data": []}]}'), V2, "its answer holds no outputs"),
        (Recorder(body=b'{"outputs": 7}'), V2, "its answer holds no outputs"),
        (Recorder(body=b""), CUSTOM, "its answer is empty"),
    ],
)
async def test_a_wrong_answer_is_a_failure_that_is_named(server: Recorder, protocol: dict[str, Any], says: str) -> None:
    fact = await audited(server, protocol)
    assert (fact.passed, fact.unreachable, fact.answered) == (False, False, 0)
    assert says in str(fact.failure)
    assert len(str(fact.failure)) < 400


@pytest.mark.parametrize(
    "example",
    [
        b"no json",
        b"[" * 200_000,
        b'{"dataframe_split": {"columns": ["a", "b"], "data": [[1]]}}',
        b'{"dataframe_split": {"columns": ["a"], "data": [1]}}',
        b'{"dataframe_split": {"columns": 1, "data": 2}}',
    ],
)
async def test_an_example_that_can_not_be_sent_is_told_and_never_raises(example: bytes) -> None:
    fact = await audited(Recorder(), V2, example=example)
    assert fact.failure == "the registered input example can't be turned into tensors"
    assert not fact.passed


async def test_the_second_answer_counts_as_much_as_the_first() -> None:
    answers = iter([b'{"predictions": [0]}', b"{}"])

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=next(answers) if request.method == "POST" else b"")

    fact = await audited(handler)
    assert (fact.passed, fact.answered) == (False, 1)


async def test_a_slow_answer_may_pass_later_and_says_what_was_slow() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            await asyncio.Event().wait()
        return web.Response()

    fact = await audited(handler, seconds=0.2)
    assert (fact.passed, fact.unreachable) == (False, True)
    assert fact.failure == "POST /invocations was not answered within 0.2 s"


async def test_a_server_that_hangs_up_may_pass_later() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            assert request.transport is not None
            request.transport.abort()
        return web.Response()

    fact = await audited(handler)
    assert (fact.passed, fact.unreachable) == (False, True)
    assert "POST /invocations" in str(fact.failure)


async def test_a_refused_connection_is_unreachable() -> None:
    server = Server.model_validate({"port": free_port(), "mlflow": {}})
    async with auditor() as one:
        fact = await one.audit(
            pod="iris-1", address="127.0.0.1", server=server, input_example=None, requests=1, timeout_seconds=2
        )
    assert (fact.passed, fact.unreachable) == (False, True)
    assert "could not be reached" in str(fact.failure)


async def test_a_huge_answer_is_not_read_to_its_end() -> None:
    sent = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        if request.method == "POST":
            for _ in range(256):
                await response.write(bytes(1024 * 1024))
                sent += 1
        return response

    fact = await audited(handler)
    assert (fact.passed, fact.unreachable) == (False, False)
    assert fact.failure == "POST /invocations was answered with more than 16777216 bytes"
    assert sent < 64
