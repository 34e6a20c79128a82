"""`KubernetesCluster` against a real API server: what each answer is taken for."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from kubernetes.aio.client import ApiClient, Configuration

from lockstep.controller.cluster import ports
from lockstep.controller.cluster.client import KubernetesCluster
from lockstep.controller.cluster.ports import ConflictError, DeposedError, Object, RejectedError, UnavailableError
from lockstep.rollout.objects import labels
from tests.api.installation import ADMIN, BREAK_GLASS, STRANGER, SYSTEM, Installation, model_deployment

pytestmark = pytest.mark.api


def service(revision: str = "a") -> Object:
    http = {"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "iris", "labels": labels.of_object("iris")},
        "spec": {"type": "ClusterIP", "selector": labels.selector("iris", revision), "ports": [http]},
    }


def version_of(obj: Object) -> str:
    return str(obj["metadata"]["resourceVersion"])


@pytest.fixture
async def owner(api: Installation, cluster: KubernetesCluster, team: str) -> Object:
    api.apply(model_deployment() | {"metadata": {"name": "iris", "namespace": team}})
    found = await cluster.get(ports.MODEL_DEPLOYMENT, team, "iris")
    assert found is not None
    return found


STATUS: Object = {
    "observedGeneration": 1,
    "model": "iris/3",
    "conditions": [
        {"type": "Ready", "status": "False", "reason": "NothingActive", "lastTransitionTime": "2026-11-20T12:00:00Z"}
    ],
}


# --- reading ---------------------------------------------------------------------------------------------------------


async def test_an_object_is_read_and_a_missing_one_is_none(cluster: KubernetesCluster, owner: Object, team: str) -> None:
    assert owner["spec"]["image"] == "registry.example.com/team/iris:2026-11"
    assert await cluster.get(ports.MODEL_DEPLOYMENT, team, "another") is None
    assert await cluster.get(ports.PROMOTION_POLICY, None, "another") is None


async def test_a_list_of_more_than_one_page_is_whole_and_is_filtered_by_the_server(api: Installation, team: str) -> None:
    async with api.cluster(ADMIN) as admin:
        # Secrets cost least: nothing is made of them.
        bodies = [{"metadata": {"name": f"s-{n}", "labels": {"half": str(n % 2)}}} for n in range(1001)]
        for start in range(0, len(bodies), 50):
            await asyncio.gather(*(admin.create(ports.SECRET, team, body) for body in bodies[start : start + 50]))
        everything = await admin.list(ports.SECRET, team)
        half = await admin.list(ports.SECRET, team, labels={"half": "1"})
    assert len({one["metadata"]["name"] for one in everything}) == len(everything) == 1001
    assert len(half) == 500
    assert {(one["apiVersion"], one["kind"]) for one in half} == {("v1", "Secret")}


async def test_metadata_alone_can_be_listed(api: Installation, team: str) -> None:
    async with api.cluster(ADMIN) as admin:
        body = {"metadata": {"name": "large", "labels": {"a": "b"}}, "stringData": {"x": "y"}}
        made = await admin.create(ports.SECRET, team, body)
        (found,) = (one for one in await admin.list_metadata(ports.SECRET, team) if one["metadata"]["name"] == "large")
        everywhere = await admin.list_metadata(ports.SECRET, None, labels={"a": "b"})
        elsewhere = await admin.list_metadata(ports.SECRET, None, labels={"a": "c"})
    assert found["metadata"]["uid"] == made["metadata"]["uid"]
    assert found["metadata"]["creationTimestamp"]
    assert "data" not in found
    assert (team, "large") in [(one["metadata"]["namespace"], one["metadata"]["name"]) for one in everywhere]
    assert elsewhere == []


async def test_objects_of_all_namespaces_are_listed(cluster: KubernetesCluster, owner: Object, team: str) -> None:
    found = await cluster.list(ports.MODEL_DEPLOYMENT, None)
    assert (team, "iris") in [(one["metadata"]["namespace"], one["metadata"]["name"]) for one in found]


# --- writing ---------------------------------------------------------------------------------------------------------


async def test_a_name_that_is_taken_is_a_conflict(cluster: KubernetesCluster, team: str) -> None:
    made = await cluster.create(ports.SERVICE, team, service())
    assert made["spec"]["clusterIP"]
    with pytest.raises(ConflictError, match="already exists"):
        await cluster.create(ports.SERVICE, team, service())


async def test_applying_over_an_object_that_moved_is_a_conflict(cluster: KubernetesCluster, team: str) -> None:
    first = await cluster.create(ports.SERVICE, team, service())
    switched = service(revision="b")
    second = await cluster.apply(ports.SERVICE, team, switched, resource_version=version_of(first))
    assert second["spec"]["selector"] == labels.selector("iris", "b"), "of the old selector nothing is left"
    assert second["spec"]["clusterIP"] == first["spec"]["clusterIP"]
    with pytest.raises(ConflictError, match="modified"):
        await cluster.apply(ports.SERVICE, team, service(revision="c"), resource_version=version_of(first))
    found = await cluster.get(ports.SERVICE, team, "iris")
    assert found is not None
    assert found["spec"]["selector"] == labels.selector("iris", "b")


async def test_applying_forces_its_way_over_another_manager(api: Installation, cluster: KubernetesCluster, team: str) -> None:
    made = await cluster.create(ports.SERVICE, team, service())
    spec = {**made["spec"], "selector": {"app": "another"}}
    async with api.cluster(BREAK_GLASS) as another:
        moved = await another.replace(ports.SERVICE, team, {**made, "spec": spec}, resource_version=version_of(made))
    right = await cluster.apply(ports.SERVICE, team, service(), resource_version=version_of(moved))
    assert right["spec"]["selector"] == labels.selector("iris", "a")


async def test_applying_with_its_uid_over_an_object_that_is_gone_makes_none(cluster: KubernetesCluster, team: str) -> None:
    made = await cluster.create(ports.SERVICE, team, service())
    await cluster.delete(ports.SERVICE, team, "iris")
    body = service()
    body["metadata"]["uid"] = made["metadata"]["uid"]
    with pytest.raises(ConflictError):
        await cluster.apply(ports.SERVICE, team, body, resource_version=version_of(made))
    assert await cluster.get(ports.SERVICE, team, "iris") is None


async def test_replacing_takes_away_what_others_added(api: Installation, cluster: KubernetesCluster, team: str) -> None:
    made = await cluster.create(ports.SERVICE, team, service())
    edited = {**made, "spec": {**made["spec"], "externalIPs": ["192.0.2.1"]}}
    edited = await cluster.replace(ports.SERVICE, team, edited, resource_version=version_of(made))
    assert edited["spec"]["externalIPs"] == ["192.0.2.1"]
    with pytest.raises(ConflictError, match="modified"):
        await cluster.replace(ports.SERVICE, team, made, resource_version=version_of(made))
    right = await cluster.replace(ports.SERVICE, team, made, resource_version=version_of(edited))
    assert "externalIPs" not in right["spec"]


async def test_the_status_is_replaced_as_a_whole_and_the_spec_left_alone(
    cluster: KubernetesCluster, owner: Object, team: str
) -> None:
    kind = ports.MODEL_DEPLOYMENT
    first = await cluster.patch_status(kind, team, "iris", STATUS, resource_version=version_of(owner))
    assert first["status"] == STATUS
    second = await cluster.patch_status(kind, team, "iris", {"observedGeneration": 1}, resource_version=version_of(first))
    assert second["status"] == {"observedGeneration": 1}
    assert second["spec"] == owner["spec"]
    assert second["metadata"]["generation"] == 1


async def test_a_status_decided_from_an_earlier_object_is_a_conflict(
    cluster: KubernetesCluster, owner: Object, team: str
) -> None:
    kind = ports.MODEL_DEPLOYMENT
    await cluster.patch_status(kind, team, "iris", STATUS, resource_version=version_of(owner))
    with pytest.raises(ConflictError):
        await cluster.patch_status(kind, team, "iris", {}, resource_version=version_of(owner))
    found = await cluster.get(kind, team, "iris")
    assert found is not None
    assert found["status"] == STATUS


async def test_a_status_that_the_schema_refuses_is_no_conflict(cluster: KubernetesCluster, owner: Object, team: str) -> None:
    with pytest.raises(RejectedError, match="observedGeneration"):
        await cluster.patch_status(
            ports.MODEL_DEPLOYMENT, team, "iris", {"observedGeneration": -1}, resource_version=version_of(owner)
        )


async def test_the_status_of_an_object_that_is_gone_is_refused(cluster: KubernetesCluster, team: str) -> None:
    with pytest.raises((RejectedError, ConflictError)):
        await cluster.patch_status(ports.MODEL_DEPLOYMENT, team, "gone", STATUS, resource_version="1")


async def test_scaling_changes_the_replicas_and_nothing_else(cluster: KubernetesCluster, team: str) -> None:
    marks = labels.of_object("iris")
    pod = {"containers": [{"name": "c", "image": "registry.example.com/iris"}]}
    spec = {"replicas": 2, "selector": {"matchLabels": marks}, "template": {"metadata": {"labels": marks}, "spec": pod}}
    made = await cluster.create(ports.DEPLOYMENT, team, {"metadata": {"name": "iris", "labels": marks}, "spec": spec})
    await cluster.scale(ports.DEPLOYMENT, team, "iris", 0)
    found = await cluster.get(ports.DEPLOYMENT, team, "iris")
    assert found is not None
    assert found["spec"] == made["spec"] | {"replicas": 0}


async def test_only_the_object_that_was_seen_is_deleted(cluster: KubernetesCluster, team: str) -> None:
    made = await cluster.create(ports.SERVICE, team, service())
    with pytest.raises(ConflictError):
        await cluster.delete(ports.SERVICE, team, "iris", uid="00000000-0000-0000-0000-000000000000")
    assert await cluster.get(ports.SERVICE, team, "iris") is not None
    await cluster.delete(ports.SERVICE, team, "iris", uid=made["metadata"]["uid"])
    assert await cluster.get(ports.SERVICE, team, "iris") is None
    await cluster.delete(ports.SERVICE, team, "iris", uid=made["metadata"]["uid"])


# --- refusals and failures -------------------------------------------------------------------------------------------


async def test_what_one_may_not_do_is_a_refusal_that_says_so(api: Installation, team: str) -> None:
    async with api.cluster(STRANGER) as stranger:
        with pytest.raises(RejectedError, match='User "stranger" cannot get resource'):
            await stranger.get(ports.SERVICE, team, "iris")
        with pytest.raises(RejectedError, match="cannot create resource"):
            await stranger.create(ports.SERVICE, team, service())


async def test_a_quota_is_a_refusal_that_names_it(api: Installation, cluster: KubernetesCluster, team: str) -> None:
    hard = {"hard": {"services": "1"}}
    api.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few", "namespace": team}, "spec": hard})
    # Without a controller nobody counts what is used.
    patch = '{"status": {"hard": {"services": "1"}, "used": {"services": "1"}}}'
    where = ("--namespace", team, "--subresource=status", "--type=merge")
    api.kubectl("patch", "resourcequota", "few", *where, "--patch", patch)
    with pytest.raises(RejectedError, match="exceeded quota: few"):
        await cluster.create(ports.SERVICE, team, service())


async def test_what_the_schema_refuses_is_told_in_its_words(cluster: KubernetesCluster, team: str) -> None:
    with pytest.raises(RejectedError, match="trackingURI"):
        await cluster.create(ports.LINEAGE_PIN, SYSTEM, {**_PIN, "spec": {"model": "iris"}})


_PIN: Object = {"apiVersion": "lockstep.dev/v1alpha1", "kind": "LineagePin", "metadata": {"name": "wrong"}}


async def test_nothing_is_written_once_the_lease_is_gone(api: Installation, owner: Object, team: str) -> None:
    mark = api.mark()
    async with api.cluster(fence=lambda: 0.0) as deposed:
        with pytest.raises(DeposedError):
            await deposed.create(ports.SERVICE, team, service())
        with pytest.raises(DeposedError):
            await deposed.patch_status(ports.MODEL_DEPLOYMENT, team, "iris", STATUS, resource_version=version_of(owner))
        assert await deposed.get(ports.MODEL_DEPLOYMENT, team, "iris") is not None, "reading is no danger"
    assert api.writes(mark) == []


@asynccontextmanager
async def at(url: str, fence: float) -> AsyncIterator[KubernetesCluster]:
    async with ApiClient(Configuration(host=url)) as client:
        yield KubernetesCluster(client, lambda: fence)


async def test_a_server_that_is_not_there_is_unavailable_at_once() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with at(f"http://127.0.0.1:{unused.getsockname()[1]}", 60) as cluster:
            started = time.monotonic()
            with pytest.raises(UnavailableError):
                await cluster.list(ports.SERVICE, None)
            assert time.monotonic() - started < 3


async def test_a_server_that_never_answers_is_unavailable_when_the_lease_ends() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        async with at(f"http://127.0.0.1:{deaf.getsockname()[1]}", 0.5) as cluster:
            started = time.monotonic()
            with pytest.raises(UnavailableError):
                await cluster.create(ports.SERVICE, "team", service())
            assert time.monotonic() - started < 3
