"""All files of a model, read through small servers that list and give them as MLflow does, or as it should not."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from lockstep.api.reasons import Reason
from lockstep.formats.canonical import sha256_of
from lockstep.formats.modelfiles import MAX_FILES, ModelFile, ModelFiles
from lockstep.lineage.connection import MLflowCredentials
from lockstep.lineage.lineage import LineageError, Place
from lockstep.lineage.mlflow import MLflowRegistry
from lockstep.lineage.reading import Known, Progress, ReadingLimits, amount, listing, read
from tests.fakes import builders as build
from tests.fakes.http import serving

MODEL, RUN = build.place(), Place("iris", "3", uri="s3://b/1/run/artifacts/some/model", run_id=build.RUN, prefix="some/model")
FILES: dict[str, bytes] = {
    "MLmodel": build.MLMODEL,
    "code/pkg/a.py": b"x = 1",
    "empty": b"",
    "model.pkl": b"w" * 300_000,
    "card/index.html": b"<html>",
}


class Store:
    """The two requests for files: what is in a directory, and one file. Paths as MLflow gives them."""

    def __init__(self, files: Mapping[str, bytes] = FILES, prefix: str = "") -> None:
        self.files = dict(files)
        self.prefix = prefix
        self.sizes: dict[str, int] = {}
        self.answers: dict[str, web.Response] = {}
        self.extra: list[dict[str, Any]] = []
        self.listed = 0
        self.given: list[str] = []
        self.open = asyncio.Event()
        self.open.set()
        self.together = self.most = 0
        self.busy = asyncio.Event()
        """Set once four files are asked for at the same time."""

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/model-versions/get-artifact":
            return await self._file(request)
        below = request.query.get("artifact_directory_path") or request.query.get("path") or ""
        self.listed += 1
        if (answer := self.answers.get("list")) is not None:
            return web.Response(status=answer.status, body=answer.body, content_type=answer.content_type)
        return web.json_response({"files": [*self._entries(below), *(self.extra if below == self.prefix else [])]})

    def _entries(self, below: str) -> list[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for path, body in self.files.items():
            whole = "/".join(part for part in (self.prefix, path) if part)
            rest = whole.removeprefix(f"{below}/" if below else "")
            if below and rest == whole:
                continue
            name, slash, _ = rest.partition("/")
            entry: dict[str, Any] = {"path": f"{below}/{name}" if below else name, "is_dir": bool(slash)}
            size = self.sizes.get(path, len(body))
            # MLflow leaves the size of an empty file out.
            found[name] = entry if slash or not size else entry | {"file_size": size}
        return list(found.values())

    async def _file(self, request: web.Request) -> web.StreamResponse:
        path = request.query["path"]
        self.given.append(path)
        self.together += 1
        self.most = max(self.most, self.together)
        if self.together == 4:
            self.busy.set()
        try:
            await self.open.wait()
        finally:
            self.together -= 1
        if (answer := self.answers.get(path)) is not None:
            return web.Response(status=answer.status, body=answer.body, content_type=answer.content_type)
        kind = "text/html" if path.endswith(".html") else "application/octet-stream"
        response = web.Response(body=self.files[path], content_type=kind)
        response.headers["Content-Disposition"] = "attachment; filename=x"
        return response


@asynccontextmanager
async def registry(store: Store) -> AsyncIterator[MLflowRegistry]:
    async with serving(store) as port, aiohttp.ClientSession(auto_decompress=False) as session:
        yield MLflowRegistry(session, f"http://127.0.0.1:{port}", MLflowCredentials(), timeout_seconds=10)


async def found(
    store: Store, place: Place = MODEL, limits: ReadingLimits | None = None, known: Known | None = None
) -> ModelFiles:
    bounds = limits or ReadingLimits()
    async with registry(store) as mlflow:
        sizes = await listing(mlflow, place, bounds)
        return await read(mlflow, place, sizes, bounds, progress=Progress(), known=known or Known())


async def refused(store: Store, place: Place = MODEL, limits: ReadingLimits | None = None) -> LineageError:
    with pytest.raises(LineageError) as raised:
        await found(store, place, limits)
    return raised.value


def expected(files: Mapping[str, bytes] = FILES) -> ModelFiles:
    return build.files_of(files)


@pytest.mark.parametrize(("place", "prefix"), [(MODEL, ""), (RUN, "some/model")])
async def test_all_files_of_a_logged_model_and_of_a_runs_artifacts_are_read(place: Place, prefix: str) -> None:
    assert await found(Store(prefix=prefix), place) == expected()


async def test_what_is_none_of_the_models_is_not_even_read() -> None:
    more = FILES | {"lockstep/environment.json": b"{}", "lockstep/environment.json.dsse": b"", "registered_model_meta": b""}
    store = Store(more)
    assert await found(store) == expected()
    assert sorted(store.given) == sorted(FILES)


async def test_a_few_files_are_read_at_the_same_time_and_not_more() -> None:
    store = Store({f"{number}": b"x" for number in range(40)})
    store.open.clear()
    reading = asyncio.create_task(found(store))
    async with asyncio.timeout(20):
        await store.busy.wait()
        store.open.set()
        await reading
    assert store.most == 4


async def test_files_that_a_failed_reading_has_read_are_not_read_again_unless_their_size_is_another() -> None:
    store = Store()
    known = Known({"model.pkl": ModelFile(sha256_of(FILES["model.pkl"]), 300_000), "MLmodel": ModelFile("sha256:x", 1)})
    assert await found(store, known=known) == expected()
    assert "model.pkl" not in store.given
    assert "MLmodel" in store.given


async def test_what_has_been_read_is_left_to_the_next_reading() -> None:
    store, known = Store(), Known()
    store.answers["card/index.html"] = web.Response(status=502)
    with pytest.raises(LineageError):
        await found(store, known=known)
    del store.answers["card/index.html"]
    store.given.clear()
    await found(store, known=known)
    assert set(store.given) < set(FILES)


async def test_progress_is_told_while_a_file_comes() -> None:
    seen: list[tuple[int, int | None]] = []

    class Seen(Progress):
        def took(self, count: int) -> None:
            super().took(count)
            seen.append((self.done, self.total))

    async with registry(Store()) as mlflow:
        sizes = await listing(mlflow, MODEL, ReadingLimits())
        await read(mlflow, MODEL, sizes, ReadingLimits(), progress=Seen(), known=Known())
    total = sum(len(body) for body in FILES.values())
    assert seen[-1] == (total, total)
    assert len(seen) > len(FILES)


REFUSED, UNREACHABLE = Reason.MODEL_FILES_REFUSED, Reason.REGISTRY_UNREACHABLE


async def test_a_model_that_is_larger_than_what_is_read_is_refused_before_a_byte_of_it_comes() -> None:
    store = Store()
    error = await refused(store, limits=ReadingLimits(bytes=300_000))
    assert (error.reason, error.retry) == (REFUSED, False)
    assert "modelFiles.gigabytes" in error.message
    assert store.given == []


async def test_too_many_files_are_refused() -> None:
    error = await refused(Store({f"{number}": b"" for number in range(MAX_FILES + 1)}))
    assert (error.reason, error.retry) == (REFUSED, False)
    assert f"more than {MAX_FILES}" in error.message


@pytest.mark.parametrize("path", ["..", "a/../b", "/etc/passwd", "a//b", "x" * 2000, "a\nb"])
async def test_names_that_can_not_be_compared_are_refused(path: str) -> None:
    store = Store()
    store.extra = [{"path": path, "is_dir": False, "file_size": 1}]
    assert (await refused(store)).reason is REFUSED


async def test_directories_without_end_are_refused() -> None:
    class Endless(Store):
        def _entries(self, below: str) -> list[dict[str, Any]]:
            return [{"path": f"{below}/d" if below else "d", "is_dir": True}]

    assert (await refused(Endless())).reason is REFUSED


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_a_server_without_the_list_is_told_by_a_reason_of_its_own(status: int) -> None:
    store = Store()
    store.answers["list"] = web.Response(status=status, text="nginx")
    error = await refused(store)
    assert (error.reason, error.retry) == (Reason.MODEL_FILES_UNREADABLE, False)


@pytest.mark.parametrize(
    ("where", "answer"),
    [
        ("list", web.Response(status=500, text="oops")),
        ("list", web.Response(status=502, text="oops")),
        ("list", web.json_response({"error_code": "RESOURCE_DOES_NOT_EXIST"}, status=404)),
        ("model.pkl", web.Response(status=500, text="oops")),
        ("model.pkl", web.Response(status=404, text="nginx")),
        ("model.pkl", web.json_response({"error_code": "RESOURCE_DOES_NOT_EXIST"}, status=404)),
        ("model.pkl", web.json_response({"error_code": "INVALID_PARAMETER_VALUE"}, status=400)),
        ("model.pkl", web.Response(body=b"short")),
        ("model.pkl", web.Response(text="<html>login", content_type="text/html")),
    ],
)
async def test_a_file_that_does_not_come_as_it_is_listed_is_tried_again_and_never_left_out(
    where: str, answer: web.Response
) -> None:
    store = Store()
    store.answers[where] = answer
    error = await refused(store)
    assert (error.reason, error.retry) == (UNREACHABLE, True)


async def test_credentials_that_are_refused_are_told_as_such() -> None:
    store = Store()
    store.answers["model.pkl"] = web.Response(status=403, text="no")
    assert (await refused(store)).reason is Reason.REGISTRY_REFUSED


async def test_a_file_that_grew_since_it_was_listed_is_tried_again() -> None:
    store = Store()
    store.sizes["model.pkl"] = 299_999
    error = await refused(store)
    assert (error.reason, error.retry) == (UNREACHABLE, True)
    assert "model.pkl has another size" in error.message


async def test_no_more_is_read_of_a_file_than_was_listed() -> None:
    """A server, or who replaces a file meanwhile, must not get the operator to read without end."""
    store, progress = Store(files={"MLmodel": build.MLMODEL, "model.pkl": b"w" * 64_000_000}), Progress()
    store.sizes["model.pkl"] = 1000
    async with registry(store) as mlflow:
        sizes = await listing(mlflow, MODEL, ReadingLimits())
        with pytest.raises(LineageError, match=r"model\.pkl has another size"):
            await read(mlflow, MODEL, sizes, ReadingLimits(), progress=progress, known=Known())
    assert progress.done <= len(build.MLMODEL), "what exceeds the listed size is not counted, and ends the reading"


async def test_a_model_that_takes_too_long_is_given_up() -> None:
    store = Store()
    store.open.clear()
    error = await refused(store, limits=ReadingLimits(seconds=0.3))
    assert (error.reason, error.retry) == (UNREACHABLE, True)
    assert "modelFiles.seconds" in error.message


async def test_lists_that_come_in_pages_are_read_to_the_end() -> None:
    class Paged(Store):
        async def __call__(self, request: web.Request) -> web.StreamResponse:
            if request.path == "/model-versions/get-artifact":
                return await super().__call__(request)
            page = int(request.query.get("page_token") or 0)
            answer: dict[str, Any] = {"files": [{"path": f"{page}", "is_dir": False, "file_size": 1}]}
            return web.json_response(answer | ({"next_page_token": str(page + 1)} if page < 2 else {}))

    files = {str(number): b"x" for number in range(3)}
    assert await found(Paged(files)) == expected(files)


@pytest.mark.parametrize("body", [{"files": 7}, {"files": [7, {}]}, [], {"files": [{"path": "a", "file_size": "many"}]}])
async def test_a_list_of_another_form_is_no_model(body: Any) -> None:
    store = Store({"a": b"x"})
    store.answers["list"] = web.Response(body=json.dumps(body).encode(), content_type="application/json")
    assert (await refused(store)).reason in (REFUSED, UNREACHABLE)


@pytest.mark.parametrize(("count", "text"), [(0, "0 bytes"), (712, "712 bytes"), (1500, "1.5 kB"), (20_100_000_000, "20.1 GB")])
def test_amounts_are_written_for_people(count: int, text: str) -> None:
    assert amount(count) == text
