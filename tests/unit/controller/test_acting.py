"""Events as they are posted, actions as they are carried out, and the active revision as far as records vouch for it."""

from dataclasses import replace
from typing import Any

import pytest

from lockstep.api.modeldeployment import CandidateStatus, ModelDeployment, RevisionStatus
from lockstep.api.records import RecordOutcome
from lockstep.controller.cluster import ports
from lockstep.controller.cluster.observe import foreign_services, observe
from lockstep.controller.cluster.ports import ConflictError, Object, RejectedError
from lockstep.controller.cluster.poster import EventPoster
from lockstep.controller.reconcile.act import Actor, NameTakenError
from lockstep.controller.records.active import active_of, snapshots_of
from lockstep.controller.records.store import Records
from lockstep.gates.chain import evaluate
from lockstep.rollout.actions import Apply, Correct, Create, Delete, Scale
from lockstep.rollout.objects import labels, manifests
from lockstep.rollout.observed.observed import Observed
from tests.fakes import builders as build
from tests.fakes import live
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster
from tests.fakes.connection import Connection
from tests.fakes.events import FakeEvents

TEAM, SYSTEM = "team", "lockstep-system"
OF = live.snapshot()
OWNER = build.owner()
RAW: Object = {
    "apiVersion": "lockstep.dev/v1alpha1",
    "kind": "ModelDeployment",
    "metadata": {"name": "iris", "namespace": TEAM, "uid": build.UID, "resourceVersion": "7"},
}


# --- events -------------------------------------------------------------------------------------------------------------


async def post(connection: Connection, **changes: str) -> None:
    said = {"type_": "Normal", "reason": "Promoted", "action": "Promote", "note": "it serves", "key": "promoted-1"} | changes
    await EventPoster(connection, instance="lockstep-1").post(RAW, **said)


async def test_an_event_names_the_object_and_the_controller() -> None:
    cluster = FakeCluster(FakeClock())
    await post(Connection(cluster), note="x" * 3000)
    [event] = cluster.all(ports.EVENT, TEAM)
    assert event["regarding"]["uid"] == build.UID
    assert (event["type"], event["reason"], event["action"]) == ("Normal", "Promoted", "Promote")
    assert event["reportingController"]
    assert event["reportingInstance"] == "lockstep-1"
    assert 1000 < len(event["note"].encode()) <= 1024


async def test_one_transition_is_one_event_whoever_tells_it() -> None:
    cluster = FakeCluster(FakeClock())
    for _ in range(3):
        await post(Connection(cluster))
    await post(Connection(cluster), key="promoted-2")
    assert len(cluster.all(ports.EVENT, TEAM)) == 2


async def test_an_event_that_can_not_be_posted_stops_nothing() -> None:
    connection = Connection(FakeCluster(FakeClock()), fence=lambda: 0.0)
    await post(connection)
    connection.down = True
    await post(connection)


# --- actions ------------------------------------------------------------------------------------------------------------


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


# --- what is observed ---------------------------------------------------------------------------------------------------


async def test_only_objects_that_the_model_deployment_controls_are_its_own() -> None:
    cluster = FakeCluster(FakeClock())
    cluster.add(ports.DEPLOYMENT, manifests.deployment(OWNER, OF, replicas=2, paused=True))
    stranger = manifests.deployment(OWNER.model_copy(update={"uid": "another"}), OF, replicas=2, paused=True)
    stranger["metadata"]["name"] = "iris-stranger"
    cluster.add(ports.DEPLOYMENT, stranger)
    observed = await observe(cluster, OWNER)
    assert set(observed.deployments) == {OF.revision}
    assert observed.conflict is None


@pytest.mark.parametrize(
    ("selector", "selects"),
    [
        ({labels.MODEL_DEPLOYMENT: "iris"}, True),
        ({"tier": "gold"}, True),
        ({"tier": "gold", labels.MODEL_DEPLOYMENT: "fraud"}, False),
        ({}, False),
        (None, False),
    ],
)
async def test_a_foreign_service_that_selects_our_pods_is_found(selector: Any, selects: bool) -> None:
    cluster = FakeCluster(FakeClock())
    cluster.add(ports.SERVICE, {"metadata": {"name": "other"}, "spec": {"selector": selector}}, TEAM)
    cluster.add(ports.SERVICE, {"metadata": {"name": "iris"}, "spec": {"selector": selector}}, TEAM)
    assert bool(await foreign_services(cluster, OWNER, OF.revision, {"tier": "gold"})) is selects


@pytest.mark.parametrize(
    ("spec", "selects"),
    [
        ({"selector": {"pod-template-hash": "6d4cf56db6"}}, True),
        ({"selector": {"pod-template-hash": "6d4cf56db6"}, "publishNotReadyAddresses": True}, True),
        ({"selector": {"injected": "yes", labels.MODEL_DEPLOYMENT: "iris"}}, True),
        ({"selector": {"pod-template-hash": "another"}}, False),
        ({"selector": {"pod-template-hash": "6d4cf56db6", "app": "mine"}}, False),
        ({"selector": {}, "publishNotReadyAddresses": True}, False),
        ({"selector": {"injected": "yes"}, "type": "ExternalName", "externalName": "example.com"}, False),
    ],
)
async def test_a_service_that_selects_by_what_only_the_live_pods_bear_is_found(spec: Object, selects: bool) -> None:
    cluster = FakeCluster(FakeClock())
    cluster.add(ports.SERVICE, {"metadata": {"name": "other"}, "spec": spec}, TEAM)
    pods = live.cluster(OWNER, OF).pods_of(OF.revision)
    pods[1]["metadata"]["labels"]["injected"] = "yes"
    assert await foreign_services(cluster, OWNER, OF.revision, {}) == []
    assert bool(await foreign_services(cluster, OWNER, OF.revision, {}, pods)) is selects


# --- what is active -----------------------------------------------------------------------------------------------------


async def promoted(cluster: FakeCluster) -> str:
    return await Records(cluster, SYSTEM).write_verdict(
        OWNER,
        candidate=CandidateStatus(revision=OF.revision, start_time=build.NOW),
        snapshot=OF,
        verdict=evaluate(build.evidence()),
        policy=build.policy(),
        document_digest=None,
        outcome=RecordOutcome.PROMOTED,
    )


def stating(record: str | None, revision: str = OF.revision) -> ModelDeployment:
    return build.owner(status={"active": RevisionStatus(revision=revision, record=record)})


SERVED = Observed(service={"metadata": {"name": "iris"}})


async def test_what_a_record_vouches_for_is_active_with_the_snapshot_of_the_record() -> None:
    cluster = FakeCluster(FakeClock())
    name = await promoted(cluster)
    found = await active_of(stating(name), Observed(), Records(cluster, SYSTEM))
    assert found is not None
    assert (found.snapshot, found.status.record) == (replace(OF, known_as=OF.revision), name)


async def test_a_revision_that_another_version_hashed_keeps_its_name_and_stays_active() -> None:
    cluster = FakeCluster(FakeClock())
    name = await Records(cluster, SYSTEM).write_verdict(
        OWNER,
        candidate=CandidateStatus(revision="0123456789", start_time=build.NOW),
        snapshot=replace(OF, known_as="0123456789"),
        verdict=evaluate(build.evidence()),
        policy=build.policy(),
        document_digest=None,
        outcome=RecordOutcome.PROMOTED,
    )
    found = await active_of(stating(name, "0123456789"), Observed(), Records(cluster, SYSTEM))
    assert found is not None
    assert found.snapshot.revision == "0123456789"
    assert found.snapshot.object_name == "iris-0123456789"
    assert found.snapshot.essence() == OF.essence()


@pytest.mark.parametrize(
    "owner", [stating("forged"), stating(None), stating("forged", "another")], ids=["record", "none", "all"]
)
async def test_what_no_record_vouches_for_gives_way_to_the_newest_promotion(owner: ModelDeployment) -> None:
    cluster = FakeCluster(FakeClock())
    assert await active_of(owner, SERVED, Records(cluster, SYSTEM)) is None
    name = await promoted(cluster)
    found = await active_of(owner, SERVED, Records(cluster, SYSTEM))
    assert found is not None
    assert (found.status.revision, found.status.record) == (OF.revision, name)


async def test_without_a_statement_and_a_service_nothing_was_ever_promoted() -> None:
    assert await active_of(OWNER, Observed(), Records(FakeCluster(FakeClock()), SYSTEM)) is None


def test_a_snapshot_that_does_not_have_its_own_hash_is_none() -> None:
    right = live.controller_revision(OWNER, OF)
    wrong = live.controller_revision(OWNER, OF)
    wrong["data"] = {"snapshot": wrong["data"]["snapshot"].replace(build.DIGEST, build.OTHER_DIGEST)}
    assert snapshots_of(Observed(revisions={OF.revision: right})) == {OF.revision: OF}
    assert snapshots_of(Observed(revisions={OF.revision: wrong})) == {}
    texts: list[object] = ["{}", "{", "[]", [], None]
    contents: list[Object] = [{}, {"data": None}, *({"data": {"snapshot": text}} for text in texts)]
    for broken in contents:
        assert snapshots_of(Observed(revisions={OF.revision: broken})) == {}
