"""What is active, as far as records vouch for it."""

from dataclasses import replace

import pytest

from lockstep.api.modeldeployment import CandidateStatus, ModelDeployment, RevisionStatus
from lockstep.api.records import RecordOutcome
from lockstep.controller.cluster.ports import Object
from lockstep.controller.records.active import active_of, snapshots_of
from lockstep.controller.records.store import Records
from lockstep.gates.chain import evaluate
from lockstep.rollout.observed.observed import Observed
from tests.fakes import builders as build
from tests.fakes import live
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster

SYSTEM = "lockstep-system"
OF = live.snapshot()
OWNER = build.owner()


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
