"""The environment gate: one test for every reason."""

from typing import Any

import pytest

from lockstep.api.modeldeployment import GateOutcome
from lockstep.api.reasons import Reason
from lockstep.environment.document import EnvironmentDocument, RequiredProof
from lockstep.gates import environment as gate
from lockstep.gates.gate import Result
from lockstep.lineage.lineage import Lineage
from tests.fakes import builders as build


def judged(**changes: Any) -> Result:
    return gate.GATE.evaluate(build.evidence(**changes))


def recorded(document: EnvironmentDocument) -> Lineage:
    return build.lineage(environment_document=document.canonical(), environment_digest=document.digest)


def test_equal_environments_pass_with_their_digest() -> None:
    result = gate.GATE.evaluate(build.evidence())
    assert result.outcome is GateOutcome.PASSED
    assert "3 packages" in result.message
    assert result.environment_digest is not None
    assert result.environment_digest.startswith("sha256:")


def test_a_refusal_names_the_cause_and_ends_with_the_next_step() -> None:
    older = build.document(build.TRAINED | {"scikit-learn": "1.2.0"})
    result = gate.GATE.evaluate(build.evidence(scan=build.scan(document=older)))
    assert (result.outcome, result.reason) == (GateOutcome.REJECTED, Reason.ENVIRONMENT_MISMATCH)
    assert result.message == "scikit-learn: trained with 1.4.2, image has 1.2.0"
    assert result.next_step is not None
    assert result.next_step.endswith("lockstep environment lock models:/iris/3")
    assert [difference.subject for difference in result.differences] == ["scikit-learn"]
    assert not result.final, "another image may be pushed under another tag, and the policy may change"
    assert result.environment_digest is not None


def test_many_differences_are_counted_and_all_of_them_handed_on() -> None:
    none = build.document({})
    result = judged(
        scan=build.scan(document=none), lineage=recorded(build.document({f"p{n}": "1" for n in range(9)}, required=True))
    )
    assert result.message.endswith("; and 6 more")
    assert len(result.differences) == 9


def test_a_document_that_is_none_is_said_to_be_invalid() -> None:
    assert judged(lineage=build.lineage(environment_document=b"[]")).reason is Reason.ENVIRONMENT_DOCUMENT_INVALID


def test_mlflow_requirements_that_pin_nothing_are_said_to_be_invalid() -> None:
    stock = build.lineage(environment_document=None, environment_digest=None, requirements=b"numpy>=1\n")
    weaker = build.policy(environment={"evidence": "ModelRequirements"})
    assert judged(lineage=stock, policy=weaker).reason is Reason.ENVIRONMENT_DOCUMENT_INVALID


def test_no_recorded_environment_is_never_an_equal_one() -> None:
    bare = build.lineage(environment_document=None, environment_digest=None, requirements=b"numpy==1.26.4\n")
    assert judged(lineage=bare).reason is Reason.ENVIRONMENT_NOT_RECORDED


@pytest.mark.parametrize(
    ("proof", "reason"),
    [
        (RequiredProof.UNPROVEN, Reason.REQUIRED_SET_UNPROVEN),
        (RequiredProof.INCOMPLETE, Reason.REQUIRED_SET_INCOMPLETE),
        (None, Reason.REQUIRED_SET_UNPROVEN),
    ],
)
def test_an_unproven_set_of_required_packages_blocks_where_the_policy_says_so(
    proof: RequiredProof | None, reason: Reason
) -> None:
    document = build.document(required=True).model_copy(update={"required_proof": proof})
    strict = build.policy(environment={"packages": {"unprovenRequiredSet": "Block"}})
    assert judged(lineage=recorded(document), policy=strict).reason is reason
    assert judged(lineage=recorded(document)).outcome is GateOutcome.PASSED, "all packages are compared instead"


def test_the_weaker_baseline_compares_without_local_labels_and_says_so() -> None:
    stock = build.lineage(environment_document=None, environment_digest=None, requirements=b"torch==2.7.1\n")
    weaker = build.policy(environment={"evidence": "ModelRequirements"})
    scan = build.scan(document=build.document({"torch": "2.7.1+cu128"}))
    result = judged(lineage=stock, policy=weaker, scan=scan)
    assert result.outcome is GateOutcome.PASSED
    assert "baseline" in result.message
    strictly = recorded(build.document({"torch": "2.7.1"}, required=True))
    assert judged(lineage=strictly, policy=weaker, scan=scan).reason is Reason.ENVIRONMENT_MISMATCH


@pytest.mark.parametrize("fact", ["policy", "lineage", "scan"])
def test_a_fact_that_may_come_yet_is_tried_again_with_its_reason(fact: str) -> None:
    result = judged(**{fact: build.unknown(Reason.REGISTRY_UNREACHABLE)})
    assert (result.outcome, result.reason) == (GateOutcome.RETRY, Reason.REGISTRY_UNREACHABLE)


@pytest.mark.parametrize("fact", ["policy", "lineage", "scan"])
def test_a_fact_that_another_gate_refuses_is_only_waited_for(fact: str) -> None:
    result = judged(**{fact: build.unknown(Reason.LAYER_CORRUPT, retry=False)})
    assert (result.outcome, result.reason) == (GateOutcome.PENDING, Reason.WAITING)


@pytest.mark.parametrize("mode", ["Audit", "Off"])
def test_a_fact_that_no_other_gate_refuses_is_refused_here(mode: str) -> None:
    result = judged(policy=build.policy(gates={"image": mode}), scan=build.unknown(Reason.LAYER_CORRUPT, retry=False))
    assert (result.outcome, result.reason) == (GateOutcome.REJECTED, Reason.LAYER_CORRUPT)
