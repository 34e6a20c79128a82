"""The environment gate: one test for every reason."""

from typing import Any

import pytest

from lockstep.api.modeldeployment import GateOutcome
from lockstep.api.reasons import Reason
from lockstep.environment.document import EnvironmentDocument, RequiredProof
from lockstep.gates import environment as gate
from lockstep.gates.gate import Result
from lockstep.lineage.lineage import Lineage
from tests.fakes import builders as a


def judged(**changes: Any) -> Result:
    return gate.GATE.evaluate(a.evidence(**changes))


def recorded(document: EnvironmentDocument) -> Lineage:
    return a.lineage(environment_document=document.canonical(), environment_digest=document.digest)


def test_equal_environments_pass_with_their_digest() -> None:
    result = gate.GATE.evaluate(a.evidence())
    assert result.outcome is GateOutcome.PASSED
    assert "3 packages" in result.message
    assert result.environment_digest is not None
    assert result.environment_digest.startswith("sha256:")


def test_a_refusal_names_the_cause_and_ends_with_the_next_step() -> None:
    older = a.document(a.TRAINED | {"scikit-learn": "1.2.0"})
    result = gate.GATE.evaluate(a.evidence(scan=a.scan(document=older)))
    assert (result.outcome, result.reason) == (GateOutcome.REJECTED, Reason.ENVIRONMENT_MISMATCH)
    assert result.message == "scikit-learn: trained with 1.4.2, image has 1.2.0"
    assert result.next_step is not None
    assert result.next_step.endswith("lockstep environment lock models:/iris/3")
    assert [difference.subject for difference in result.differences] == ["scikit-learn"]
    assert not result.final, "another image may be pushed under another tag, and the policy may change"
    assert result.environment_digest is not None


def test_many_differences_are_counted_and_all_of_them_handed_on() -> None:
    none = a.document({})
    result = judged(scan=a.scan(document=none), lineage=recorded(a.document({f"p{n}": "1" for n in range(9)}, required=True)))
    assert result.message.endswith("; and 6 more")
    assert len(result.differences) == 9


def test_a_document_that_is_none_is_said_to_be_invalid() -> None:
    assert judged(lineage=a.lineage(environment_document=b"[]")).reason is Reason.ENVIRONMENT_DOCUMENT_INVALID


def test_mlflow_requirements_that_pin_nothing_are_said_to_be_invalid() -> None:
    stock = a.lineage(environment_document=None, environment_digest=None, requirements=b"numpy>=1\n")
    weaker = a.policy(environment={"evidence": "ModelRequirements"})
    assert judged(lineage=stock, policy=weaker).reason is Reason.ENVIRONMENT_DOCUMENT_INVALID


def test_no_recorded_environment_is_never_an_equal_one() -> None:
    bare = a.lineage(environment_document=None, environment_digest=None, requirements=b"numpy==1.26.4\n")
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
    document = a.document(required=True).model_copy(update={"required_proof": proof})
    strict = a.policy(environment={"packages": {"unprovenRequiredSet": "Block"}})
    assert judged(lineage=recorded(document), policy=strict).reason is reason
    assert judged(lineage=recorded(document)).outcome is GateOutcome.PASSED, "all packages are compared instead"


def test_the_weaker_baseline_compares_without_local_labels_and_says_so() -> None:
    stock = a.lineage(environment_document=None, environment_digest=None, requirements=b"torch==2.7.1\n")
    weaker = a.policy(environment={"evidence": "ModelRequirements"})
    scan = a.scan(document=a.document({"torch": "2.7.1+cu128"}))
    result = judged(lineage=stock, policy=weaker, scan=scan)
    assert result.outcome is GateOutcome.PASSED
    assert "baseline" in result.message
    strictly = recorded(a.document({"torch": "2.7.1"}, required=True))
    assert judged(lineage=strictly, policy=weaker, scan=scan).reason is Reason.ENVIRONMENT_MISMATCH


@pytest.mark.parametrize("fact", ["policy", "lineage", "scan"])
def test_a_fact_that_may_come_yet_is_tried_again_with_its_reason(fact: str) -> None:
    result = judged(**{fact: a.unknown(Reason.REGISTRY_UNREACHABLE)})
    assert (result.outcome, result.reason) == (GateOutcome.RETRY, Reason.REGISTRY_UNREACHABLE)


@pytest.mark.parametrize("fact", ["policy", "lineage", "scan"])
def test_a_fact_that_another_gate_refuses_is_only_waited_for(fact: str) -> None:
    result = judged(**{fact: a.unknown(Reason.LAYER_CORRUPT, retry=False)})
    assert (result.outcome, result.reason) == (GateOutcome.PENDING, Reason.WAITING)


@pytest.mark.parametrize("mode", ["Audit", "Off"])
def test_a_fact_that_no_other_gate_refuses_is_refused_here(mode: str) -> None:
    result = judged(policy=a.policy(gates={"image": mode}), scan=a.unknown(Reason.LAYER_CORRUPT, retry=False))
    assert (result.outcome, result.reason) == (GateOutcome.REJECTED, Reason.LAYER_CORRUPT)
