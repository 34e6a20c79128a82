"""MLflowRegistry against small servers that answer as MLflow doesn't: slow, refused, huge, proxied."""

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from lockstep.api.reasons import Reason
from lockstep.lineage.artifacts import place_of
from lockstep.lineage.connection import MLflowCredentials
from lockstep.lineage.lineage import Lineage, LineageError
from lockstep.lineage.mlflow import MLflowRegistry
from tests.fakes import builders as build
from tests.fakes.http import Handler, serving
from tests.fakes.mlflow_server import free_port

NO_ONE = MLflowCredentials()
URI = "mlflow-artifacts:/1/models/m/artifacts"
DIRECTORIES = f"logged-models/{build.MODEL_ID}/artifacts/directories"
LOGGED = {"source_run_id": build.RUN, "status": "LOGGED_MODEL_READY", "artifact_uri": URI}
LISTED = [
    {"path": path, "is_dir": False, "file_size": 9}
    for path in ("MLmodel", "requirements.txt", "python_env.yaml", "serving_input_example.json")
]
MISSING = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"}


class FakeMLflow:
    """The requests of one version's lineage, answered rightly unless told otherwise."""

    def __init__(self, answers: Mapping[str, web.Response | Exception | bytes] | None = None) -> None:
        self.changed = dict(answers or {})
        self.headers: list[Mapping[str, str]] = []
        self.compress = False

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.headers.append(dict(request.headers))
        name = request.query.get("path") or request.path.removeprefix("/api/2.0/mlflow/")
        if name == DIRECTORIES and "artifact_directory_path" in request.query:
            name = request.query["artifact_directory_path"]
        changed = self.changed.get(name)
        if isinstance(changed, web.Response):
            return web.Response(status=changed.status, body=changed.body, content_type=changed.content_type, headers=None)
        response = self._answer(name) if changed is None else web.Response(body=changed, content_type="text/plain")
        if self.compress:
            response.enable_compression()
        return response

    def _answer(self, name: str) -> web.Response:
        known: dict[str, Any] = {
            "model-versions/get": {"model_version": self._version()},
            "registered-models/alias": {"model_version": self._version()},
            "model-versions/get-download-uri": {"artifact_uri": URI},
            f"logged-models/{build.MODEL_ID}": {"model": {"info": LOGGED}},
            DIRECTORIES: {"root_uri": URI, "files": [*LISTED, {"path": "lockstep", "is_dir": True}]},
            "lockstep": {"files": [{"path": f"lockstep/environment.json{end}", "file_size": 9} for end in ("", ".dsse")]},
            "runs/get": {"run": {"info": {"run_id": build.RUN, "status": "FINISHED", "lifecycle_stage": "active"}}},
        }
        if name in known:
            return web.json_response(known[name])
        if name == "MLmodel":
            return web.Response(body=build.MLMODEL, content_type="text/plain")
        return web.json_response(MISSING, status=404)

    def _version(self) -> dict[str, Any]:
        return {"name": "iris", "version": "3", "status": "READY", "run_id": build.RUN, "source": f"models:/{build.MODEL_ID}"}


async def read(
    handler: Handler, *, seconds: float = 5, credentials: MLflowCredentials = NO_ONE, alias: str | None = None
) -> Lineage:
    async with serving(handler) as port, aiohttp.ClientSession(auto_decompress=False) as session:
        registry = MLflowRegistry(session, f"http://127.0.0.1:{port}/", credentials, timeout_seconds=seconds)
        return await registry.lineage(name="iris", version=None if alias else "3", alias=alias)


async def refused(handler: Handler, *, seconds: float = 5, alias: str | None = None) -> LineageError:
    with pytest.raises(LineageError) as raised:
        await read(handler, seconds=seconds, alias=alias)
    return raised.value


async def test_the_fake_gives_a_complete_lineage() -> None:
    lineage = await read(FakeMLflow())
    assert (lineage.version, lineage.model_id, lineage.mlmodel_run_id) == ("3", build.MODEL_ID, build.RUN)
    assert lineage.run is not None


async def test_a_proxy_that_compresses_does_no_harm() -> None:
    server = FakeMLflow()
    server.compress = True
    assert (await read(server)).run is not None


@pytest.mark.parametrize(
    ("credentials", "header"),
    [
        (NO_ONE, None),
        (MLflowCredentials(username="u", password="p"), "Basic dTpw"),
        (MLflowCredentials(username="u", password="p", token="t"), "Bearer t"),
    ],
)
async def test_credentials_go_with_every_request_and_never_into_text(
    credentials: MLflowCredentials, header: str | None
) -> None:
    server = FakeMLflow()
    await read(server, credentials=credentials)
    assert {headers.get("Authorization") for headers in server.headers} == {header}
    assert "'p'" not in repr(credentials)
    assert "'t'" not in repr(credentials)


UNREACHABLE, REFUSED = Reason.REGISTRY_UNREACHABLE, Reason.REGISTRY_REFUSED
HOST = "Invalid Host header - possible DNS rebinding attack detected"


@pytest.mark.parametrize(
    ("where", "answer", "reason", "says"),
    [
        ("model-versions/get", web.Response(status=403, text=HOST), REFUSED, "--allowed-hosts"),
        ("model-versions/get", web.Response(status=401, text="You are not authenticated"), REFUSED, "401"),
        ("runs/get", web.Response(status=403, text="Permission denied"), REFUSED, "403"),
        ("runs/get", web.Response(status=500, text="oops"), UNREACHABLE, "500"),
        ("runs/get", web.Response(status=503, text="oops"), UNREACHABLE, "503"),
        ("runs/get", web.Response(status=302, text="login"), UNREACHABLE, "302"),
        ("runs/get", web.Response(text="<html>", content_type="text/html"), UNREACHABLE, "a web page"),
        ("model-versions/get", web.Response(text="<html>", content_type="text/html"), UNREACHABLE, "a web page"),
        (
            "model-versions/get",
            web.Response(status=404, text="nginx", content_type="text/html"),
            UNREACHABLE,
            "MLflow's address",
        ),
        ("runs/get", web.Response(status=404, text="nginx", content_type="text/html"), UNREACHABLE, "404"),
        ("MLmodel", web.Response(status=404, text="nginx", content_type="text/html"), UNREACHABLE, "404"),
        ("MLmodel", web.Response(text="<html>", content_type="text/html"), UNREACHABLE, "a web page"),
        ("lockstep/environment.json", web.Response(status=502, text="oops"), UNREACHABLE, "502"),
        (DIRECTORIES, web.Response(status=502, text="oops"), UNREACHABLE, "502"),
        (DIRECTORIES, web.Response(text="<html>", content_type="text/html"), UNREACHABLE, "a web page"),
    ],
)
async def test_what_is_not_mlflows_answer_is_told_and_tried_again(
    where: str, answer: web.Response, reason: Reason, says: str
) -> None:
    error = await refused(FakeMLflow({where: answer}))
    assert (error.reason, error.retry) == (reason, True)
    assert says in error.message


@pytest.mark.parametrize("where", [DIRECTORIES, "lockstep", "MLmodel", "lockstep/environment.json", "requirements.txt"])
@pytest.mark.parametrize("status", [500, 503])
async def test_files_that_the_server_itself_can_not_read_are_told_apart_from_a_server_that_is_down(
    where: str, status: int
) -> None:
    lineage = await read(FakeMLflow({where: web.Response(status=status, text="oops")}))
    assert lineage.unreadable is not None
    assert str(status) in lineage.unreadable
    assert lineage.run is not None
    # Not a part of them: weaker evidence must not stand where stronger could not be read.
    assert [lineage.mlmodel, lineage.environment_document, lineage.requirements, lineage.input_example] == [None] * 4


async def test_only_files_that_are_listed_are_asked_for() -> None:
    """MLflow 2 answers 500 for a file that does not exist."""
    broken = web.Response(status=500, text="oops")
    server = FakeMLflow({DIRECTORIES: json.dumps({"files": LISTED[:1]}).encode(), "lockstep/environment.json": broken})
    lineage = await read(server)
    assert (lineage.unreadable, lineage.environment_document, lineage.mlmodel) == (None, None, build.MLMODEL)


async def test_without_a_list_every_file_is_asked_for() -> None:
    server = FakeMLflow({DIRECTORIES: web.Response(status=404, text="nginx"), "requirements.txt": b"numpy"})
    lineage = await read(server)
    assert (lineage.mlmodel, lineage.requirements, lineage.python_env) == (build.MLMODEL, b"numpy", None)
    assert lineage.place is not None


async def test_files_that_are_elsewhere_than_the_logged_models_have_no_place() -> None:
    moved = json.dumps({"artifact_uri": "s3://bucket/evil"}).encode()
    lineage = await read(FakeMLflow({"model-versions/get-download-uri": moved}))
    assert (lineage.place, lineage.artifact_uri) == (None, "s3://bucket/evil")


@pytest.mark.parametrize(
    ("uri", "prefix"),
    [
        ("s3://b/1/run/artifacts/model", "model"),
        ("s3://b/1/run/artifacts/a/b/", "a/b"),
        ("s3://b/1/run/artifacts", None),
        ("s3://b/1/run/artifacts-evil/model", None),
        ("s3://b/1/other/artifacts/model", None),
        ("", None),
    ],
)
def test_files_among_a_runs_artifacts_are_those_below_its_own_root(uri: str, prefix: str | None) -> None:
    run = build.run(artifact_uri="s3://b/1/run/artifacts")
    place = place_of(("iris", "3"), uri, None, run)
    assert (place.prefix if place else None) == prefix
    assert place_of(("iris", "3"), uri, None, build.run()) is None
    assert place_of(("iris", "3"), uri, None, None) is None


@pytest.mark.parametrize("body", [b"no json", b"[" * 500_000, b"", b"{}" + b" " * (17 * 1024 * 1024)])
async def test_an_answer_that_is_no_json_is_tried_again(body: bytes) -> None:
    error = await refused(FakeMLflow({"runs/get": body}))
    assert (error.reason, error.retry) == (UNREACHABLE, True)


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"run": 7}', b'{"run": {"info": [], "data": {"params": {}}, "inputs": 1}}'])
async def test_json_of_another_form_is_no_run_that_could_pass(body: bytes) -> None:
    lineage = await read(FakeMLflow({"runs/get": body}))
    assert lineage.run is None or lineage.run.status != "FINISHED"


async def test_a_version_that_does_not_exist_is_a_plain_no() -> None:
    error = await refused(FakeMLflow({"model-versions/get": web.json_response(MISSING, status=404)}))
    assert (error.reason, error.retry) == (Reason.VERSION_NOT_FOUND, False)


async def test_an_alias_that_does_not_exist_is_a_plain_no() -> None:
    answer = web.json_response({"error_code": "INVALID_PARAMETER_VALUE"}, status=400)
    error = await refused(FakeMLflow({"registered-models/alias": answer}), alias="champion")
    assert (error.reason, error.retry) == (Reason.ALIAS_NOT_FOUND, False)


async def test_a_server_that_is_down_is_told_and_tried_again() -> None:
    async with aiohttp.ClientSession() as session:
        registry = MLflowRegistry(session, f"http://127.0.0.1:{free_port()}", NO_ONE)
        with pytest.raises(LineageError) as raised:
            await registry.lineage(name="iris", version="3")
    assert (raised.value.reason, raised.value.retry) == (UNREACHABLE, True)


@pytest.mark.parametrize("slow", ["model-versions/get", "runs/get", "MLmodel"])
async def test_a_slow_server_is_given_up(slow: str) -> None:
    server = FakeMLflow()

    async def handler(request: web.Request) -> web.StreamResponse:
        if slow in (request.query.get("path"), request.path.removeprefix("/api/2.0/mlflow/")):
            await asyncio.Event().wait()
        return await server(request)

    started = time.monotonic()
    error = await refused(handler, seconds=0.3)
    assert time.monotonic() - started < 5
    assert (error.reason, error.retry) == (UNREACHABLE, True)


LARGE = bytes(1024 * 1024 + 1)


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        ("MLmodel", LARGE, Reason.LINEAGE_CONFLICT),
        ("requirements.txt", LARGE, Reason.ENVIRONMENT_DOCUMENT_INVALID),
        ("python_env.yaml", LARGE, Reason.ENVIRONMENT_DOCUMENT_INVALID),
        ("lockstep/environment.json", bytes(16 * 1024 * 1024 + 1), Reason.ENVIRONMENT_DOCUMENT_INVALID),
    ],
)
async def test_a_file_that_is_too_large_does_not_count_as_missing(path: str, body: bytes, reason: Reason) -> None:
    error = await refused(FakeMLflow({path: body}))
    assert (error.reason, error.retry) == (reason, False)
    assert path in error.message


async def test_an_input_example_that_is_too_large_is_left_out() -> None:
    lineage = await read(FakeMLflow({"serving_input_example.json": LARGE}))
    assert lineage.input_example is None


async def test_the_signature_of_a_document_is_read_with_it() -> None:
    both = {"lockstep/environment.json": b"{}", "lockstep/environment.json.dsse": b"signed"}
    assert (await read(FakeMLflow(both))).environment_signature == b"signed"
    assert (await read(FakeMLflow({"lockstep/environment.json": b"{}"}))).environment_signature is None
    assert (await read(FakeMLflow(both | {"lockstep/environment.json.dsse": LARGE}))).environment_signature is None


async def test_an_mlmodel_of_brackets_ends_nothing() -> None:
    lineage = await read(FakeMLflow({"MLmodel": b"[" * 900_000}))
    assert lineage.mlmodel_run_id is None


async def test_copies_of_copies_are_followed_only_so_far() -> None:
    version = {"name": "iris", "version": "3", "run_id": build.RUN, "source": "models:/iris/3"}
    error = await refused(FakeMLflow({"model-versions/get": json.dumps({"model_version": version}).encode()}))
    assert error.reason is Reason.LINEAGE_CONFLICT
