"""The environment gate where the policy demands that the training side's document is signed."""

import json
from typing import Any

import pytest

from lockstep.api.modeldeployment import GateOutcome
from lockstep.api.reasons import Reason
from lockstep.environment.statement import training_statement
from lockstep.formats.dsse import IN_TOTO, seal
from lockstep.gates import environment as gate
from lockstep.gates.gate import Result
from tests.fakes import builders as build
from tests.fakes.signing import key, public_pem, statement

TRAINER, SECOND, STRANGER = key("trainer"), key("second"), key("stranger")
RECORDED = build.document(required=True)
STATEMENT = training_statement(RECORDED, model_id=build.MODEL_ID, run_id=build.RUN)


def judged(signature: bytes | None, threshold: int = 1, **changes: Any) -> Result:
    keys = [public_pem(TRAINER), public_pem(SECOND)]
    policy = build.policy(environment={"signature": {"keys": keys, "threshold": threshold}, "evidence": "ModelRequirements"})
    lineage = build.lineage(environment_signature=signature, **changes)
    return gate.GATE.evaluate(build.evidence(policy=policy, lineage=lineage))


def test_a_document_that_one_of_the_keys_signed_passes_and_is_told() -> None:
    result = judged(seal(IN_TOTO, STATEMENT, TRAINER))
    assert result.outcome is GateOutcome.PASSED
    assert "signed" in result.message


def test_a_policy_that_demands_no_signature_looks_at_none() -> None:
    result = gate.GATE.evaluate(build.evidence(lineage=build.lineage(environment_signature=b"nonsense")))
    assert result.outcome is GateOutcome.PASSED
    assert "signed" not in result.message


def test_a_document_that_nobody_signed_is_refused() -> None:
    result = judged(None)
    assert (result.outcome, result.reason) == (GateOutcome.REJECTED, Reason.DOCUMENT_UNSIGNED)
    assert "sign_key" in (result.next_step or "")


def test_what_stock_mlflow_stores_is_not_signed() -> None:
    result = judged(seal(IN_TOTO, STATEMENT, TRAINER), environment_document=None, requirements=b"numpy==1.26.4\n")
    assert result.reason is Reason.DOCUMENT_UNSIGNED


def about(**parts: Any) -> bytes:
    return json.dumps(json.loads(STATEMENT) | parts).encode()


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        b"{}",
        seal(IN_TOTO, STATEMENT, STRANGER),
        seal("application/json", STATEMENT, TRAINER),
        seal(IN_TOTO, b"{}", TRAINER),
        seal(IN_TOTO, training_statement(build.document(), model_id=build.MODEL_ID, run_id=build.RUN), TRAINER),
        seal(IN_TOTO, training_statement(RECORDED, model_id="m-other", run_id=build.RUN), TRAINER),
        seal(IN_TOTO, training_statement(RECORDED, model_id=build.MODEL_ID, run_id="other"), TRAINER),
        seal(IN_TOTO, about(predicate=None), TRAINER),
        seal(IN_TOTO, statement(RECORDED.digest, {"modelID": build.MODEL_ID, "runID": build.RUN}), TRAINER),
    ],
)
def test_what_does_not_vouch_for_this_document_of_this_model_is_refused(signature: bytes) -> None:
    result = judged(signature)
    assert (result.outcome, result.reason) == (GateOutcome.REJECTED, Reason.DOCUMENT_SIGNATURE_INVALID)


def test_a_threshold_counts_keys() -> None:
    one, other = (json.loads(seal(IN_TOTO, STATEMENT, who)) for who in (TRAINER, SECOND))
    twice = json.dumps(one | {"signatures": one["signatures"] * 2}).encode()
    both = json.dumps(one | {"signatures": one["signatures"] + other["signatures"]}).encode()
    assert judged(twice, threshold=2).reason is Reason.DOCUMENT_SIGNATURE_INVALID
    assert judged(both, threshold=2).outcome is GateOutcome.PASSED
