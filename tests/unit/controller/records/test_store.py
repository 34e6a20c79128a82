"""Records: named by what they say, written once, and believed only about exactly their object."""

from dataclasses import replace
from datetime import timedelta

import pytest

from lockstep.api.modeldeployment import CandidateStatus
from lockstep.api.records import RecordOutcome
from lockstep.controller.cluster import ports
from lockstep.controller.records.store import Records, pin_name, record_name
from lockstep.gates.chain import evaluate
from lockstep.gates.evidence import LineagePins
from tests.fakes import builders as build
from tests.fakes import live
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster
from tests.fakes.connection import Connection

SYSTEM, URI = "lockstep-system", "http://mlflow"
OF = live.snapshot()
PASSED = evaluate(build.evidence())
CANDIDATE = CandidateStatus(revision=OF.revision, start_time=build.NOW, spec_hash="s")


class Kept:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.cluster = FakeCluster(self.clock)
        self.connection = Connection(self.cluster)
        self.records = Records(self.connection, SYSTEM)

    async def write(self, outcome: RecordOutcome = RecordOutcome.PROMOTED, **changes: object) -> str:
        return await self.records.write_verdict(
            build.owner(),
            candidate=CANDIDATE.model_copy(update=changes),
            snapshot=OF,
            verdict=PASSED,
            policy=build.policy(),
            document_digest=None,
            outcome=outcome,
        )


async def test_the_same_verdict_is_recorded_and_written_once() -> None:
    kept = Kept()
    names = {await kept.write() for _ in range(3)}
    assert len(names) == 1
    assert len(kept.connection.writes) == 1
    again = Records(kept.connection, SYSTEM)
    kept.records = again
    assert {await kept.write()} == names
    assert len(kept.connection.writes) == 1, "a restart finds it"


async def test_a_later_try_and_another_outcome_have_records_of_their_own() -> None:
    kept = Kept()
    names = {
        await kept.write(),
        await kept.write(RecordOutcome.REFUSED),
        await kept.write(start_time=build.NOW + timedelta(seconds=1)),
    }
    assert len(names) == 3


async def test_a_record_is_believed_only_about_its_own_object_revision_and_outcome() -> None:
    kept = Kept()
    name, refused = await kept.write(), await kept.write(RecordOutcome.REFUSED)
    assert await kept.records.promotion(build.owner(), name, OF.revision) is not None
    assert await kept.records.promotion(build.owner(), name, "another") is None
    assert await kept.records.promotion(build.owner(), refused, OF.revision) is None
    assert await kept.records.promotion(build.owner(), "missing", OF.revision) is None
    assert await kept.records.promotion(build.owner(), None, OF.revision) is None
    stranger = build.owner().model_copy(update={"uid": "another"})
    assert await kept.records.promotion(stranger, name, OF.revision) is None


async def test_the_newest_promotion_is_found_among_refusals_and_strangers() -> None:
    kept = Kept()
    assert await kept.records.newest_promotion(build.owner()) is None
    await kept.write(RecordOutcome.REFUSED)
    assert await kept.records.newest_promotion(build.owner()) is None
    await kept.write()
    later = replace(PASSED, decided_at=build.NOW + timedelta(hours=1))
    name = await kept.records.write_verdict(
        build.owner(),
        candidate=CANDIDATE.model_copy(update={"start_time": build.NOW + timedelta(hours=1)}),
        snapshot=OF,
        verdict=later,
        policy=build.policy(),
        document_digest=build.DIGEST,
        outcome=RecordOutcome.PROMOTED,
    )
    newest = await kept.records.newest_promotion(build.owner())
    assert newest is not None
    assert newest["metadata"]["name"] == name
    assert newest["spec"]["documentDigest"] == build.DIGEST


def test_the_name_of_a_record_fits_and_says_what_it_is_about() -> None:
    owner = build.owner().model_copy(update={"name": "i" * 52})
    name = record_name(owner, CANDIDATE, PASSED, RecordOutcome.PROMOTED)
    assert len(name) <= 253
    assert OF.revision in name


def named(pins: LineagePins, name: str = "") -> LineagePins:
    return replace(pins, name=name or pin_name(URI, "iris", "3"))


async def test_what_a_version_declared_first_is_kept() -> None:
    kept = Kept()
    assert await kept.records.pins(URI, "iris", "3") is None
    await kept.records.pin(URI, "iris", "3", build.pins())
    await kept.records.pin(URI, "iris", "3", build.pins(document_digest=build.DIGEST))
    assert await Records(kept.cluster, SYSTEM).pins(URI, "iris", "3") == named(build.pins())
    assert await kept.records.pins(URI, "iris", "4") is None
    assert await kept.records.pins("http://another", "iris", "3") is None


async def test_a_pin_says_for_people_how_many_files_there_are_and_their_digest() -> None:
    kept = Kept()
    await kept.records.pin(URI, "iris", "3", build.pins())
    (pin,) = kept.cluster.all(ports.LINEAGE_PIN)
    files = build.files_of(build.contents())
    assert (pin["spec"]["modelDigest"], pin["spec"]["fileCount"]) == (files.digest, len(files.files))
    assert pin["spec"]["byteCount"] == sum(len(body) for body in build.contents().values())


async def test_a_pin_of_an_older_version_is_completed_by_the_files_and_keeps_what_it_says() -> None:
    kept = Kept()
    old = build.pins(files=None, files_first_seen=None)
    await kept.records.pin(URI, "iris", "3", old)
    assert await kept.records.pins(URI, "iris", "3") == named(old)
    later = build.NOW + timedelta(days=9)
    await kept.records.pin(URI, "iris", "3", build.pins(document_digest=build.OTHER_DIGEST, first_seen=later))
    completed = replace(old, files=build.files_of(build.contents()), files_first_seen=later)
    assert await Records(kept.cluster, SYSTEM).pins(URI, "iris", "3") == named(completed)


def lift(kept: Kept, pin: str) -> None:
    spec = {"by": "alice", "reason": "the model was registered anew under its old name"}
    kept.cluster.add(ports.LINEAGE_RELEASE, {"metadata": {"name": pin}, "spec": spec}, SYSTEM)


async def test_a_pin_that_was_lifted_is_replaced_by_one_that_says_so_and_stays() -> None:
    kept, first = Kept(), pin_name(URI, "iris", "3")
    await kept.records.pin(URI, "iris", "3", build.pins())
    lift(kept, first)
    assert await kept.records.pins(URI, "iris", "3") is None, "what it declares now may be pinned"
    await kept.records.pin(URI, "iris", "3", build.pins(run_id="another"))
    assert await Records(kept.cluster, SYSTEM).pins(URI, "iris", "3") == named(build.pins(run_id="another"), f"{first}-2")
    pins = {pin["metadata"]["name"]: pin["spec"] for pin in kept.cluster.all(ports.LINEAGE_PIN)}
    assert pins[first]["runID"] == build.RUN
    said = pins[f"{first}-2"]
    assert (said["replaces"], said["releasedBy"]) == (first, "alice")
    assert said["releaseReason"] == "the model was registered anew under its old name"


async def test_a_pin_can_be_lifted_again_and_a_release_lifts_one_pin_only() -> None:
    kept, first = Kept(), pin_name(URI, "iris", "3")
    for number, name in enumerate([first, f"{first}-2"]):
        await kept.records.pin(URI, "iris", "3", build.pins(run_id=str(number)))
        lift(kept, name)
    await kept.records.pin(URI, "iris", "3", build.pins(run_id="last"))
    assert await kept.records.pins(URI, "iris", "3") == named(build.pins(run_id="last"), f"{first}-3")


async def test_a_release_in_another_namespace_lifts_nothing() -> None:
    kept, first = Kept(), pin_name(URI, "iris", "3")
    await kept.records.pin(URI, "iris", "3", build.pins())
    spec = {"by": "eve", "reason": "I would like it to pass"}
    kept.cluster.add(ports.LINEAGE_RELEASE, {"metadata": {"name": first}, "spec": spec}, "team")
    assert await kept.records.pins(URI, "iris", "3") == named(build.pins())


async def test_what_was_not_declared_is_pinned_as_not_declared() -> None:
    kept = Kept()
    await kept.records.pin(URI, "iris", "3", build.pins(document_digest=None, model_id=None))
    found = await Records(kept.cluster, SYSTEM).pins(URI, "iris", "3")
    assert found is not None
    assert (found.document_digest, found.model_id) == (None, None)


async def test_a_scan_comes_back_as_it_was_and_only_for_its_analyser() -> None:
    kept = Kept()
    await kept.records.keep_scan(build.scan())
    fresh = Records(kept.cluster, SYSTEM)
    assert await fresh.scan(build.DIGEST, "1") == build.scan()
    assert await fresh.scan(build.DIGEST, "2") is None
    assert await fresh.scan(build.OTHER_DIGEST, "1") is None


@pytest.mark.parametrize("field", ["documentDeflated", "documentDigest", "imageDigest", "analyser"])
async def test_a_scan_that_was_tampered_with_is_made_anew(field: str) -> None:
    kept = Kept()
    await kept.records.keep_scan(build.scan())
    [raw] = kept.cluster.all(ports.ENVIRONMENT_RECORD, SYSTEM)
    other = FakeCluster(kept.clock)
    body = {"metadata": {"name": raw["metadata"]["name"]}, "spec": raw["spec"] | {field: "sha256:" + "0" * 64}}
    other.add(ports.ENVIRONMENT_RECORD, body, SYSTEM)
    assert await Records(other, SYSTEM).scan(build.DIGEST, "1") is None
