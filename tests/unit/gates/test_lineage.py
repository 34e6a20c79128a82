"""The lineage gate: one test for every reason, and what it lets through."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from lockstep.api.modeldeployment import GateOutcome
from lockstep.api.reasons import Reason
from lockstep.formats.modelfiles import ModelFiles
from lockstep.gates import environment
from lockstep.gates import lineage as gate
from lockstep.gates.evidence import Evidence
from lockstep.gates.gate import Result
from lockstep.lineage.lineage import Lineage, LoggedModel
from tests.fakes import builders as build


def judged(lineage: Lineage, **changes: Any) -> Result:
    return gate.GATE.evaluate(build.evidence(lineage=lineage, pins=None, **changes))


def test_a_complete_lineage_passes_and_names_the_run() -> None:
    result = gate.GATE.evaluate(build.evidence())
    assert result.outcome is GateOutcome.PASSED
    assert build.RUN in result.message


def test_a_lineage_with_all_that_can_be_required_passes() -> None:
    everything = ["GitCommit", "CleanTree", "Dataset", "Parameters", "Seed", "TrainingScript", "Signature", "InputExample"]
    policy = build.policy(lineage={"require": everything})
    assert gate.GATE.evaluate(build.evidence(policy=policy)).outcome is GateOutcome.PASSED


def test_a_version_from_before_logged_models_passes_by_its_run_alone() -> None:
    old = build.lineage(model_id=None, logged_model=None, mlmodel_model_id=None)
    assert judged(old).outcome is GateOutcome.PASSED


REJECTED = GateOutcome.REJECTED
FINDINGS: list[tuple[str, Lineage, GateOutcome, Reason, str]] = [
    (
        "the version is not ready yet",
        build.lineage(version_status="PENDING_REGISTRATION"),
        GateOutcome.PENDING,
        Reason.VERSION_NOT_READY,
        "PENDING_REGISTRATION",
    ),
    ("the run does not exist", build.lineage(run=None), REJECTED, Reason.RUN_MISSING, "does not exist"),
    (
        "the version names no run",
        build.lineage(run=None, version_run_id=None, logged_model=None),
        REJECTED,
        Reason.RUN_MISSING,
        "names no run",
    ),
    (
        "the run was deleted",
        build.lineage(run=build.run(lifecycle_stage="deleted")),
        REJECTED,
        Reason.RUN_DELETED,
        "restore --run-id",
    ),
    ("the run failed", build.lineage(run=build.run(status="FAILED")), REJECTED, Reason.RUN_NOT_FINISHED, "FAILED"),
    (
        "the run is under way",
        build.lineage(run=build.run(status="RUNNING")),
        REJECTED,
        Reason.RUN_NOT_FINISHED,
        "let the run end",
    ),
    (
        "the version names another run",
        build.lineage(version_run_id="another"),
        REJECTED,
        Reason.LINEAGE_CONFLICT,
        "the model version names another",
    ),
    ("MLmodel names another run", build.lineage(mlmodel_run_id="another"), REJECTED, Reason.LINEAGE_CONFLICT, "MLmodel names"),
    (
        "MLmodel can't be read",
        build.lineage(mlmodel=None, mlmodel_run_id=None),
        REJECTED,
        Reason.LINEAGE_CONFLICT,
        "names none",
    ),
    (
        "the logged model names another run",
        build.lineage(logged_model=LoggedModel(build.MODEL_ID, "another", "READY")),
        REJECTED,
        Reason.LINEAGE_CONFLICT,
        "the logged model names another",
    ),
    (
        "MLmodel names another logged model",
        build.lineage(mlmodel_model_id="m-other"),
        REJECTED,
        Reason.LINEAGE_CONFLICT,
        "m-other",
    ),
    (
        "no environment was recorded",
        build.lineage(environment_document=None, environment_digest=None),
        REJECTED,
        Reason.ENVIRONMENT_NOT_RECORDED,
        "log_environment()",
    ),
    (
        "the environment document is no document",
        build.lineage(environment_document=b"{}"),
        REJECTED,
        Reason.ENVIRONMENT_DOCUMENT_INVALID,
        "can't be read",
    ),
    (
        "the run recorded no digest of the document",
        build.lineage(environment_digest=None),
        REJECTED,
        Reason.ENVIRONMENT_DIGEST_CONFLICT,
        "recorded no digest",
    ),
    (
        "the run recorded the digest of another document",
        build.lineage(environment_digest=build.OTHER_DIGEST),
        REJECTED,
        Reason.ENVIRONMENT_DIGEST_CONFLICT,
        "the run recorded sha256:bbb",
    ),
]


@pytest.mark.parametrize(
    ("lineage", "outcome", "reason", "says"), [case[1:] for case in FINDINGS], ids=[case[0] for case in FINDINGS]
)
def test_a_finding_has_its_own_reason(lineage: Lineage, outcome: GateOutcome, reason: Reason, says: str) -> None:
    result = judged(lineage)
    assert (result.outcome, result.reason) == (outcome, reason)
    assert says in f"{result.message} {result.next_step}"


@pytest.mark.parametrize(
    ("reason", "retry", "outcome"),
    [
        (Reason.REGISTRY_UNREACHABLE, True, GateOutcome.RETRY),
        (Reason.REGISTRY_REFUSED, True, GateOutcome.RETRY),
        (Reason.VERSION_NOT_FOUND, False, GateOutcome.REJECTED),
        (Reason.ALIAS_NOT_FOUND, False, GateOutcome.REJECTED),
    ],
)
def test_what_the_registry_could_not_tell_is_never_a_pass(reason: Reason, retry: bool, outcome: GateOutcome) -> None:
    result = gate.GATE.evaluate(build.evidence(lineage=build.unknown(reason, retry=retry)))
    assert (result.outcome, result.reason) == (outcome, reason)


def test_without_a_policy_the_policys_reason_is_told() -> None:
    result = gate.GATE.evaluate(build.evidence(policy=build.unknown(Reason.POLICY_MISSING, retry=False)))
    assert (result.outcome, result.reason) == (GateOutcome.REJECTED, Reason.POLICY_MISSING)


@pytest.mark.parametrize(
    ("requirement", "lacking"),
    [
        ("GitCommit", build.lineage(run=build.run(tags=(("mlflow.source.name", "train.py"),)))),
        ("CleanTree", build.lineage(run=build.run(tags=(("lockstep.git.dirty", "true"),)))),
        ("CleanTree", build.lineage(run=build.run(tags=()))),
        ("Dataset", build.lineage(run=build.run(datasets=()))),
        ("Dataset", build.lineage(run=build.run(datasets=(("iris", ""),)))),
        ("Parameters", build.lineage(run=build.run(params=(("lockstep.environment.m-1", "sha256:…"),)))),
        ("Seed", build.lineage(run=build.run(params=(("C", "1.0"),)))),
        ("Seed", build.lineage(run=build.run(params=(("random_state", "None"),)))),
        ("TrainingScript", build.lineage(run=build.run(tags=()))),
        ("Signature", build.lineage(signature_present=False)),
        ("InputExample", build.lineage(input_example=None)),
    ],
)
def test_what_the_policy_requires_and_the_run_lacks_is_named(requirement: str, lacking: Lineage) -> None:
    policy = build.policy(lineage={"require": [requirement]})
    result = judged(lacking, policy=policy)
    assert (result.outcome, result.reason) == (GateOutcome.REJECTED, Reason.LINEAGE_INCOMPLETE)
    assert requirement in result.message
    assert judged(lacking).outcome is GateOutcome.PASSED, "what the policy does not require may be missing"


def test_an_input_example_that_the_audit_requires_is_part_of_the_lineage() -> None:
    policy = build.policy(readiness={"inputExample": "Required"}, lineage={"require": ["InputExample"]})
    result = judged(build.lineage(input_example=None), policy=policy)
    assert result.reason is Reason.LINEAGE_INCOMPLETE
    assert result.message.count("InputExample") == 1


def test_mlflows_own_requirements_are_enough_where_the_policy_says_so() -> None:
    stock = build.lineage(environment_document=None, environment_digest=None, requirements=b"numpy==1.26.4\n")
    weaker = build.policy(environment={"evidence": "ModelRequirements"})
    assert judged(stock, policy=weaker).outcome is GateOutcome.PASSED
    assert judged(replace(stock, requirements=None), policy=weaker).reason is Reason.ENVIRONMENT_NOT_RECORDED


@pytest.mark.parametrize(
    ("pinned", "word"),
    [
        ({"run_id": "another"}, "run"),
        ({"model_id": "m-other"}, "logged model"),
        ({"document_digest": build.OTHER_DIGEST}, "environment document"),
        ({"document_digest": None}, "environment document"),
        ({"mlmodel_sha256": build.OTHER_DIGEST}, "MLmodel file"),
    ],
)
def test_a_version_that_declares_something_else_than_before_is_refused(pinned: dict[str, Any], word: str) -> None:
    result = gate.GATE.evaluate(build.evidence(pins=replace(build.pins(), **pinned)))
    assert (result.outcome, result.reason) == (GateOutcome.REJECTED, Reason.LINEAGE_CHANGED)
    assert f"another {word} than when first seen (2026-11-20 12:00:00Z)" in result.message


def test_pins_are_the_same_for_the_same_lineage_and_unreadable_documents_are_pinned_by_their_bytes() -> None:
    assert build.pins(build.lineage()) == build.pins(build.lineage())
    assert build.pins(build.lineage(environment_document=b"x")) != build.pins(build.lineage(environment_document=b"y"))
    nothing = gate.pins_of(
        build.lineage(run=None, model_id=None, mlmodel=None, environment_document=None), first_seen=build.NOW
    )
    assert {nothing.run_id, nothing.model_id, nothing.mlmodel_sha256, nothing.document_digest} == {None}


def test_the_gate_knows_no_time() -> None:
    present, later = build.evidence(), build.evidence(now=build.NOW + timedelta(days=365))
    assert gate.GATE.evaluate(present) == gate.GATE.evaluate(later)


def test_the_cause_comes_before_its_consequences() -> None:
    evidence: Evidence = build.evidence(
        pins=None, lineage=build.lineage(run=build.run(lifecycle_stage="deleted", status="FAILED"), environment_document=None)
    )
    assert gate.GATE.evaluate(evidence).reason is Reason.RUN_DELETED


# --- the model's files ----------------------------------------------------------------------------------------------------


def now(**changed: bytes) -> ModelFiles:
    return build.files_of(build.contents(**changed))


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (now(model__skops=b"others"), "model.skops is another file"),
        (build.files_of(build.contents() | {"code/evil.py": b""}), "code/evil.py was added"),
        (
            build.files_of({path: body for path, body in build.contents().items() if path != "model.skops"}),
            "model.skops is missing",
        ),
    ],
)
def test_files_that_are_others_than_when_first_seen_are_named(files: ModelFiles, says: str) -> None:
    result = gate.GATE.evaluate(build.evidence(files=files, pins=build.pins(name="pin-1")))
    assert (result.outcome, result.reason) == (GateOutcome.REJECTED, Reason.LINEAGE_CHANGED)
    assert f"not those that were first seen (2026-11-20 12:00:00Z): {says}" in result.message
    assert "register a new version" in (result.next_step or "")
    assert "the platform team lifts pin-1" in (result.next_step or "")


@pytest.mark.parametrize("files", [None, build.unknown(Reason.MODEL_READING), build.unknown(Reason.MODEL_FILES_UNREADABLE)])
@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"input_example": b"[2]"}, "serving_input_example.json is another file"),
        ({"requirements": b"numpy"}, "requirements.txt was added"),
        ({"python_env": b"python: 3"}, "python_env.yaml was added"),
    ],
)
def test_small_files_that_come_with_the_lineage_are_compared_at_every_look(
    files: Any, changed: dict[str, bytes], says: str
) -> None:
    result = gate.GATE.evaluate(build.evidence(lineage=build.lineage(**changed), files=files, pins=build.pins()))
    assert result.reason is Reason.LINEAGE_CHANGED
    assert says in result.message


def test_requirements_that_are_gone_are_a_change_and_an_example_that_is_too_large_is_none() -> None:
    pinned = build.pins(build.lineage(requirements=b"numpy"))
    assert gate.GATE.evaluate(build.evidence(files=None, pins=pinned)).message.endswith("requirements.txt is missing")
    unread = build.evidence(
        lineage=build.lineage(input_example=None), files=build.files_of(build.contents()), pins=build.pins()
    )
    assert gate.GATE.evaluate(unread).outcome is GateOutcome.PASSED


def test_a_pin_without_files_is_no_mismatch() -> None:
    old = build.pins(files=None, files_first_seen=None)
    result = gate.GATE.evaluate(build.evidence(pins=old, files=now(model__skops=b"whatever")))
    assert result.outcome is GateOutcome.PASSED


def test_files_of_a_completed_pin_are_said_to_be_first_seen_when_it_was_completed() -> None:
    pins = build.pins(files_first_seen=build.NOW + timedelta(days=1))
    assert "(2026-11-21 12:00:00Z)" in gate.GATE.evaluate(build.evidence(pins=pins, files=now(model__skops=b"x"))).message


def test_files_that_are_being_read_are_waited_for_and_refusals_come_first() -> None:
    reading = build.unknown(Reason.MODEL_READING)
    result = gate.GATE.evaluate(build.evidence(files=reading, pins=None))
    assert (result.outcome, result.reason) == (GateOutcome.PENDING, Reason.MODEL_READING)
    unrecorded = build.lineage(environment_document=None, environment_digest=None)
    assert (
        gate.GATE.evaluate(build.evidence(files=reading, pins=None, lineage=unrecorded)).reason
        is Reason.ENVIRONMENT_NOT_RECORDED
    )


def test_files_that_changed_while_they_were_read_are_read_again() -> None:
    result = gate.GATE.evaluate(build.evidence(files=now(), pins=None, lineage=build.lineage(input_example=b"[2]")))
    assert (result.outcome, result.reason) == (GateOutcome.RETRY, Reason.LINEAGE_CHANGED)
    assert "serving_input_example.json" in result.message


UNLISTED = build.unknown(Reason.MODEL_FILES_UNREADABLE, retry=False)


def test_what_is_done_with_files_that_are_not_listed_is_the_policys_and_is_said() -> None:
    lax = gate.GATE.evaluate(build.evidence(files=UNLISTED, pins=None))
    assert lax.outcome is GateOutcome.PASSED
    assert "its files could not be listed and are not compared" in lax.message
    assert "those that were pinned before" in gate.GATE.evaluate(build.evidence(files=UNLISTED)).message
    strict = gate.GATE.evaluate(build.evidence(files=UNLISTED, policy=build.policy(lineage={"modelFiles": "Required"})))
    assert (strict.outcome, strict.reason) == (GateOutcome.RETRY, Reason.MODEL_FILES_UNREADABLE)
    assert "lineage.modelFiles to IfReadable" in (strict.next_step or "")
    off = gate.GATE.evaluate(build.evidence(files=None, policy=build.policy(lineage={"modelFiles": "Ignore"})))
    assert off.outcome is GateOutcome.PASSED
    assert "its files are not compared (lineage.modelFiles is Ignore)" in off.message


@pytest.mark.parametrize("rule", ["IfReadable", "Required"])
def test_nothing_that_who_trains_can_bring_about_counts_as_not_readable(rule: str) -> None:
    """Too many files, odd names, files elsewhere, and files that come and go are refused whatever the policy says of lists."""
    policy = build.policy(lineage={"modelFiles": rule})
    refused = gate.GATE.evaluate(build.evidence(policy=policy, files=build.unknown(Reason.MODEL_FILES_REFUSED, retry=False)))
    assert (refused.outcome, refused.reason) == (GateOutcome.REJECTED, Reason.MODEL_FILES_REFUSED)
    assert "lineage.modelFiles to Ignore" in (refused.next_step or "")
    gone = gate.GATE.evaluate(build.evidence(policy=policy, files=build.unknown(Reason.REGISTRY_UNREACHABLE)))
    assert gone.outcome is GateOutcome.RETRY
    elsewhere = build.lineage(place=None, artifact_uri="s3://bucket/model")
    moved = gate.GATE.evaluate(build.evidence(policy=policy, pins=None, lineage=elsewhere, files=build.unknown(Reason.WAITING)))
    assert (moved.outcome, moved.reason) == (GateOutcome.REJECTED, Reason.LINEAGE_CONFLICT)
    assert "s3://bucket/model" in moved.message


def test_files_elsewhere_are_nobodys_business_where_files_are_not_compared() -> None:
    elsewhere = build.lineage(place=None, artifact_uri="s3://bucket/model")
    policy = build.policy(lineage={"modelFiles": "Ignore"})
    assert (
        gate.GATE.evaluate(build.evidence(policy=policy, pins=None, lineage=elsewhere, files=None)).outcome
        is GateOutcome.PASSED
    )


def test_a_registry_that_can_not_read_the_files_itself_is_told_with_what_to_do_and_never_passes() -> None:
    blind = build.lineage(
        mlmodel=None,
        mlmodel_run_id=None,
        mlmodel_model_id=None,
        environment_document=None,
        input_example=None,
        unreadable="500",
    )
    for rule in ("IfReadable", "Required", "Ignore"):
        evidence = build.evidence(
            lineage=blind, policy=build.policy(lineage={"modelFiles": rule}), files=build.unknown(Reason.WAITING)
        )
        result = gate.GATE.evaluate(evidence)
        assert (result.outcome, result.reason) == (GateOutcome.RETRY, Reason.MODEL_FILES_UNREADABLE)
        assert "--serve-artifacts" in (result.next_step or "")
        told = environment.GATE.evaluate(evidence)
        assert (told.outcome, told.reason) == (GateOutcome.RETRY, Reason.MODEL_FILES_UNREADABLE)


def test_weaker_evidence_does_not_take_the_place_of_what_could_not_be_read() -> None:
    blind = build.lineage(environment_document=None, environment_digest=None, requirements=b"numpy==1.26.4\n", unreadable="500")
    policy = build.policy(environment={"evidence": "ModelRequirements"})
    assert environment.GATE.evaluate(build.evidence(lineage=blind, policy=policy)).outcome is GateOutcome.RETRY
