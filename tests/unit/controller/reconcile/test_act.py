"""Actions as they are carried out."""

from typing import Any

import pytest

from lockstep.controller.cluster import ports
from lockstep.controller.cluster.ports import ConflictError, Object, RejectedError
from lockstep.controller.reconcile.act import Actor, NameTakenError
from lockstep.rollout.actions import Apply, Correct, Create, Delete, Scale
from lockstep.rollout.objects import labels, manifests
from tests.fakes import builders as build
from tests.fakes import live
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster
from tests.fakes.events import FakeEvents

TEAM = "team"
OF = live.snapshot()
OWNER = build.owner()
RAW: Object = {
    "apiVersion": "lockstep.dev/v1alpha1",
    "kind": "ModelDeployment",
    "metadata": {"name": "iris", "namespace": TEAM, "uid": build.UID, "resourceVersion": "7"},
}


class Acting:
    def __init__(self) -> None:
        self.cluster = FakeCluster(FakeClock())
        self.events = FakeEvents()
        self.actor = Actor(self.cluster, self.events)

    async def perform(self, action: Any) -> None:
        await self.actor.perform(RAW, action)

    def service(self) -> Object:
        found = self.cluster.find(ports.SERVICE, TEAM, "iris")
        assert found is not None
        return found


SERVICE = manifests.service(OWNER, OF)


async def test_what_exists_already_is_left_alone() -> None:
    acting = Acting()
    for _ in range(2):
        await acting.perform(Create(SERVICE))
    assert acting.service()["metadata"]["resourceVersion"] == "1"
    assert acting.events.posted == []


async def test_a_name_that_is_taken_is_said_and_not_taken_over() -> None:
    acting = Acting()
    acting.cluster.add(ports.SERVICE, {"metadata": {"name": "iris"}, "spec": {"selector": {"app": "x"}}}, TEAM)
    with pytest.raises(NameTakenError, match="the Service iris exists already"):
        await acting.perform(Create(SERVICE))
    assert acting.service()["spec"]["selector"] == {"app": "x"}


async def test_what_is_ours_and_has_lost_its_labels_gets_them_back() -> None:
    acting = Acting()
    await acting.perform(Create(SERVICE))
    acting.cluster.edit(ports.SERVICE, TEAM, "iris", lambda s: s["metadata"]["labels"].pop(labels.MODEL_DEPLOYMENT))
    await acting.perform(Create(SERVICE))
    assert acting.service()["metadata"]["labels"] == SERVICE["metadata"]["labels"]
    assert [event.reason for event in acting.events.posted] == ["DriftCorrected"]


FORGED: dict[str, Object] = {
    "another selector": SERVICE | {"spec": SERVICE["spec"] | {"selector": {"app": "mine"}}},
    "another proxy": SERVICE
    | {"metadata": SERVICE["metadata"] | {"labels": {"service.kubernetes.io/service-proxy-name": "none"}}},
    "no address": SERVICE | {"spec": SERVICE["spec"] | {"clusterIP": "None"}},
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
async def test_an_owner_reference_does_not_make_somebody_elses_object_ours(forged: Object) -> None:
    acting = Acting()
    made = acting.cluster.add(ports.SERVICE, {**forged, "metadata": {"labels": {}} | forged["metadata"]})
    acting.cluster.edit(ports.SERVICE, TEAM, "iris", lambda s: s["metadata"]["labels"].pop(labels.MODEL_DEPLOYMENT, None))
    with pytest.raises(NameTakenError, match="the Service iris exists already and is not what Lockstep makes: delete it"):
        await acting.perform(Create(SERVICE))
    assert acting.service()["spec"] == made["spec"]


async def test_a_correction_that_a_webhook_undoes_is_said_and_not_made_for_ever() -> None:
    acting = Acting()
    await acting.perform(Create(SERVICE))
    acting.cluster.mutations.append(lambda kind, body: body["spec"].update(trafficDistribution="PreferClose"))
    with pytest.raises(RejectedError, match=r"Service iris: spec\.trafficDistribution is changed at admission"):
        await acting.perform(Correct(acting.service(), acting.service()["metadata"]["resourceVersion"], "it was changed"))
    assert acting.events.posted == []


async def test_a_target_that_moved_is_a_conflict_and_stays_as_it_is() -> None:
    acting = Acting()
    await acting.perform(Create(SERVICE))
    for action in (Apply(SERVICE, "99"), Correct(acting.service(), "99", "drift"), Delete("Service", "iris", "another-uid")):
        with pytest.raises(ConflictError):
            await acting.perform(action)
    assert acting.events.posted == []


async def test_a_correction_is_told_and_an_ordinary_deletion_is_not() -> None:
    acting = Acting()
    await acting.perform(Create(SERVICE))
    live_one = acting.service()
    await acting.perform(Correct(live_one | {"spec": live_one["spec"] | {"selector": {}}}, "1", "the selector was changed"))
    assert [event.note for event in acting.events.posted] == ["the selector was changed; it was put right"]
    await acting.perform(Delete("Service", "iris", live_one["metadata"]["uid"]))
    assert len(acting.events.posted) == 1
    await acting.perform(Delete("Pod", "gone", "uid", "it is not Lockstep's"))
    assert len(acting.events.posted) == 2


async def test_a_deployment_is_scaled() -> None:
    acting = Acting()
    await acting.perform(Create(manifests.deployment(OWNER, OF, replicas=2, paused=True)))
    await acting.perform(Scale(OF.object_name, 5))
    found = acting.cluster.find(ports.DEPLOYMENT, TEAM, OF.object_name)
    assert found is not None
    assert found["spec"]["replicas"] == 5
