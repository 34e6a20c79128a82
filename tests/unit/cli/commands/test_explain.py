"""The text of `kubectl lockstep explain` for several statuses."""

import json
from datetime import UTC, datetime

from lockstep.api.base import Condition
from lockstep.api.modeldeployment import (
    CandidateStatus,
    DifferenceStatus,
    GateMode,
    GateOutcome,
    GateStatus,
    RevisionStatus,
)
from lockstep.cli.commands.explain import as_json, explanation
from tests.fakes import builders as build

PINNED = f"{build.REPOSITORY}@{build.DIGEST}"
ACTIVE = RevisionStatus(
    revision="abc123", model_version="2", image=PINNED, record="iris-abc123", start_time=datetime(2026, 11, 1, tzinfo=UTC)
)


def gate(name: str, outcome: GateOutcome, reason: str, message: str, mode: GateMode = GateMode.ENFORCE) -> GateStatus:
    return GateStatus(name=name, outcome=outcome, reason=reason, message=message, mode=mode)


def ready(reason: str, message: str) -> Condition:
    return Condition(type="Ready", status="False", last_transition_time=build.NOW, reason=reason, message=message)


PASSED = gate("lineage", GateOutcome.PASSED, "Passed", "iris 3 was made by run r")
MISMATCH = gate("environment", GateOutcome.REJECTED, "EnvironmentMismatch", "scikit-learn: trained with 1.4.2, image has 1.2.0")


def test_nothing_has_been_looked_at_yet() -> None:
    assert explanation(build.owner()) == [
        "team/iris: Lockstep has not reconciled it yet",
        "",
        "Serving    nothing has been promoted yet",
    ]


def test_a_refusal_names_the_gate_what_serves_and_what_differs() -> None:
    difference = DifferenceStatus(kind="Package", subject="scikit-learn", trained="1.4.2", image="1.2.0", message="differs")
    absent = DifferenceStatus(kind="Package", subject="joblib", trained="1.5.3", message="missing")
    candidate = CandidateStatus(model_version="3", image=PINNED, gates=[PASSED, MISMATCH])
    status = {
        "active": ACTIVE,
        "candidate": candidate,
        "differences": [difference, absent],
        "replicas": 2,
        "ready_replicas": 2,
    }
    assert explanation(build.owner(status=status)) == [
        "team/iris: the environment gate refuses the candidate",
        "",
        f"Serving    revision abc123, version 2, image {PINNED}",
        "           2 of 2 pods ready, promoted 2026-11-01 00:00:00+00:00",
        "           evidence: PromotionRecord iris-abc123",
        f"Candidate  version 3, image {PINNED}",
        "           ✓ lineage: Passed: iris 3 was made by run r",
        "           ✗ environment: EnvironmentMismatch: scikit-learn: trained with 1.4.2, image has 1.2.0",
        "",
        "What differs (trained | image)",
        "  scikit-learn: 1.4.2 | 1.2.0",
        "  joblib: 1.5.3 | -",
    ]


def test_a_dependency_that_does_not_answer_is_a_wait() -> None:
    waiting = gate("lineage", GateOutcome.RETRY, "RegistryUnreachable", "MLflow did not answer")
    lines = explanation(build.owner(status={"candidate": CandidateStatus(gates=[waiting])}))
    assert lines[0] == "team/iris: the lineage gate waits: RegistryUnreachable"
    assert lines[-2:] == [
        f"Candidate  version ?, image {build.REPOSITORY}:2026-11",
        "           ? lineage: RegistryUnreachable: MLflow did not answer",
    ]


def test_a_pending_gate_is_marked_as_such() -> None:
    waiting = gate("readiness", GateOutcome.PENDING, "PodsStarting", "0 of 2 pods are ready")
    lines = explanation(build.owner(status={"candidate": CandidateStatus(gates=[PASSED, waiting])}))
    assert lines[0] == "team/iris: the readiness gate waits: PodsStarting"
    assert lines[-1] == "           … readiness: PodsStarting: 0 of 2 pods are ready"


def test_what_is_only_reported_does_not_look_like_a_refusal() -> None:
    audited = MISMATCH.model_copy(update={"mode": GateMode.AUDIT})
    status = {"candidate": CandidateStatus(gates=[audited]), "conditions": [ready("Progressing", "every gate has passed")]}
    lines = explanation(build.owner(status=status))
    assert lines[0] == "team/iris: Progressing: every gate has passed"
    assert lines[-1].startswith("           ! (Audit) environment: EnvironmentMismatch: ")


def test_what_holds_a_candidate_besides_the_gates_is_the_headline_and_all_of_it_is_listed() -> None:
    holds = [
        gate("guards", GateOutcome.PENDING, "GuardsMissing", "upgrade"),
        gate("pause", GateOutcome.PENDING, "Paused", "on"),
    ]
    status = {"candidate": CandidateStatus(gates=[PASSED]), "holds": holds, "conditions": [ready("GuardsMissing", "upgrade")]}
    lines = explanation(build.owner(status=status))
    assert lines[0] == "team/iris: GuardsMissing: upgrade"
    assert lines[-2:] == ["Held       … guards: GuardsMissing: upgrade", "Held       … pause: Paused: on"]
    assert json.loads(as_json(build.owner(status=status)))["blocking"]["name"] == "guards"


def test_what_is_active_and_current_says_so() -> None:
    status = {"active": ACTIVE, "conditions": [ready("Promoted", "revision abc123 is active")]}
    lines = explanation(build.owner(status=status))
    assert lines[0] == "team/iris: Promoted: revision abc123 is active"
    assert not any(line.startswith("Candidate") for line in lines)
