"""The next status, and what of it is news."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.api.modeldeployment import (
    CandidateStatus,
    GateMode,
    GateOutcome,
    GateStatus,
    ModelDeployment,
    ModelDeploymentStatus,
    RevisionStatus,
)
from lockstep.api.reasons import ConditionType, EventReason, Reason
from lockstep.gates.gate import Result
from lockstep.gates.hold import HoldName, hold
from lockstep.rollout.observed.observed import Observed
from lockstep.rollout.removals import Impairment
from lockstep.rollout.status.status import (
    StatusInput,
    blocking,
    deletion_status,
    kept_status,
    next_status,
    promoted_history,
    transitions,
)
from tests.fakes import builders as build
from tests.fakes import live
from tests.fakes.live import snapshot

OF = snapshot()
LATER = build.NOW + timedelta(minutes=5)
ACTIVE = RevisionStatus(revision=OF.revision, model_version="3", image=OF.image, record="iris-record", start_time=build.NOW)
PAUSED = hold(HoldName.PAUSE, Reason.PAUSED, "spec.paused is true")
CONFLICT = hold(HoldName.NAME, Reason.NAME_CONFLICT, "the Service iris exists")


def gate(name: str, outcome: str = "Passed", reason: Reason = Reason.PASSED, mode: str = "Enforce") -> GateStatus:
    return GateStatus(name=name, outcome=GateOutcome(outcome), mode=GateMode(mode), reason=str(reason), message="said")


ALL_PASSED = [gate(name) for name in ("lineage", "image", "environment", "readiness")]
MISMATCH = gate("environment", "Rejected", Reason.ENVIRONMENT_MISMATCH)


def candidate(*gates: GateStatus, **changes: Any) -> CandidateStatus:
    found = CandidateStatus(revision="new", spec_hash="spec", model_version="4", policy_hash="sha256:policy", gates=list(gates))
    return found.model_copy(update=changes)


def status_input(**changes: Any) -> StatusInput:
    return replace(StatusInput(active=None, candidate=None, history=()), **changes)


def observed(*, ready: int = 2, selects: str | None = OF.revision) -> Observed:
    selector = {"lockstep.dev/model-deployment": "iris", "lockstep.dev/revision": selects}
    service = {"metadata": {"name": "iris"}, "spec": {"selector": selector}} if selects is not None else None
    deployment = live.deployment(build.owner(), OF)
    pods = [live.pod(live.replica_set(deployment), f"iris-{number}") for number in range(2)]
    for number, pod in enumerate(pods):
        pod["metadata"]["labels"]["lockstep.dev/revision"] = selects or OF.revision
        pod["status"]["conditions"] = [{"type": "Ready", "status": str(number < ready)}]
    return Observed(deployments={OF.revision: deployment}, service=service, pods=pods)


def status(
    *, owner: ModelDeployment | None = None, ready: int = 2, now: Any = build.NOW, **changes: Any
) -> ModelDeploymentStatus:
    return next_status(owner or build.owner(), observed(ready=ready), status_input(**changes), now)


def conditions(found: ModelDeploymentStatus) -> dict[str, tuple[str, str]]:
    return {condition.type: (condition.status, condition.reason) for condition in found.conditions}


# --- conditions --------------------------------------------------------------------------------------------------------


def test_an_active_spec_with_ready_pods_is_ready() -> None:
    found = status(active=ACTIVE)
    assert conditions(found) == {
        "Ready": ("True", "Promoted"),
        "Available": ("True", "Promoted"),
        "Promoted": ("True", "Promoted"),
        "Reconciling": ("False", "Promoted"),
        "Stalled": ("False", "Promoted"),
    }
    assert (found.replicas, found.ready_replicas) == (2, 2)
    assert found.selector == f"lockstep.dev/model-deployment=iris,lockstep.dev/revision={OF.revision}"
    assert found.model == "iris/3"


def test_an_active_spec_without_ready_pods_is_promoted_and_not_ready() -> None:
    found = conditions(status(active=ACTIVE, ready=0))
    assert found["Ready"] == found["Available"] == ("False", "PodsNotReady")
    assert found["Promoted"] == ("True", "Promoted")


def test_while_the_service_switches_the_revision_before_serves_and_the_new_one_is_not_ready_yet() -> None:
    found = conditions(next_status(build.owner(), observed(selects="before"), status_input(active=ACTIVE), build.NOW))
    assert found["Available"] == ("True", "Promoted")
    assert found["Ready"] == ("False", "Switching")
    assert found["Promoted"] == ("True", "Promoted")
    assert found["Reconciling"] == ("True", "Switching")


def test_what_serves_is_told_by_the_pods_and_not_by_what_a_deployment_counts_as_its_own() -> None:
    apart = replace(observed(), deployments={})
    found = next_status(build.owner(), apart, status_input(active=ACTIVE), build.NOW)
    assert conditions(found)["Available"] == ("True", "Promoted")
    assert (found.replicas, found.ready_replicas) == (0, 2)
    stale = observed(ready=0)
    assert stale.deployments[OF.revision]["status"]["readyReplicas"] == 2
    assert conditions(next_status(build.owner(), stale, status_input(active=ACTIVE), build.NOW))["Available"] == (
        "False",
        "PodsNotReady",
    )


TAMPERED = Impairment(Reason.ACTIVE_POD_TAMPERED, "pod iris-1 is not what was promoted: its env is A")


def test_what_serves_otherwise_than_promoted_is_available_and_not_ready() -> None:
    found = next_status(build.owner(), observed(), status_input(active=ACTIVE), build.NOW, impairment=TAMPERED)
    assert conditions(found)["Available"] == ("True", "ActivePodTampered")
    assert conditions(found)["Ready"] == ("False", "ActivePodTampered")
    assert conditions(found)["Promoted"] == ("True", "Promoted")
    checked = status_input(active=ACTIVE, candidate=candidate(MISMATCH))
    both = conditions(next_status(build.owner(), observed(), checked, build.NOW, impairment=TAMPERED))
    assert (both["Available"], both["Ready"]) == (("True", "ActivePodTampered"), ("False", "EnvironmentMismatch"))


def test_while_something_is_put_right_the_status_takes_back_what_does_not_hold_and_claims_nothing() -> None:
    owner = build.owner(status=dict(status(active=ACTIVE)), generation=2)
    kept = kept_status(owner, observed(ready=0), ACTIVE, LATER, None)
    assert conditions(kept)["Available"] == conditions(kept)["Ready"] == ("False", "PodsNotReady")
    assert kept.ready_replicas == 0
    assert kept.observed_generation == 1, "the spec is not answered for yet"
    again = build.owner(status=dict(kept), generation=2)
    back = kept_status(again, observed(), ACTIVE, LATER, None)
    assert conditions(back)["Available"] == ("True", "Promoted")
    assert conditions(back)["Ready"] == ("False", "PodsNotReady")
    assert kept_status(owner, observed(), ACTIVE, LATER, None) == owner.status


def test_what_is_being_deleted_says_that_nobody_keeps_it_up() -> None:
    owner = build.owner(status=dict(status(active=ACTIVE)))
    serves, lies = deletion_status(owner, observed(), ACTIVE, LATER), deletion_status(owner, observed(ready=0), ACTIVE, LATER)
    assert conditions(serves)["Available"] == ("True", "Deleting")
    assert conditions(lies)["Available"] == ("False", "PodsNotReady")
    assert conditions(serves)["Ready"] == conditions(lies)["Ready"] == ("False", "Deleting")
    assert deletion_status(build.owner(status=dict(serves)), observed(), ACTIVE, LATER) == serves


def test_without_a_service_nothing_is_available_however_many_pods_are_ready() -> None:
    found = conditions(next_status(build.owner(), observed(selects=None), status_input(active=ACTIVE), build.NOW))
    assert found["Available"] == found["Ready"] == ("False", "Switching")


def test_an_active_spec_of_no_replicas_is_available_as_asked_for() -> None:
    assert conditions(status(owner=build.owner(replicas=0), active=ACTIVE, ready=0))["Ready"] == ("True", "Promoted")


def test_a_refusal_stalls_and_names_the_gate_and_what_serves_goes_on() -> None:
    found = conditions(status(active=ACTIVE, candidate=candidate(*ALL_PASSED[:2], MISMATCH)))
    assert found["Available"] == ("True", "Promoted")
    assert found["LineageVerified"] == found["ImageVerified"] == ("True", "Passed")
    assert found["EnvironmentMatched"] == ("False", "EnvironmentMismatch")
    for one in ("Ready", "Promoted", "Reconciling"):
        assert found[one] == ("False", "EnvironmentMismatch")
    assert found["Stalled"] == ("True", "EnvironmentMismatch")


def test_a_stall_says_why_and_its_absence_says_nothing() -> None:
    def stalled(*gates: GateStatus) -> str:
        return next(c.message for c in status(candidate=candidate(*gates)).conditions if c.type == "Stalled")

    assert stalled(MISMATCH) == "said"
    assert stalled(*ALL_PASSED) == ""


def test_a_wait_is_no_stall() -> None:
    waiting = gate("lineage", "Retry", Reason.REGISTRY_UNREACHABLE)
    found = conditions(status(candidate=candidate(waiting)))
    assert found["Available"] == ("False", "NothingActive")
    assert found["LineageVerified"] == ("Unknown", "RegistryUnreachable")
    assert (found["Reconciling"][0], found["Stalled"][0]) == ("True", "False")


def test_a_candidate_whose_gates_all_passed_progresses() -> None:
    found = conditions(status(candidate=candidate(*ALL_PASSED)))
    assert found["Promoted"] == ("False", "Progressing")
    assert found["Reconciling"] == ("True", "Progressing")


def test_a_finding_in_audit_mode_shows_in_its_own_condition_alone() -> None:
    audited = gate("environment", "Rejected", Reason.ENVIRONMENT_MISMATCH, "Audit")
    found = conditions(status(candidate=candidate(audited, gate("readiness"))))
    assert found["EnvironmentMatched"] == ("False", "EnvironmentMismatch")
    assert found["Stalled"] == ("False", "Progressing")


@pytest.mark.parametrize(("held", "stalled"), [(PAUSED, "False"), (CONFLICT, "True")])
def test_what_holds_a_candidate_that_no_gate_refuses_is_named(held: Result, stalled: str) -> None:
    found = conditions(status(candidate=candidate(*ALL_PASSED), holds=[held]))
    assert found["Ready"] == ("False", str(held.reason))
    assert found["Stalled"] == (stalled, str(held.reason))


def test_a_gates_refusal_is_named_before_what_else_holds_the_candidate() -> None:
    assert conditions(status(candidate=candidate(MISMATCH), holds=[PAUSED]))["Ready"] == ("False", "EnvironmentMismatch")


def test_a_hold_is_named_before_a_gate_that_only_waits_for_it() -> None:
    waiting = gate("readiness", "Pending", Reason.WAITING)
    assert conditions(status(candidate=candidate(waiting), holds=[PAUSED]))["Ready"] == ("False", "Paused")


def test_nothing_active_and_no_candidate_is_not_said_to_be_promoted() -> None:
    found = conditions(status())
    assert found["Promoted"] == found["Ready"] == ("False", "NothingActive")


def test_a_gate_that_was_switched_off_leaves_no_condition_behind() -> None:
    before = status(candidate=candidate(*ALL_PASSED[:2], MISMATCH))
    owner = build.owner(status=dict(before))
    after = status(owner=owner, candidate=candidate(gate("lineage"), gate("image"), gate("readiness")))
    assert "EnvironmentMatched" not in conditions(after)
    assert "LineageVerified" in conditions(after)


def test_findings_about_the_active_revision_show_in_the_gates_conditions() -> None:
    found = conditions(status(active=ACTIVE, findings=[MISMATCH]))
    assert found["EnvironmentMatched"] == ("False", "EnvironmentMismatch")
    assert found["Ready"] == ("True", "Promoted"), "what serves goes on serving"


def test_conditions_stand_in_the_order_of_their_declaration_and_carry_the_generation() -> None:
    found = status(owner=build.owner(generation=7), active=ACTIVE, candidate=candidate(*ALL_PASSED))
    order = [str(one) for one in ConditionType]
    assert [condition.type for condition in found.conditions] == order
    assert {condition.observed_generation for condition in found.conditions} == {7}
    assert found.observed_generation == 7


def test_the_transition_time_moves_only_when_a_status_flips() -> None:
    first = status(active=ACTIVE)
    owner = build.owner(status=dict(first), generation=2)
    second = status(owner=owner, active=ACTIVE, candidate=candidate(MISMATCH), now=LATER)
    times = {condition.type: condition.last_transition_time for condition in second.conditions}
    assert times["Available"] == build.NOW, "still available"
    assert times["Ready"] == LATER, "no longer ready"
    third = status(
        owner=build.owner(status=dict(second), generation=3),
        active=ACTIVE,
        candidate=candidate(gate("image", "Rejected", Reason.IMAGE_NOT_FOUND)),
        now=LATER + timedelta(minutes=5),
    )
    ready = next(condition for condition in third.conditions if condition.type == "Ready")
    assert (ready.reason, ready.last_transition_time) == ("ImageNotFound", LATER), "another reason is no flip"


GATES = st.lists(
    st.builds(
        gate,
        st.sampled_from(["lineage", "image", "environment", "readiness", "parity"]),
        st.sampled_from([str(outcome) for outcome in GateOutcome]),
        st.sampled_from(list(Reason)),
        st.sampled_from(["Enforce", "Audit"]),
    ),
    max_size=5,
    unique_by=lambda one: one.name,
)


@given(
    ready=st.integers(0, 2),
    active=st.sampled_from([None, ACTIVE]),
    checked=st.none() | GATES.map(lambda gates: candidate(*gates)),
    findings=GATES,
    holds=st.sampled_from([(), (PAUSED,), (CONFLICT,), (CONFLICT, PAUSED)]),
    present=st.none() | GATES,
)
def test_equal_situations_give_equal_statuses(
    ready: int, present: list[GateStatus] | None, checked: CandidateStatus | None, **changes: Any
) -> None:
    before = status(candidate=candidate(*present)) if present is not None else ModelDeploymentStatus()
    first = status(owner=build.owner(status=dict(before)), ready=ready, candidate=checked, **changes)
    owner = build.owner(status=dict(first))
    second = status(owner=owner, ready=ready, candidate=checked, now=LATER, **changes)
    assert second == first
    assert ModelDeploymentStatus.model_validate(first.payload()) == first, "what was written is what is read"
    assert transitions(owner, second) == []
    found = conditions(first)
    assert (found["Reconciling"][0], found["Stalled"][0]) != ("True", "True")
    assert found["Ready"][0] == "False" or found["Available"][0] == found["Promoted"][0] == "True"


# --- the rest ----------------------------------------------------------------------------------------------------------


def test_the_history_names_each_revision_once_newest_first_and_is_bounded() -> None:
    entries = [RevisionStatus(revision=f"r{n}") for n in range(12)]
    owner = build.owner(status={"active": ACTIVE, "history": entries[:10]})
    after = promoted_history(owner, RevisionStatus(revision="r3"))
    assert [entry.revision for entry in after] == [OF.revision, "r0", "r1", "r2", "r4", "r5", "r6", "r7", "r8", "r9"]
    assert promoted_history(build.owner(), ACTIVE) == []
    assert OF.revision not in [e.revision for e in promoted_history(owner, ACTIVE)], "the active one is no history"


def test_an_alias_shows_the_version_that_it_led_to() -> None:
    owner = build.owner(model={"name": "iris", "alias": "champion"})
    assert status(owner=owner, candidate=candidate()).model == "iris/champion=4"
    assert status(owner=owner, active=ACTIVE).model == "iris/champion=3"
    assert status(owner=owner, candidate=candidate(model_version=None)).model == "iris/champion"


def test_the_first_enforced_gate_that_has_not_passed_blocks() -> None:
    audited = gate("lineage", "Rejected", Reason.RUN_MISSING, "Audit")
    assert blocking(status(candidate=candidate(audited, gate("image"), MISMATCH))) == MISMATCH
    assert blocking(status(candidate=candidate(*ALL_PASSED))) is None
    assert blocking(status()) is None


def test_all_holds_are_shown_and_the_first_one_is_the_cause() -> None:
    after = status(candidate=candidate(*ALL_PASSED), holds=[CONFLICT, PAUSED])
    assert [(one.name, one.outcome, one.reason) for one in after.holds] == [
        ("name", GateOutcome.PENDING, "NameConflict"),
        ("pause", GateOutcome.PENDING, "Paused"),
    ]
    assert blocking(after) == after.holds[0]
    refused = status(candidate=candidate(MISMATCH), holds=[CONFLICT, PAUSED])
    assert blocking(refused) == MISMATCH, "lifting the holds would not help"
    assert status(owner=build.owner(status=dict(after)), candidate=candidate(*ALL_PASSED)).holds == []


# --- news --------------------------------------------------------------------------------------------------------------


def news(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[EventReason, bool]]:
    return [(one.reason, one.warning) for one in told(before, after)]


def told(before: dict[str, Any], after: dict[str, Any]) -> list[Any]:
    return transitions(build.owner(status=before), ModelDeploymentStatus().model_copy(update={"model": "iris/4"} | after))


CRASHING = gate("readiness", "Pending", Reason.POD_CRASHED)
CRASHED = gate("readiness", "Rejected", Reason.POD_CRASHED)
UNREACHABLE = gate("lineage", "Retry", Reason.REGISTRY_UNREACHABLE)
STARTED = (EventReason.CANDIDATE_STARTED, False)
BLOCKED = (EventReason.PROMOTION_BLOCKED, True)
WAITING = (EventReason.PROMOTION_WAITING, True)
PROMOTED = (EventReason.PROMOTED, False)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {}, []),
        ({}, {"candidate": candidate(*ALL_PASSED)}, [STARTED]),
        ({}, {"candidate": candidate(revision=None)}, []),
        ({}, {"candidate": candidate(MISMATCH)}, [STARTED, BLOCKED]),
        ({"candidate": candidate(*ALL_PASSED)}, {"candidate": candidate(MISMATCH)}, [BLOCKED]),
        ({"candidate": candidate(MISMATCH)}, {"candidate": candidate(MISMATCH)}, []),
        ({"candidate": candidate(MISMATCH)}, {"candidate": candidate(UNREACHABLE)}, [WAITING]),
        ({"candidate": candidate(UNREACHABLE)}, {"candidate": candidate(UNREACHABLE)}, []),
        ({"candidate": candidate(CRASHING)}, {"candidate": candidate(CRASHED)}, [BLOCKED]),
        ({"candidate": candidate()}, {"candidate": candidate(CRASHING)}, []),
        (
            {"candidate": candidate(MISMATCH)},
            {"candidate": candidate(MISMATCH, spec_hash="s2", revision="r2")},
            [STARTED, BLOCKED],
        ),
        ({"candidate": candidate(MISMATCH)}, {"candidate": candidate(MISMATCH, spec_hash="retried")}, [BLOCKED]),
        (
            {"candidate": candidate(MISMATCH)},
            {"candidate": candidate(MISMATCH, revision="r5", model_version="5")},
            [STARTED, BLOCKED],
        ),
        ({"candidate": candidate(*ALL_PASSED)}, {"active": ACTIVE}, [PROMOTED]),
        ({"active": ACTIVE}, {"active": ACTIVE}, []),
        ({"active": ACTIVE}, {"active": None}, []),
    ],
)
def test_a_transition_is_told_once(before: dict[str, Any], after: dict[str, Any], expected: Any) -> None:
    assert news(before, after) == expected


def test_what_serves_no_longer_as_promoted_is_told_once_an_episode() -> None:
    well, bad = status(active=ACTIVE), next_status(build.owner(), observed(ready=0), status_input(active=ACTIVE), LATER)
    (first,) = transitions(build.owner(status=dict(well)), bad)
    assert (first.reason, first.warning) == (EventReason.ACTIVE_DEGRADED, True)
    assert first.note == "PodsNotReady: The active revision has no ready pods."
    assert transitions(build.owner(status=dict(bad)), bad) == []
    assert transitions(build.owner(status=dict(bad)), well) == []
    (same,) = transitions(build.owner(status=dict(well)), bad)
    assert same.key == first.key, "told again by the process that comes after a crash it is one event"
    healed = next_status(build.owner(status=dict(bad)), observed(), status_input(active=ACTIVE), LATER)
    (second,) = transitions(build.owner(status=dict(healed)), bad)
    assert second.key != first.key


def test_pods_that_are_not_ready_because_more_were_asked_for_are_no_news() -> None:
    none = status(owner=build.owner(replicas=0), active=ACTIVE, ready=0)
    assert transitions(build.owner(status=dict(none), generation=2), status(active=ACTIVE, ready=0)) == []


def test_a_finding_in_audit_mode_is_no_news_of_a_block() -> None:
    audited = gate("environment", "Rejected", Reason.ENVIRONMENT_MISMATCH, "Audit")
    assert news({"candidate": candidate()}, {"candidate": candidate(audited)}) == []


def test_the_same_transition_has_the_same_key_and_another_one_another() -> None:
    def key(*gates: GateStatus, **changes: Any) -> str:
        (found,) = told({"candidate": candidate(**changes)}, {"candidate": candidate(*gates, **changes)})
        return str(found.key)

    keys = [
        key(MISMATCH),
        key(gate("lineage", "Rejected", Reason.RUN_MISSING)),
        key(MISMATCH, spec_hash="another"),
        key(MISMATCH, policy_hash="sha256:another"),
        key(MISMATCH, model_version="5"),
        key(gate("environment", "Retry", Reason.ENVIRONMENT_MISMATCH)),
    ]
    assert key(MISMATCH) == keys[0]
    assert len(set(keys)) == len(keys)


def test_notes_say_what_happened_to_what() -> None:
    started, blocked = told({}, {"candidate": candidate(MISMATCH, image="registry/iris@sha256:1")})
    assert started.note == "revision new is being checked: iris/4 in image registry/iris@sha256:1"
    assert blocked.note == "environment gate: said"
    (promoted,) = told({}, {"active": ACTIVE})
    assert promoted.note == f"revision {OF.revision} is active: iris/4 in image {OF.image}"
    assert promoted.key == "promoted-iris-record"


def test_going_back_to_an_earlier_spec_is_told_again() -> None:
    refused = gate("environment", "Rejected", Reason.ENVIRONMENT_MISMATCH)
    after = status(candidate=candidate(refused, revision="aaa"))
    first, later = (transitions(build.owner(generation=number), after) for number in (1, 3))
    assert [news.reason for news in first] == [news.reason for news in later]
    assert not {news.key for news in first} & {news.key for news in later}
