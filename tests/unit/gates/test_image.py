"""The image gate: one test for every reason."""

from dataclasses import replace

import pytest

from lockstep.api.modeldeployment import GateOutcome
from lockstep.api.reasons import Reason
from lockstep.gates import image as gate
from lockstep.images.scan.result import ImageModel
from tests.fakes import builders as build

STRANGER = ImageModel("/opt/old", "sha256:2", "m-other", "other-run")


def test_a_pinned_image_with_the_registered_model_passes_and_names_its_digest() -> None:
    result = gate.GATE.evaluate(build.evidence())
    assert result.outcome is GateOutcome.PASSED
    assert build.DIGEST in result.message


BASE, OWN = "sha256:" + "a" * 64, "sha256:" + "b" * 64


@pytest.mark.parametrize(
    ("diff_ids", "passes"),
    [((BASE, OWN), True), ((BASE,), True), ((OWN, BASE), False), ((OWN,), False), ((), False)],
)
def test_the_lowest_layers_are_those_of_a_listed_base_image(diff_ids: tuple[str, ...], passes: bool) -> None:
    others = [{"name": "other", "diffIDs": [OWN, OWN, OWN]}, {"name": "python-3.11", "diffIDs": [BASE]}]
    policy = build.policy(images={"baseImages": others})
    image = build.image()
    image = replace(image, config=replace(image.config, diff_ids=diff_ids))
    result = gate.GATE.evaluate(build.evidence(policy=policy, image=image))
    assert (result.outcome is GateOutcome.PASSED) is passes
    if not passes:
        assert result.reason is Reason.BASE_IMAGE_NOT_LISTED
        assert "python-3.11" in result.message


@pytest.mark.parametrize(
    ("reason", "retry"),
    [
        (Reason.REFERENCE_INVALID, False),
        (Reason.IMAGE_NOT_FOUND, False),
        (Reason.IMAGE_REGISTRY_UNREACHABLE, True),
        (Reason.IMAGE_REGISTRY_RATE_LIMITED, True),
        (Reason.IMAGE_UNAUTHORIZED, True),
        (Reason.PULL_SECRET_INVALID, False),
        (Reason.PLATFORM_NOT_FOUND, False),
        (Reason.MANIFEST_INVALID, False),
        (Reason.DIGEST_MISMATCH, True),
    ],
)
def test_an_image_that_is_not_pinned_is_never_a_pass(reason: Reason, retry: bool) -> None:
    result = gate.GATE.evaluate(build.evidence(image=build.unknown(reason, retry=retry)))
    assert (result.outcome, result.reason) == (GateOutcome.RETRY if retry else GateOutcome.REJECTED, reason)


@pytest.mark.parametrize(
    "reason",
    [
        Reason.LAYER_CORRUPT,
        Reason.LAYER_AMBIGUOUS,
        Reason.LIMIT_EXCEEDED,
        Reason.SCAN_TIMEOUT,
        Reason.INTERPRETER_NOT_FOUND,
        Reason.INTERPRETER_AMBIGUOUS,
        Reason.METADATA_INVALID,
        Reason.SYSTEM_UNVERIFIABLE,
        Reason.FILE_UNREADABLE,
    ],
)
def test_layers_that_can_not_be_told_are_refused_with_their_reason(reason: Reason) -> None:
    result = gate.GATE.evaluate(build.evidence(scan=build.unknown(reason, retry=False)))
    assert (result.outcome, result.reason) == (GateOutcome.REJECTED, reason)


def test_a_scan_that_runs_is_waited_for_and_is_no_failure() -> None:
    result = gate.GATE.evaluate(build.evidence(scan=build.unknown(Reason.SCANNING)))
    assert (result.outcome, result.reason) == (GateOutcome.PENDING, Reason.SCANNING)


def test_a_registry_that_asks_to_wait_is_heard() -> None:
    fact = build.unknown(Reason.IMAGE_REGISTRY_RATE_LIMITED)
    slow = type(fact)(fact.reason, fact.message, retry=True, retry_after=90.0)
    assert gate.GATE.evaluate(build.evidence(image=slow)).retry_after == 90.0


def test_without_a_lineage_the_model_in_the_image_is_not_judged_yet() -> None:
    result = gate.GATE.evaluate(build.evidence(lineage=build.unknown()))
    assert (result.outcome, result.reason) == (GateOutcome.PENDING, Reason.WAITING)


def test_without_a_policy_nothing_is_allowed() -> None:
    assert (
        gate.GATE.evaluate(build.evidence(policy=build.unknown(Reason.POLICY_MISSING, retry=False))).reason
        is Reason.POLICY_MISSING
    )


def test_a_scan_of_another_digest_is_no_evidence() -> None:
    result = gate.GATE.evaluate(build.evidence(scan=build.scan(digest=build.OTHER_DIGEST)))
    assert (result.outcome, result.reason) == (GateOutcome.REJECTED, Reason.DIGEST_MISMATCH)


def test_an_image_that_holds_another_model_is_refused_by_name() -> None:
    result = gate.GATE.evaluate(build.evidence(scan=build.scan(models=(STRANGER,))))
    assert (result.outcome, result.reason) == (GateOutcome.REJECTED, Reason.IMAGE_LACKS_VERSION)
    assert "m-other at /opt/old" in result.message


def test_an_older_models_run_decides_where_there_is_no_logged_model() -> None:
    old = build.lineage(model_id=None, logged_model=None, mlmodel_model_id=None)
    by_run, without_ids = build.held(old), build.held(old, run_id=None)
    evidence = {"lineage": old, "pins": None}
    assert gate.GATE.evaluate(build.evidence(**evidence, scan=build.scan(models=(by_run,)))).outcome is GateOutcome.PASSED
    assert (
        gate.GATE.evaluate(build.evidence(**evidence, scan=build.scan(models=(without_ids,)))).reason
        is Reason.IMAGE_LACKS_VERSION
    )


def test_the_right_run_with_another_logged_model_is_another_model() -> None:
    sibling = ImageModel("/opt/model", "sha256:1", "m-sibling", build.RUN)
    assert gate.GATE.evaluate(build.evidence(scan=build.scan(models=(sibling,)))).reason is Reason.IMAGE_LACKS_VERSION


def test_an_image_without_a_model_passes_unless_the_policy_requires_one_in_it() -> None:
    empty = build.scan(models=())
    assert gate.GATE.evaluate(build.evidence(scan=empty)).outcome is GateOutcome.PASSED
    required = build.policy(images={"modelInImage": "Required"})
    assert gate.GATE.evaluate(build.evidence(scan=empty, policy=required)).reason is Reason.MODEL_NOT_IN_IMAGE
