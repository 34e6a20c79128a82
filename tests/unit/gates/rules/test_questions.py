"""What a candidate's pods can be asked: nobody gets past the audit by leaving it nothing to ask."""

from typing import Any

import pytest

from lockstep.api.modeldeployment import GateOutcome
from lockstep.api.reasons import Reason
from lockstep.gates import readiness
from lockstep.gates.chain import evaluate
from lockstep.gates.gate import Result
from lockstep.rollout.status.results import message_of
from tests.fakes import builders as build

NO_PATH: dict[str, Any] = {"custom": {"readyPath": "/ping"}}
NO_BODY: dict[str, Any] = {"custom": {"readyPath": "/ping", "predictPath": "/score"}}
OWN_BODY: dict[str, Any] = {"custom": {"readyPath": "/ping", "predictPath": "/score", "predictBody": "{}"}}
MLFLOW: dict[str, Any] = {"mlflow": {}}
V2: dict[str, Any] = {"openInferenceV2": {"modelName": "iris"}}


def judged(server: dict[str, Any], *, example: bytes | None = b"{}", candidate: Any = None, **policy: Any) -> Result:
    return readiness.GATE.evaluate(
        build.evidence(
            spec=build.spec(server={"port": 8080, **server}),
            policy=build.policy(readiness=policy),
            lineage=build.lineage(input_example=example),
            pods=candidate,
        )
    )


@pytest.mark.parametrize(
    ("result", "reason", "says"),
    [
        (judged(NO_PATH, requests=5), Reason.NOTHING_TO_ASK, "set server.custom.predictPath, and predictBody"),
        (judged({"custom": {"readyPath": "/p", "predictBody": "{}"}}), Reason.NOTHING_TO_ASK, "has no predictPath"),
        (judged(NO_BODY, example=None), Reason.NOTHING_TO_ASK, "set server.custom.predictBody"),
        (judged(OWN_BODY, predictBody="Deny"), Reason.PREDICT_BODY_NOT_ALLOWED, "readiness.predictBody: Allow"),
        (judged(OWN_BODY, predictBody="Deny", example=None), Reason.PREDICT_BODY_NOT_ALLOWED, "does not count"),
        (judged(OWN_BODY, servers=["MLflow"]), Reason.SERVER_NOT_ALLOWED, "does not allow server.custom"),
        (judged(V2, servers=["MLflow", "Custom"]), Reason.SERVER_NOT_ALLOWED, "adds OpenInferenceV2 to readiness.servers"),
        (judged(MLFLOW, example=None, inputExample="Required"), Reason.INPUT_EXAMPLE_MISSING, "iris 3 has no registered"),
        (judged(OWN_BODY, example=None, inputExample="Required"), Reason.INPUT_EXAMPLE_MISSING, "inputExample: IfPresent"),
    ],
)
def test_what_would_prove_nothing_is_refused_before_a_pod_starts_with_what_to_set(
    result: Result, reason: Reason, says: str
) -> None:
    assert (result.outcome, result.reason, result.final) == (GateOutcome.REJECTED, reason, True)
    assert says in message_of(result)
    assert "spec.retry" not in message_of(result), "trying again changes nothing"


@pytest.mark.parametrize("server", [MLFLOW, V2, NO_BODY, OWN_BODY])
def test_what_can_be_asked_waits_for_its_pods(server: dict[str, Any]) -> None:
    assert judged(server).reason is Reason.WAITING


@pytest.mark.parametrize("server", [MLFLOW, V2])
def test_a_model_without_an_example_passes_where_the_policy_lets_it_and_the_verdict_says_that_nothing_was_asked(
    server: dict[str, Any],
) -> None:
    audits = tuple(build.audit(name, answered=0) for name in ("iris-1", "iris-2"))
    result = judged(server, example=None, candidate=build.candidate(audits=audits))
    assert result.outcome is GateOutcome.PASSED
    assert "asked for no prediction, since the model has no registered input example" in result.message
    assert "readiness.inputExample: Required" in result.message


@pytest.mark.parametrize(("server", "answered"), [(MLFLOW, 2), (V2, 0), (NO_BODY, 0), (OWN_BODY, 2)])
def test_a_pod_that_has_answered_less_than_it_was_to_be_asked_has_proven_nothing(server: dict[str, Any], answered: int) -> None:
    audits = (build.audit("iris-1"), build.audit("iris-2", answered=answered))
    result = judged(server, candidate=build.candidate(audits=audits))
    assert (result.outcome, result.reason) == (GateOutcome.REJECTED, Reason.AUDIT_FAILED)
    assert f"iris-2 has answered {answered} of 3 predictions" in result.message


def test_the_verdict_says_whose_body_was_sent() -> None:
    result = judged(OWN_BODY, candidate=build.candidate())
    assert result.message == "2 pods are ready and answered 6 predictions, asked with the manifest's own predictBody"
    assert "own" not in judged(NO_BODY, candidate=build.candidate()).message


def test_while_the_lineage_is_not_known_nothing_is_said_of_its_example() -> None:
    lineage = build.unknown(Reason.REGISTRY_UNREACHABLE)
    policy = build.policy(readiness={"inputExample": "Required"})
    assert readiness.GATE.evaluate(build.evidence(lineage=lineage, policy=policy, pods=None)).reason is Reason.WAITING


def test_an_example_that_the_policy_requires_is_required_whatever_the_mode_of_the_lineage_gate() -> None:
    policy = build.policy(gates={"lineage": "Off"}, readiness={"inputExample": "Required"})
    verdict = evaluate(build.evidence(policy=policy, lineage=build.lineage(input_example=None)))
    assert not verdict.permits_traffic
    assert verdict.blocking is not None
    assert verdict.blocking.reason is Reason.INPUT_EXAMPLE_MISSING
