"""A candidate's way from being seen to being promoted."""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.api.modeldeployment import CandidateStatus, GateMode, GateOutcome, ModelDeployment
from lockstep.api.reasons import Reason
from lockstep.api.records import RecordOutcome
from lockstep.environment.comparison.compare import Difference, DifferenceKind
from lockstep.gates.chain import evaluate
from lockstep.gates.evidence import CandidatePods
from lockstep.gates.gate import Result
from lockstep.gates.hold import HoldName, hold
from lockstep.gates.verdict import Verdict
from lockstep.rollout import candidate as module
from lockstep.rollout.actions import Apply, Create, Delete, Scale
from lockstep.rollout.candidate import (
    CandidateInput,
    CandidatePins,
    CandidateStep,
    next_step,
    pinned_reference,
    previous_candidate,
    wanted_pods,
)
from lockstep.rollout.objects.revision import spec_hash
from lockstep.rollout.observed.observed import Observed
from lockstep.rollout.status.results import difference_statuses, gate_status
from tests.fakes import builders as build
from tests.fakes import live
from tests.fakes.live import snapshot

OF = snapshot()
PINS = CandidatePins(version="3", run_id=build.RUN, image=OF.image, digest=build.DIGEST)
PASSED = evaluate(build.evidence())
STARTING = evaluate(build.evidence(pods=None))
MISMATCH = evaluate(build.evidence(scan=build.scan(document=build.document({}))))
PAUSE = hold(HoldName.PAUSE, Reason.PAUSED, "spec.paused is true")
PAUSED = replace(PASSED, holds=(PAUSE,))
CRASHED = evaluate(build.evidence(pods=build.candidate(pods=(build.pod(restarts=5),))))
UNREACHABLE = evaluate(build.evidence(lineage=build.unknown(Reason.REGISTRY_UNREACHABLE)))
VERDICTS = {"passed": PASSED, "starting": STARTING, "mismatch": MISMATCH, "crashed": CRASHED, "unreachable": UNREACHABLE}


def seen(**changes: Any) -> CandidateStatus:
    found = CandidateStatus(spec_hash=spec_hash(build.spec()), start_time=build.NOW, revision=OF.revision, model_version="3")
    return found.model_copy(update=changes)


def situation(**changes: Any) -> CandidateInput:
    """Return a candidate whose pods are ready and paused and whose verdict has passed."""
    owner = changes.pop("owner", None) or build.owner(status={"candidate": seen(pods_since=build.NOW)})
    found = CandidateInput(
        owner=owner,
        policy=build.policy(),
        verdict=PASSED,
        pins=PINS,
        snapshot=OF,
        observed=live.cluster(owner, OF),
        now=build.NOW,
        recorded=True,
        pods_ready=2,
    )
    return replace(found, **changes)


def running(*, replicas: int = 2, paused: bool = True) -> Observed:
    owner = build.owner()
    return Observed(
        deployments={OF.revision: live.deployment(owner, OF, replicas=replicas, paused=paused)},
        revisions={OF.revision: live.controller_revision(owner, OF)},
    )


# --- the way up --------------------------------------------------------------------------------------------------------


def test_a_candidate_whose_gates_permit_gets_its_record_and_pods_and_the_wait_begins() -> None:
    step = next_step(situation(owner=build.owner(), verdict=STARTING, observed=Observed(), recorded=False, pods_ready=0))
    assert [type(action) for action in step.actions] == [Create, Create]
    revision, deployment = (action.body for action in step.actions if isinstance(action, Create))
    assert (revision["kind"], deployment["kind"]) == ("ControllerRevision", "Deployment")
    assert deployment["spec"]["replicas"] == 2
    assert "paused" not in deployment["spec"], "a paused Deployment makes no pods"
    assert step.candidate.pods_since == build.NOW
    assert not step.promote


def test_the_wait_for_pods_goes_on_from_where_it_began() -> None:
    step = next_step(situation(verdict=STARTING, recorded=False, pods_ready=0, now=build.NOW + timedelta(seconds=60)))
    assert step.candidate.pods_since == build.NOW
    assert step.actions == ()


def test_ready_pods_deployment_is_paused_against_edits_before_anything_else() -> None:
    step = next_step(situation(observed=running(paused=False), recorded=False))
    (action,) = step.actions
    assert isinstance(action, Apply)
    assert action.body["spec"]["paused"] is True
    assert action.resource_version == "100"
    assert step.record is None
    assert not step.promote


def test_a_passed_candidate_of_full_size_is_recorded_and_promoted_in_one_step() -> None:
    step = next_step(situation(recorded=False))
    assert step == CandidateStep(step.candidate, record=RecordOutcome.PROMOTED, promote=True)


def test_a_recorded_candidate_is_promoted_once_all_its_pods_are_ready() -> None:
    assert next_step(situation()).promote
    assert not next_step(situation(pods_ready=1)).promote


def test_a_smaller_candidate_is_recorded_then_scaled_then_promoted() -> None:
    policy = build.policy(rollout={"candidateReplicas": 1})
    small = next_step(situation(policy=policy, observed=running(replicas=1), recorded=False, pods_ready=1))
    assert (small.record, small.promote, small.actions) == (RecordOutcome.PROMOTED, False, ())
    grown = next_step(situation(policy=policy, observed=running(replicas=1), pods_ready=1))
    assert grown.actions == (Scale(OF.object_name, 2),)
    assert not grown.promote
    assert next_step(situation(policy=policy)).promote


def test_pods_that_are_added_after_the_checks_have_a_whole_deadline_for_themselves() -> None:
    later = build.NOW + timedelta(seconds=590)
    policy = build.policy(rollout={"candidateReplicas": 1})
    step = next_step(situation(policy=policy, observed=running(replicas=1), recorded=False, pods_ready=1, now=later))
    assert step.candidate.pods_since == later


def test_pods_that_are_missing_at_the_last_moment_stop_the_promotion() -> None:
    step = next_step(situation(recorded=False, pods_ready=1))
    assert (step.promote, step.record) == (False, None), "a record of a promotion is believed after a restart"


@pytest.mark.parametrize(
    ("replicas", "limit", "recorded", "wanted"),
    [(5, None, False, 5), (5, None, True, 5), (5, 1, False, 1), (5, 1, True, 5), (2, 9, False, 2), (0, None, True, 1)],
)
def test_how_many_pods_a_candidate_runs(replicas: int, limit: int | None, recorded: bool, wanted: int) -> None:
    policy = build.policy(rollout={"candidateReplicas": limit} if limit else {})
    assert wanted_pods(build.owner(replicas=replicas), policy, recorded=recorded) == wanted


# --- what holds it back ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{"verdict": PAUSED}, {"policy": None}, {"snapshot": None}, {"verdict": UNREACHABLE}])
def test_what_is_held_or_unknown_starts_nothing(changes: dict[str, Any]) -> None:
    step = next_step(situation(owner=build.owner(), observed=Observed(), recorded=False, **changes))
    assert (step.actions, step.promote, step.candidate.pods_since) == ((), False, None)


def test_a_refusal_is_recorded_and_leaves_the_pods_alone_while_it_is_not_final() -> None:
    step = next_step(situation(verdict=MISMATCH))
    assert (step.record, step.promote, step.actions) == (RecordOutcome.REFUSED, False, ())
    assert not step.candidate.final
    assert step.candidate.blocked_since == build.NOW


def test_a_refusal_without_pins_has_nothing_to_record() -> None:
    assert next_step(situation(verdict=MISMATCH, snapshot=None)).record is None


def test_a_final_refusal_withdraws_the_deployment() -> None:
    step = next_step(situation(verdict=CRASHED))
    assert step.candidate.final
    assert step.candidate.pods_since is None
    assert step.actions == (Delete("Deployment", OF.object_name, f"deployment-{OF.revision}"),)
    assert step.record == RecordOutcome.REFUSED


def after_final(**changes: Any) -> CandidateInput:
    refused = next_step(situation(verdict=CRASHED)).candidate
    owner = build.owner(status={"candidate": refused}, **changes)
    return situation(owner=owner, verdict=STARTING, observed=Observed(), recorded=False, pods_ready=0)


def test_a_finally_refused_candidate_is_not_tried_again_by_itself() -> None:
    before = after_final()
    step = next_step(before)
    assert (step.actions, step.promote) == ((), False)
    assert step.candidate == before.owner.status.candidate, "why it was refused stays to be read, and nothing is written"


def test_what_is_left_of_a_finally_refused_candidate_is_withdrawn_again() -> None:
    step = next_step(replace(after_final(), observed=running()))
    assert [type(action) for action in step.actions] == [Delete]


def test_a_raised_retry_tries_a_finally_refused_candidate_again() -> None:
    step = next_step(after_final(retry=1))
    assert [type(action) for action in step.actions] == [Create, Create]
    assert not step.candidate.final


def test_another_policy_tries_a_finally_refused_candidate_again() -> None:
    step = next_step(replace(after_final(), verdict=replace(STARTING, policy_hash="sha256:other")))
    assert [type(action) for action in step.actions] == [Create, Create]
    assert not step.candidate.final


def test_another_version_behind_the_alias_is_another_candidate() -> None:
    before = after_final()
    step = next_step(replace(before, pins=replace(PINS, version="4"), snapshot=snapshot(version="4")))
    assert not step.candidate.final
    assert step.actions


# --- for all situations ------------------------------------------------------------------------------------------------

OUTCOMES = st.sampled_from(list(GateOutcome))
RESULTS = st.builds(
    Result,
    st.sampled_from(["lineage", "image", "environment", "readiness"]),
    OUTCOMES,
    st.just(Reason.PASSED),
    st.just("said"),
    mode=st.sampled_from([GateMode.ENFORCE, GateMode.AUDIT]),
    final=st.booleans(),
)
ANY_VERDICT = st.builds(
    Verdict,
    st.lists(RESULTS, max_size=4, unique_by=lambda result: result.gate).map(tuple),
    st.just("sha256:p"),
    st.just(build.NOW),
    holds=st.sampled_from([(), (PAUSE,)]),
)


@given(
    verdict=st.one_of(st.sampled_from(list(VERDICTS.values())), ANY_VERDICT),
    observed=st.one_of(st.just(Observed()), st.builds(running, replicas=st.integers(0, 3), paused=st.booleans())),
    recorded=st.booleans(),
    pods_ready=st.integers(0, 3),
    policy=st.sampled_from([None, build.policy(), build.policy(rollout={"candidateReplicas": 1})]),
    snapshot=st.sampled_from([None, OF]),
    replicas=st.integers(0, 3),
    final=st.booleans(),
)
def test_no_step_promotes_without_a_passing_verdict_a_record_and_ready_pods(replicas: int, final: bool, **parts: Any) -> None:
    owner = build.owner(replicas=replicas, status={"candidate": seen(final=final)})
    step = next_step(situation(owner=owner, **parts))
    if step.promote:
        assert parts["verdict"].permits_traffic
        assert parts["recorded"] or step.record == RecordOutcome.PROMOTED
        assert parts["pods_ready"] >= max(1, replicas)
        assert parts["observed"].deployments[OF.revision]["spec"]["paused"]
        assert parts["snapshot"] is not None
        assert step.actions == ()
    if step.record == RecordOutcome.PROMOTED:
        assert parts["verdict"].permits_traffic
        assert parts["pods_ready"] >= wanted_pods(owner, parts["policy"], recorded=parts["recorded"])
    if any(isinstance(action, Create | Scale | Apply) for action in step.actions):
        assert parts["verdict"].permits_pods
    assert next_step(situation(owner=owner, **parts)) == step


@given(verdict=ANY_VERDICT, later=st.integers(1, 10_000))
def test_a_situation_that_does_not_change_gives_the_same_status(verdict: Verdict, later: int) -> None:
    first = next_step(situation(verdict=verdict)).candidate
    now = build.NOW + timedelta(seconds=later)
    status = {"candidate": first, "holds": [gate_status(hold) for hold in verdict.holds]}
    again = next_step(situation(owner=build.owner(status=status), verdict=verdict, now=now)).candidate
    assert again.model_copy(update={"pods_since": None}) == first.model_copy(update={"pods_since": None})


def walked(owner: ModelDeployment, most: int = 20) -> list[CandidateStep]:
    """Play API server and nodes until a candidate is promoted."""
    policy, observed, recorded, ready = build.policy(rollout={"candidateReplicas": 1}), Observed(), False, 0
    steps: list[CandidateStep] = []
    for _ in range(most):
        live_one = observed.deployments.get(OF.revision)
        wanted = wanted_pods(owner, policy, recorded=recorded)
        ready = live_one["spec"]["replicas"] if live_one else 0
        pods = tuple(build.pod(f"iris-{n}") for n in range(ready))
        audits = tuple(build.audit(pod.name) for pod in pods)
        known = CandidatePods(wanted, build.NOW, pods, audits) if live_one else None
        verdict = evaluate(build.evidence(spec=owner.spec, policy=policy, pods=known))
        step = next_step(CandidateInput(owner, policy, verdict, PINS, OF, observed, build.NOW, recorded, ready))
        steps.append(step)
        if step.promote:
            return steps
        recorded = recorded or step.record == RecordOutcome.PROMOTED
        owner = owner.model_copy(update={"status": owner.status.model_copy(update={"candidate": step.candidate})})
        for action in step.actions:
            match action:
                case Create({"kind": "Deployment", "spec": {"replicas": replicas}}):
                    observed = replace(running(replicas=replicas, paused=False), revisions=observed.revisions)
                case Create(_):
                    observed = replace(observed, revisions={OF.revision: live.controller_revision(owner, OF)})
                case Scale(_, replicas):
                    observed = running(replicas=replicas)
                case Apply(body, _):
                    observed = running(replicas=body["spec"]["replicas"])
                case _:
                    raise AssertionError(action)
    raise AssertionError("never promoted")


@pytest.mark.parametrize("replicas", [0, 1, 3])
def test_a_good_candidate_is_promoted_in_a_few_steps_of_which_only_the_last_gives_traffic(replicas: int) -> None:
    steps = walked(build.owner(replicas=replicas))
    assert [step.promote for step in steps] == [False] * (len(steps) - 1) + [True]
    assert len(steps) <= 5


# --- its status --------------------------------------------------------------------------------------------------------


def test_a_candidate_is_carried_over_until_spec_or_alias_ask_for_another() -> None:
    present = seen()
    owner = build.owner(status={"candidate": present}, replicas=7, paused=True)
    assert previous_candidate(owner, "3", build.NOW) == present
    assert previous_candidate(owner, None, build.NOW) == present
    moved = previous_candidate(owner, "4", build.NOW + timedelta(1))
    assert moved == CandidateStatus(spec_hash=present.spec_hash, start_time=build.NOW + timedelta(1))
    other = previous_candidate(build.owner(status={"candidate": present}, retry=1), "3", build.NOW)
    assert other.revision is None
    unpinned = seen(model_version=None)
    assert previous_candidate(build.owner(status={"candidate": unpinned}), "4", build.NOW) == unpinned


def test_what_is_pinned_stays_pinned_while_a_dependency_can_not_tell() -> None:
    pinned = next_step(situation()).candidate
    owner = build.owner(status={"candidate": pinned})
    lost = next_step(situation(owner=owner, verdict=UNREACHABLE, pins=CandidatePins(), snapshot=None)).candidate
    for field in ("revision", "model_version", "run_id", "image", "image_digest", "short_digest"):
        assert getattr(lost, field) == getattr(pinned, field) is not None


def test_a_hold_is_a_wait_and_lifts_no_refusal_that_a_dependency_keeps_from_being_judged_anew() -> None:
    held = next_step(situation(verdict=PAUSED)).candidate
    assert (held.blocked_since, held.waiting_since) == (None, build.NOW)
    blocked = next_step(situation(verdict=MISMATCH)).candidate
    both = replace(UNREACHABLE, holds=(PAUSE,))
    later = build.NOW + timedelta(seconds=60)
    waiting = next_step(situation(owner=build.owner(status={"candidate": blocked}), verdict=both, now=later)).candidate
    assert (waiting.blocked_since, waiting.waiting_since) == (build.NOW, later)


def test_a_refusal_and_a_wait_say_since_when() -> None:
    blocked = next_step(situation(verdict=MISMATCH)).candidate
    assert (blocked.blocked_since, blocked.waiting_since) == (build.NOW, None)
    later = build.NOW + timedelta(seconds=60)
    still = next_step(situation(owner=build.owner(status={"candidate": blocked}), verdict=MISMATCH, now=later)).candidate
    assert still.blocked_since == build.NOW
    waiting = next_step(situation(owner=build.owner(status={"candidate": still}), verdict=UNREACHABLE, now=later)).candidate
    assert (waiting.blocked_since, waiting.waiting_since) == (build.NOW, later), (
        "a dependency that does not answer lifts no refusal"
    )
    again = next_step(situation(owner=build.owner(status={"candidate": waiting}), verdict=MISMATCH, now=later)).candidate
    assert (again.blocked_since, again.waiting_since) == (build.NOW, None)
    going = next_step(situation(owner=build.owner(status={"candidate": waiting}))).candidate
    assert (going.blocked_since, going.waiting_since) == (None, None)


def test_who_was_never_refused_is_not_blocked_by_a_wait() -> None:
    waiting = next_step(situation(verdict=UNREACHABLE)).candidate
    assert (waiting.blocked_since, waiting.waiting_since) == (None, build.NOW)


def test_another_wait_begins_anew() -> None:
    first = next_step(situation(verdict=UNREACHABLE)).candidate
    later = build.NOW + timedelta(seconds=60)
    owner = build.owner(status={"candidate": first})
    assert next_step(situation(owner=owner, verdict=STARTING, now=later)).candidate.waiting_since == later


def test_a_finding_in_audit_mode_does_not_restart_the_wait_behind_it() -> None:
    policy = build.policy(gates={"environment": "Audit"})
    audited = evaluate(build.evidence(policy=policy, scan=build.scan(document=build.document({})), pods=None))
    first = next_step(situation(policy=policy, verdict=audited)).candidate
    assert first.waiting_since == build.NOW
    later = build.NOW + timedelta(seconds=60)
    again = next_step(
        situation(owner=build.owner(status={"candidate": first}), policy=policy, verdict=audited, now=later)
    ).candidate
    assert again.waiting_since == build.NOW


def test_gate_messages_end_with_the_next_step_and_fit_the_api() -> None:
    result = Result("image", GateOutcome.REJECTED, Reason.IMAGE_LACKS_VERSION, "cause", next_step="do this")
    assert gate_status(result).message == "cause. do this"
    assert len(gate_status(replace(result, message="x" * 5000)).message) == 1024


def test_differences_are_bounded() -> None:
    one = Difference(DifferenceKind.PACKAGE, "p" * 500, "1" * 500, None, "s" * 5000)
    result = Result("environment", GateOutcome.REJECTED, Reason.ENVIRONMENT_MISMATCH, "m", differences=(one,) * 50)
    shown = difference_statuses(Verdict((result,), "", build.NOW))
    assert len(shown) == 20
    assert {len(shown[0].subject), len(shown[0].trained or ""), len(shown[0].message)} == {256, 1024}
    assert shown[0].image is None
    assert difference_statuses(PASSED) == []


def test_an_activated_candidate_keeps_its_pins_and_names_its_record() -> None:
    found = next_step(situation()).candidate
    active = module.activate(found, record="iris-record", now=build.NOW + timedelta(1))
    assert (active.record, active.start_time) == ("iris-record", build.NOW + timedelta(1))
    assert (active.revision, active.run_id, active.image) == (OF.revision, build.RUN, OF.image)
    assert active.evaluated_policy_hash == active.policy_hash == PASSED.policy_hash
    assert "gates" not in active.payload()


@pytest.mark.parametrize("digest", [None, build.DIGEST])
def test_short_digests_are_for_people(digest: str | None) -> None:
    assert module.short(digest) == (None if digest is None else "a" * 12)


def test_all_pairs_of_verdicts_leave_a_status_that_can_be_written() -> None:
    for first, second in itertools.product(VERDICTS.values(), repeat=2):
        one = next_step(situation(verdict=first)).candidate
        two = next_step(situation(owner=build.owner(status={"candidate": one}), verdict=second)).candidate
        payload: Mapping[str, Any] = two.payload()
        assert CandidateStatus.model_validate(payload) == two


@pytest.mark.parametrize(
    ("pinned", "wanted", "resolved"),
    [
        (None, "r.example.com/iris:1", "r.example.com/iris:1"),
        ("r.example.com/iris@sha256:aa", "r.example.com/iris:1", "r.example.com/iris@sha256:aa"),
        ("r.example.com:5000/iris@sha256:aa", "r.example.com:5000/iris@sha256:bb", "r.example.com:5000/iris@sha256:aa"),
        ("r.example.com/other@sha256:aa", "r.example.com/iris:1", "r.example.com/iris:1"),
    ],
)
def test_a_pin_is_followed_within_the_repository_that_the_spec_names(pinned: str | None, wanted: str, resolved: str) -> None:
    assert pinned_reference(CandidateStatus(image=pinned), wanted) == resolved
