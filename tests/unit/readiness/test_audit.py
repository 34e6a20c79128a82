"""The readiness audit against real servers that speak the protocols, and against broken ones."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from lockstep.api.server import Server
from lockstep.gates.evidence import AuditFact
from lockstep.readiness.audit import HttpAuditor
from lockstep.readiness.client import CLIENTS
from lockstep.readiness.port import Audit
from lockstep.readiness.protocols.exchange import Request
from lockstep.readiness.protocols.mlflow import MLflowProtocol
from tests.fakes.http import Handler, serving
from tests.fakes.mlflow_server import free_port

EXAMPLE = b'{"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2.5], [2, 3.5]]}}'
HOSTS = ("iris", "iris.team", "iris.team.svc")
MLFLOW: dict[str, Any] = {"mlflow": {}}
V2: dict[str, Any] = {"openInferenceV2": {"modelName": "iris/1"}}
CUSTOM: dict[str, Any] = {"custom": {"readyPath": "/live", "predictPath": "/score", "predictBody": '{"x": 1}'}}


def rows_of(body: bytes) -> int:
    return len(json.loads(body)["dataframe_split"]["data"])


class Recorder:
    """Answers as it is told and keeps what it was asked; without a body of its own a prediction for each row."""

    def __init__(self, *, ready: int = 200, status: int = 200, body: bytes | None = None) -> None:
        self.ready, self.status, self.body = ready, status, body
        self.asked: list[tuple[str, str, bytes]] = []
        self.headers: list[dict[str, str]] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        sent = await request.read()
        self.asked.append((request.method, request.raw_path, sent))
        self.headers.append(dict(request.headers))
        if request.method == "GET":
            return web.Response(status=self.ready)
        body = self.body if self.body is not None else json.dumps({"predictions": [0] * rows_of(sent)}).encode()
        response = web.Response(status=self.status, body=body, content_type="application/json")
        # As FastAPI's GZipMiddleware and MLServer do: compressed for whoever takes it.
        response.enable_compression()
        return response

    @property
    def predictions(self) -> list[bytes]:
        """The bodies of the predictions that were asked for."""
        return [body for method, _, body in self.asked if method == "POST"]


def audit_at(port: int, protocol: dict[str, Any] = MLFLOW, **changes: Any) -> Audit:
    parts: dict[str, Any] = {
        "pod": "iris-1",
        "address": "127.0.0.1",
        "port": port,
        "hosts": HOSTS,
        "server": Server.model_validate({"port": port} | protocol),
        "input_example": EXAMPLE,
        "requests": 2,
        "timeout_seconds": 5,
        "within_seconds": 60,
    }
    return Audit(**(parts | changes))


def auditor(seed: int = 1) -> HttpAuditor:
    return HttpAuditor(random.Random(seed), pauses=False)


async def audited(handler: Handler, protocol: dict[str, Any] = MLFLOW, *, seed: int = 1, **changes: Any) -> AuditFact:
    async with serving(handler) as port:
        return await auditor(seed).audit(audit_at(port, protocol, **changes))


async def test_mlflow_gets_the_registered_example_as_it_stands_and_rows_of_it() -> None:
    server = Recorder()
    fact = await audited(server, requests=5)
    assert (fact.passed, fact.failure) == (True, None)
    assert fact.answered == len(server.predictions) >= 5
    assert {(method, path) for method, path, _ in server.asked} == {("GET", "/ping"), ("POST", "/invocations")}
    assert EXAMPLE in server.predictions
    assert len(set(server.predictions)) > 1
    assert all(headers["Content-Type"] == "application/json" for headers in server.headers if "Content-Type" in headers)


async def test_v2_is_asked_at_the_model_with_columns_as_tensors() -> None:
    server = Recorder(body=b'{"outputs": [{"name": "y", "shape": [2, 1], "datatype": "INT64", "data": [1, 0]}]}')
    fact = await audited(server, V2, requests=1, whole_example=True)
    assert fact.passed
    assert {path for _, path, _ in server.asked} == {"/v2/models/iris%2F1/ready", "/v2/models/iris%2F1/infer"}
    assert json.loads(server.predictions[0]) == {
        "inputs": [
            {"name": "a", "shape": [2, 1], "datatype": "INT64", "data": [1, 2]},
            {"name": "b", "shape": [2, 1], "datatype": "FP64", "data": [2.5, 3.5]},
        ],
        "parameters": {"content_type": "pd"},
    }


async def test_a_server_of_its_own_protocol_gets_its_own_body() -> None:
    server = Recorder(body=b"ok")
    fact = await audited(server, CUSTOM, requests=1)
    assert fact.passed
    assert {one for one in server.asked} == {("GET", "/live", b""), ("POST", "/score", b'{"x": 1}')}


async def test_a_custom_path_is_asked_as_it_is_written() -> None:
    server = Recorder(body=b"ok")
    custom = {"custom": {"readyPath": "/a/../live", "predictPath": "/v1/models/%6d:predict", "predictBody": "{}"}}
    assert (await audited(server, custom)).passed
    assert {path for _, path, _ in server.asked} == {"/a/../live", "/v1/models/%6d:predict"}


async def test_a_model_without_an_example_is_asked_for_readiness_alone() -> None:
    server = Recorder()
    fact = await audited(server, input_example=None, requests=0)
    assert (fact.passed, fact.answered) == (True, 0)
    assert server.asked == [("GET", "/ping", b"")]


@pytest.mark.parametrize("protocol", [MLFLOW, V2, {"custom": {"readyPath": "/live"}}])
async def test_predictions_that_can_not_be_asked_for_never_count_as_answered(protocol: dict[str, Any]) -> None:
    fact = await audited(Recorder(), protocol, input_example=None, requests=5)
    assert (fact.passed, fact.answered) == (False, 0)


@pytest.mark.parametrize(
    ("server", "protocol", "says"),
    [
        (Recorder(ready=503), MLFLOW, "GET /ping was answered with 503"),
        (Recorder(ready=302), MLFLOW, "GET /ping was answered with 302"),
        (Recorder(status=400, body=b'{"message": "no column b"}'), MLFLOW, "was answered with 400: no column b"),
        (Recorder(status=500, body=b"\xff" * 900), MLFLOW, "was answered with 500"),
        (Recorder(status=204, body=b""), MLFLOW, "was answered with 204"),
        (Recorder(body=b'{"predictions": [NaN, NaN]}'), MLFLOW, "its answer holds NaN"),
        (Recorder(body=b'{"predictions": [0]}'), MLFLOW, "2 rows were asked and 1 predictions came back"),
        (Recorder(body=b"<html>"), MLFLOW, "its answer is no JSON"),
        (Recorder(body=b'{"outputs": 7}'), V2, "its answer holds no outputs"),
        (Recorder(body=b""), CUSTOM, "its answer is empty"),
    ],
)
async def test_a_wrong_answer_is_a_failure_that_is_named(server: Recorder, protocol: dict[str, Any], says: str) -> None:
    fact = await audited(server, protocol, whole_example=server.body is not None and b"[0]" not in server.body)
    assert (fact.passed, fact.unreachable) == (False, False)
    assert says in str(fact.failure)
    assert len(str(fact.failure)) < 400


@pytest.mark.parametrize("seed", range(10))
async def test_a_server_that_answers_one_row_only_fails_whatever_is_asked_first(seed: int) -> None:
    assert not (await audited(Recorder(body=b'{"predictions": [0]}'), seed=seed)).passed


async def test_a_failure_says_which_part_of_the_example_was_sent() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return web.Response()
        body = await request.read()
        return web.Response(body=b'{"predictions": [0, 1]}') if rows_of(body) == 2 else web.Response(status=500, body=b"oh")

    fact = await audited(handler, requests=20)
    assert fact.failure == "POST /invocations with 1 of the 2 rows of the registered input example was answered with 500: oh"
    assert (await audited(handler, requests=20, whole_example=True)).passed


@pytest.mark.parametrize(
    ("status", "protocol", "advice"),
    [
        (404, MLFLOW, "check that it is an MLflow scoring server"),
        (404, V2, "check server.openInferenceV2.modelName"),
        (404, CUSTOM, "check server.custom.predictPath"),
        (422, CUSTOM, "correct server.custom.predictBody"),
        (422, {"custom": {"readyPath": "/live", "predictPath": "/score"}}, "set server.custom.predictBody"),
        (500, CUSTOM, "None"),
    ],
)
async def test_what_would_help_is_said_where_it_is_known(status: int, protocol: dict[str, Any], advice: str) -> None:
    fact = await audited(Recorder(status=status, body=b"no"), protocol)
    assert str(fact.advice).startswith(advice)


async def test_an_example_that_can_not_be_sent_is_told_and_never_raises() -> None:
    for example in (b"no json", b"[" * 200_000, b'{"dataframe_split": {"columns": ["a", "b"], "data": [[1]]}}'):
        fact = await audited(Recorder(), V2, input_example=example)
        assert str(fact.failure).startswith("the registered input example ")
        assert not fact.passed


async def test_every_answer_counts_as_much_as_the_first() -> None:
    left = 3

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal left
        left -= request.method == "POST"
        rows = rows_of(await request.read()) if request.method == "POST" else 0
        return web.Response(body=json.dumps({"predictions": [0] * rows} if left > 0 else {}).encode())

    fact = await audited(handler, requests=5)
    assert (fact.passed, fact.answered) == (False, 2)


# --- how long it takes ----------------------------------------------------------------------------------------------------


async def hangs(request: web.Request) -> web.StreamResponse:
    if request.method == "POST":
        await asyncio.Event().wait()
    return web.Response()


async def test_a_slow_answer_may_pass_later_and_says_what_was_slow_and_what_would_help() -> None:
    fact = await audited(hangs, timeout_seconds=0.2, ready=False)
    assert (fact.passed, fact.unreachable, fact.late) == (False, True, False)
    assert fact.failure == "POST /invocations was not answered within 0.2 s"
    assert "readiness.timeoutSeconds" in str(fact.advice)


def slow(seconds: float) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return web.Response()
        await asyncio.sleep(seconds)
        return web.Response(body=json.dumps({"predictions": [0] * rows_of(await request.read())}).encode())

    return handler


async def test_all_requests_together_end_by_their_deadline_with_what_was_answered_until_then() -> None:
    fact = await audited(slow(0.1), requests=1000, within_seconds=2)
    assert (fact.passed, fact.late, fact.unreachable) == (False, True, False)
    assert fact.answered <= 20
    assert fact.failure == f"answered {fact.answered} of 1000 predictions within 2 s"
    assert "readiness.deadlineSeconds" in str(fact.advice)


async def test_what_is_asked_beyond_what_is_wanted_is_not_demanded() -> None:
    answered = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal answered
        answered += request.method == "POST"
        if answered > 1:
            await asyncio.Event().wait()
        rows = rows_of(await request.read()) if request.method == "POST" else 0
        return web.Response(body=json.dumps({"predictions": [0] * rows}).encode())

    fact = await audited(handler, requests=1, ready=False, within_seconds=3, seed=3)
    assert answered == 2, "this seed asks for more than one"
    assert (fact.passed, fact.answered) == (True, 1)


async def test_a_server_that_hangs_up_may_pass_later() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            assert request.transport is not None
            request.transport.abort()
        return web.Response()

    fact = await audited(handler)
    assert (fact.passed, fact.unreachable) == (False, True)
    assert "POST /invocations" in str(fact.failure)


async def test_a_refused_connection_is_unreachable_and_names_the_port() -> None:
    port = free_port()
    fact = await auditor().audit(audit_at(port))
    assert (fact.passed, fact.unreachable) == (False, True)
    assert f"could not be reached on port {port}" in str(fact.failure)
    assert str(fact.failure).endswith(": Connection refused")


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


async def test_large_answers_of_many_pods_are_judged_one_after_another_and_all_of_them_are() -> None:
    def large(sent: bytes) -> bytes:
        return json.dumps({"predictions": [[0.5] * 100_000] * rows_of(sent)}).encode()

    judging, most = 0, 0

    class Counting(MLflowProtocol):
        def check(self, request: Request, body: bytes, *, missing: bool) -> None:
            nonlocal judging, most
            judging += 1
            most = max(most, judging)
            super().check(request, body, missing=missing)
            judging -= 1

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=large(await request.read()) if request.method == "POST" else b"")

    one = HttpAuditor(random.Random(1), pauses=False, protocols=lambda server: Counting())
    async with serving(handler) as port:
        facts = await asyncio.gather(*(one.audit(audit_at(port, timeout_seconds=30)) for _ in range(6)))
    assert all(fact.passed for fact in facts), facts
    assert most == 1


# --- nothing gives the audit away -------------------------------------------------------------------------------------------


async def test_it_presents_itself_as_clients_in_the_cluster_do() -> None:
    agents, hosts = set(), set()
    for seed in range(40):
        server = Recorder()
        assert (await audited(server, seed=seed, requests=1)).passed
        assert len({(headers["User-Agent"], headers["Host"]) for headers in server.headers}) == 1, "one client an audit"
        agents.add(server.headers[0]["User-Agent"])
        hosts.add(server.headers[0]["Host"])
    assert agents == {client.headers["User-Agent"] for client in CLIENTS}
    assert hosts == set(HOSTS), "never the pod's address"


async def test_a_client_sends_its_own_headers_and_no_others() -> None:
    for seed in range(20):
        server = Recorder()
        await audited(server, seed=seed, requests=1)
        sent = next(headers for headers, (method, *_) in zip(server.headers, server.asked, strict=True) if method == "POST")
        client = next(client for client in CLIENTS if client.headers["User-Agent"] == sent["User-Agent"])
        assert sent.keys() == {*client.headers, "Host", "Content-Type", "Content-Length"}


async def test_audits_of_the_same_pod_differ_from_one_another() -> None:
    audits = []
    for seed in range(12):
        server = Recorder()
        await audited(server, seed=seed)
        audits.append(tuple(server.asked))
    assert len(set(audits)) > 8


async def test_a_server_that_knows_how_the_audit_used_to_look_does_not_pass() -> None:
    """It answers the operator's old client, at the pod's address, with the registered example; everybody else gets 500."""

    async def handler(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        known = "aiohttp" in request.headers.get("User-Agent", "") and request.host.startswith("127.0.0.1") and body == EXAMPLE
        if request.method == "GET" or known:
            return web.Response(body=b'{"predictions": [0, 1]}')
        return web.Response(status=500)

    for seed in range(20):
        assert not (await audited(handler, seed=seed)).passed


async def test_readiness_is_asked_by_itself_and_what_comes_back_is_told() -> None:
    async with serving(Recorder(ready=404)) as port:
        assert await auditor().readiness(audit_at(port)) == "GET /ping was answered with 404"
    async with serving(Recorder()) as port:
        assert await auditor().readiness(audit_at(port)) == "GET /ping was answered with 200"
    assert "Connection refused" in await auditor().readiness(audit_at(free_port()))
