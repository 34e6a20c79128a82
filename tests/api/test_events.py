"""Events as the real API server takes them and kubectl shows them."""

import pytest

from lockstep.controller.cluster import ports
from lockstep.controller.cluster.client import KubernetesCluster
from lockstep.controller.cluster.ports import Object
from lockstep.controller.cluster.poster import EventPoster
from tests.api.installation import Installation, model_deployment

pytestmark = pytest.mark.api

LIMIT = 1024
"""Bytes that the API server takes as a note (events.k8s.io/v1)."""


@pytest.fixture
async def owner(api: Installation, cluster: KubernetesCluster, team: str) -> Object:
    api.apply(model_deployment() | {"metadata": {"name": "iris", "namespace": team}})
    found = await cluster.get(ports.MODEL_DEPLOYMENT, team, "iris")
    assert found is not None
    return found


async def post(cluster: KubernetesCluster, owner: Object, note: str, *, key: str = "k", instance: str = "pod-1") -> None:
    poster = EventPoster(cluster, instance=instance)
    await poster.post(owner, type_="Warning", reason="PromotionBlocked", action="Promote", note=note, key=key)


def notes(api: Installation, team: str) -> list[str]:
    return [event["note"] for event in api.find("events.events.k8s.io", team)]


async def test_kubectl_shows_an_event_on_its_object(api: Installation, cluster: KubernetesCluster, owner: Object) -> None:
    team = owner["metadata"]["namespace"]
    await post(cluster, owner, "scikit-learn: trained with 1.4.2, image has 1.2.0")
    shown = api.kubectl("get", "events", "--namespace", team).out
    assert "Warning   PromotionBlocked   modeldeployment/iris   scikit-learn: trained with 1.4.2, image has 1.2.0" in shown
    described = api.kubectl("describe", "mdep", "iris", "--namespace", team).out
    assert "scikit-learn: trained with 1.4.2" in described
    assert "lockstep.dev/controller" in described
    assert "PromotionBlocked" in api.kubectl("events", "--for", "modeldeployment/iris", "--namespace", team).out


async def test_the_same_transition_is_one_event_whoever_reports_it(
    api: Installation, cluster: KubernetesCluster, owner: Object
) -> None:
    team = owner["metadata"]["namespace"]
    await post(cluster, owner, "first", instance="pod-1")
    await post(cluster, owner, "again, after a crash", instance="pod-2")
    await post(cluster, owner, "another transition", key="other")
    assert sorted(notes(api, team)) == ["another transition", "first"]


@pytest.mark.parametrize(
    "note",
    ["x" * LIMIT, "x" * (LIMIT + 1), "ü" * LIMIT, "x" + "ü" * LIMIT, "数" * 500, "😀" * 400, "x" * 20_000],
    ids=["fits", "one too many", "two bytes each", "odd", "three bytes each", "four bytes each", "long"],
)
async def test_a_note_is_cut_to_what_the_api_server_takes(
    api: Installation, cluster: KubernetesCluster, owner: Object, note: str
) -> None:
    await post(cluster, owner, note)
    (posted,) = notes(api, owner["metadata"]["namespace"])
    assert LIMIT - 6 <= len(posted.encode()) <= LIMIT
    assert posted == note or (posted.endswith("…") and note.startswith(posted.removesuffix("…")))


async def test_a_long_instance_and_the_longest_name_are_taken(api: Installation, cluster: KubernetesCluster, team: str) -> None:
    name = "i" * 52
    api.apply(model_deployment() | {"metadata": {"name": name, "namespace": team}})
    owner = await cluster.get(ports.MODEL_DEPLOYMENT, team, name)
    assert owner is not None
    await post(cluster, owner, "note", instance="pod-" + "p" * 300)
    assert notes(api, team) == ["note"]
