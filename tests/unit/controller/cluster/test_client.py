"""The official client, narrowed: what is sent, and what each answer means. Against a server on the loopback device."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import ApiClient, Configuration

from lockstep.controller.cluster import ports
from lockstep.controller.cluster.client import KubernetesCluster
from lockstep.controller.cluster.ports import ClusterError, ConflictError, DeposedError, RejectedError, UnavailableError


class Server:
    """Answers every request with the next of the given answers, and remembers what was asked."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, Any]] = []
        self.types: list[str] = []

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        self.asked.append((request.method, request.path_qs, body))
        self.types.append(request.content_type)
        status, answer = self.answers.pop(0)
        headers = {"Retry-After": "7"} if status == 429 else {}
        return web.json_response(answer, status=status, headers=headers)

    @asynccontextmanager
    async def cluster(self, fence: float = 60.0) -> AsyncIterator[KubernetesCluster]:
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self.handle)
        async with TestServer(app) as server:
            configuration = Configuration()
            configuration.host = str(server.make_url("")).rstrip("/")
            async with ApiClient(configuration) as client:
                yield KubernetesCluster(client, lambda: fence)


async def test_listed_objects_say_what_they_are_although_the_api_server_does_not() -> None:
    server = Server(
        (200, {"items": [{"metadata": {"name": "a"}}], "metadata": {"continue": "x"}}),
        (200, {"items": [{"metadata": {"name": "b"}}], "metadata": {}}),
    )
    async with server.cluster() as cluster:
        found = await cluster.list(ports.DEPLOYMENT, "team", labels={"app": "iris"})
    assert [(one["apiVersion"], one["kind"], one["metadata"]["name"]) for one in found] == [
        ("apps/v1", "Deployment", "a"),
        ("apps/v1", "Deployment", "b"),
    ]
    assert "labelSelector=app" in server.asked[0][1]
    assert "continue=x" in server.asked[1][1]


async def test_an_object_that_does_not_exist_is_none() -> None:
    async with Server((404, {"message": "not found"})).cluster() as cluster:
        assert await cluster.get(ports.SERVICE, "team", "iris") is None


async def test_a_controller_revision_is_sent_as_yaml_so_that_the_api_server_writes_its_data_itself() -> None:
    body = {"metadata": {"name": "iris-1"}, "data": {"snapshot": '{"a": 1}'}}
    server = Server((201, {}), (200, {}), (201, {}))
    async with server.cluster() as cluster:
        await cluster.create(ports.CONTROLLER_REVISION, "team", body)
        await cluster.replace(ports.CONTROLLER_REVISION, "team", body, resource_version="7")
        await cluster.create(ports.SERVICE, "team", body)
    assert server.types == ["application/yaml", "application/yaml", "application/json"]
    assert server.asked[0][2] == body, "of which JSON is a part"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, RejectedError),
        (403, RejectedError),
        (409, ConflictError),
        (422, RejectedError),
        (429, UnavailableError),
        (500, UnavailableError),
        (503, UnavailableError),
    ],
)
async def test_each_answer_means_one_thing(status: int, error: type[ClusterError]) -> None:
    async with Server((status, {"message": "the reason why"})).cluster() as cluster:
        with pytest.raises(error, match="the reason why") as caught:
            await cluster.create(ports.SERVICE, "team", {"metadata": {"name": "iris"}})
    assert getattr(caught.value, "retry_after", None) == (7.0 if status == 429 else None)


async def test_nothing_is_sent_while_the_lease_is_not_held_for_sure() -> None:
    server = Server()
    async with server.cluster(fence=0.0) as cluster:
        body = {"kind": "Service", "metadata": {"name": "iris"}}
        for write in (
            lambda: cluster.create(ports.SERVICE, "team", body),
            lambda: cluster.apply(ports.SERVICE, "team", body, resource_version="1"),
            lambda: cluster.replace(ports.SERVICE, "team", body, resource_version="1"),
            lambda: cluster.patch_status(ports.MODEL_DEPLOYMENT, "team", "iris", {}, resource_version="1"),
            lambda: cluster.scale(ports.DEPLOYMENT, "team", "iris", 1),
            lambda: cluster.delete(ports.SERVICE, "team", "iris"),
        ):
            with pytest.raises(DeposedError):
                await write()
    assert server.asked == []


async def test_every_write_names_the_version_that_it_was_decided_from() -> None:
    server = Server((200, {}), (200, {}), (200, {}))
    async with server.cluster() as cluster:
        await cluster.apply(ports.SERVICE, "team", {"metadata": {"name": "iris"}}, resource_version="7")
        await cluster.replace(ports.SERVICE, "team", {"metadata": {"name": "iris"}}, resource_version="8")
        await cluster.patch_status(ports.MODEL_DEPLOYMENT, "team", "iris", {"a": 1}, resource_version="9")
    (_, path, applied), (_, _, replaced), (_, status_path, patched) = server.asked
    assert applied["metadata"]["resourceVersion"] == "7"
    assert "force=true" in path
    assert replaced["metadata"]["resourceVersion"] == "8"
    assert status_path.startswith("/apis/lockstep.dev/v1alpha1/namespaces/team/modeldeployments/iris/status")
    assert patched[0] == {"op": "replace", "path": "/metadata/resourceVersion", "value": "9"}
    assert server.types == ["application/apply-patch+yaml", "application/json", "application/json-patch+json"]


async def test_a_status_whose_object_moved_is_a_conflict() -> None:
    async with Server((409, {"message": "the object has been modified"})).cluster() as cluster:
        with pytest.raises(ConflictError):
            await cluster.patch_status(ports.MODEL_DEPLOYMENT, "team", "iris", {}, resource_version="9")


async def test_only_the_object_with_the_uid_is_deleted_and_gone_is_fine() -> None:
    server = Server((404, {"message": "not found"}))
    async with server.cluster() as cluster:
        await cluster.delete(ports.POD, "team", "iris-1", uid="u")
    assert server.asked[0][2] == {"propagationPolicy": "Background", "preconditions": {"uid": "u"}}
