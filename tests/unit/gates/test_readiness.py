"""The readiness gate: one test for every reason, and its deadlines."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.api.modeldeployment import GateOutcome
from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.api.reasons import Reason
from lockstep.gates import readiness as gate
from lockstep.gates.gate import Result
from tests.fakes import builders as build

DEADLINE = timedelta(seconds=600)


def judged(*, late: bool = False, **changes: Any) -> Result:
    return gate.GATE.evaluate(
        build.evidence(pods=build.candidate(**changes), now=build.NOW + (DEADLINE if late else timedelta()))
    )


def one(**changes: Any) -> dict[str, Any]:
    """Return one good pod and one with changes, so that `any` and `all` can't be mixed up unseen."""
    return {"pods": (build.pod("iris-1"), build.pod("iris-2", **changes))}


def test_ready_and_audited_pods_pass_and_are_counted() -> None:
    result = judged()
    assert result.outcome is GateOutcome.PASSED
    assert result.message == "2 pods are ready and answered 6 predictions"


def test_pods_that_passed_in_time_stay_passed_after_the_deadline() -> None:
    assert judged(late=True).outcome is GateOutcome.PASSED


def test_without_pods_it_waits() -> None:
    result = gate.GATE.evaluate(build.evidence(pods=None))
    assert (result.outcome, result.reason) == (GateOutcome.PENDING, Reason.WAITING)


def test_without_a_policy_it_waits() -> None:
    result = gate.GATE.evaluate(build.evidence(policy=build.unknown(Reason.POLICY_MISSING, retry=False)))
    assert (result.outcome, result.reason) == (GateOutcome.PENDING, Reason.WAITING)


@pytest.mark.parametrize(
    ("changes", "reason", "early", "late"),
    [
        (one(tampered="its image is evil"), Reason.POD_TAMPERED, GateOutcome.REJECTED, GateOutcome.REJECTED),
        (
            {"audits": (build.audit("iris-1"), build.audit("iris-2", passed=False, failure="it answered 500"))},
            Reason.AUDIT_FAILED,
            GateOutcome.REJECTED,
            GateOutcome.REJECTED,
        ),
        (one(restarts=1, terminated_reason="Error"), Reason.POD_CRASHED, GateOutcome.PENDING, GateOutcome.REJECTED),
        (one(restarts=3), Reason.POD_CRASHED, GateOutcome.REJECTED, GateOutcome.REJECTED),
        (one(phase="Failed", ready=False), Reason.POD_CRASHED, GateOutcome.PENDING, GateOutcome.REJECTED),
        ({"refused": "exceeded quota: team", "pods": ()}, Reason.QUOTA_EXCEEDED, GateOutcome.RETRY, GateOutcome.RETRY),
        (one(ready=False, unschedulable="0/3 nodes"), Reason.PODS_UNSCHEDULABLE, GateOutcome.RETRY, GateOutcome.RETRY),
        (
            one(ready=False, waiting_reason="ImagePullBackOff", waiting_message="403"),
            Reason.IMAGE_PULL_FAILED,
            GateOutcome.PENDING,
            GateOutcome.REJECTED,
        ),
        ({"pods": (build.pod("iris-1"),)}, "starting", GateOutcome.PENDING, GateOutcome.REJECTED),
        (one(ready=False, waiting_reason="ContainerCreating"), "starting", GateOutcome.PENDING, GateOutcome.REJECTED),
        (one(image_id=""), "starting", GateOutcome.PENDING, GateOutcome.REJECTED),
        ({"audits": (build.audit("iris-1"),)}, Reason.AUDITING, GateOutcome.PENDING, GateOutcome.PENDING),
        (
            {"audits": (build.audit("iris-1"), build.audit("iris-2", passed=False, unreachable=True, failure="timeout"))},
            Reason.PROBE_FAILED,
            GateOutcome.RETRY,
            GateOutcome.REJECTED,
        ),
    ],
)
def test_every_finding_has_its_reason_before_and_after_the_deadline(
    changes: dict[str, Any], reason: Reason | str, early: GateOutcome, late: GateOutcome
) -> None:
    before, after = judged(**changes), judged(late=True, **changes)
    reasons = (Reason.PODS_STARTING, Reason.POD_NOT_READY) if reason == "starting" else (reason, reason)
    assert (before.outcome, before.reason) == (early, reasons[0])
    assert (after.outcome, after.reason) == (late, reasons[1])
    for result in (before, after):
        assert result.final == (result.outcome is GateOutcome.REJECTED)


@pytest.mark.parametrize("late", [False, True])
def test_an_audit_that_has_not_ended_in_time_has_a_reason_of_its_own_and_names_the_knobs(late: bool) -> None:
    failure = {"passed": False, "answered": 12, "late": True, "failure": "answered 12 of 30 predictions within 120 s"}
    audits = (build.audit("iris-1"), build.audit("iris-2", advice="raise readiness.deadlineSeconds", **failure))
    result = judged(late=late, audits=audits)
    assert (result.outcome, result.reason, result.final) == (GateOutcome.REJECTED, Reason.AUDIT_TIMEOUT, True)
    assert result.message == "pod iris-2: answered 12 of 30 predictions within 120 s"
    assert "raise readiness.deadlineSeconds" in str(result.next_step)


def test_progress_counts_the_pods_that_are_ready_and_audited() -> None:
    pods = tuple(build.pod(f"iris-{number}") for number in range(12))
    audits = (*(build.audit(f"iris-{number}") for number in range(5)), build.audit("iris-gone"))
    assert judged(pods=pods, audits=audits, wanted=12).message == "5 of 12 pods are audited"


def test_what_would_help_is_said_where_the_audit_knows_it() -> None:
    failed = build.audit("iris-2", passed=False, failure="it answered 422", advice="set server.custom.predictBody")
    assert "set server.custom.predictBody" in str(judged(audits=(build.audit("iris-1"), failed)).next_step)
    slow = build.audit("iris-2", passed=False, unreachable=True, failure="too slow", advice="make the server faster")
    assert "make the server faster" in str(judged(audits=(build.audit("iris-1"), slow), late=True).next_step)


@pytest.mark.parametrize("late", [False, True])
def test_what_an_unready_pod_answers_to_its_probe_is_told(late: bool) -> None:
    unready = {"iris-2": "GET /ping was answered with 404"}
    result = judged(late=late, unready=unready, **one(ready=False))
    assert result.message.endswith(": pod iris-2: GET /ping was answered with 404")
    if late:
        assert "compare spec.server (port, protocol, model name, readyPath)" in str(result.next_step)


def test_a_refusal_at_the_deadline_waits_for_the_answer_that_says_why() -> None:
    result = judged(late=True, unready={"iris-2": ""}, **one(ready=False))
    assert (result.outcome, result.reason, result.final) == (GateOutcome.PENDING, Reason.PODS_STARTING, False)


def test_a_final_refusal_says_how_to_try_again() -> None:
    result = judged(**one(tampered="its image is evil"))
    assert result.next_step is not None
    assert "spec.retry" in result.next_step


def test_the_reason_of_a_crash_is_told() -> None:
    result = judged(**one(restarts=3, terminated_reason="OOMKilled", exit_code=137))
    assert result.message == "the server in pod iris-2 ended 3 times (OOMKilled, exit code 137)"


@pytest.mark.parametrize(("told", "message"), [("403 Forbidden", "403 Forbidden"), (None, "ErrImagePull")])
def test_why_an_image_can_not_be_pulled_is_told_as_far_as_the_node_says_it(told: str | None, message: str) -> None:
    result = judged(**one(ready=False, waiting_reason="ErrImagePull", waiting_message=told))
    assert result.message == f"pod iris-2: {message}"


@pytest.mark.parametrize("wanted", [0, 1])
def test_a_candidate_without_pods_has_proven_nothing(wanted: int) -> None:
    assert judged(wanted=wanted, pods=(), audits=()).outcome is GateOutcome.PENDING


def test_audits_of_pods_that_are_gone_prove_nothing() -> None:
    assert judged(audits=(build.audit("iris-8"), build.audit("iris-9"))).reason is Reason.AUDITING


@pytest.mark.parametrize(("own", "effective"), [(None, 600), (60, 60), (6000, 600)])
def test_the_users_deadline_may_only_be_tighter(own: int | None, effective: int) -> None:
    spec = build.spec(readiness={"deadlineSeconds": own} if own else {})
    assert gate.effective_deadline(spec.readiness, build.policy().spec.readiness) == effective


@pytest.mark.parametrize(("own", "effective"), [(None, 3), (10, 10), (1, 3)])
def test_the_users_number_of_requests_may_only_be_higher(own: int | None, effective: int) -> None:
    spec = build.spec(readiness={"requests": own} if own else {})
    assert gate.effective_requests(spec.readiness, build.policy(readiness={"requests": 3}).spec.readiness) == effective


def test_the_users_own_deadline_ends_the_wait() -> None:
    spec = build.spec(readiness={"deadlineSeconds": 60})
    waiting = build.candidate(pods=())
    just_before = gate.GATE.evaluate(build.evidence(spec=spec, pods=waiting, now=build.NOW + timedelta(seconds=59)))
    at_the_deadline = gate.GATE.evaluate(build.evidence(spec=spec, pods=waiting, now=build.NOW + timedelta(seconds=60)))
    assert just_before.reason is Reason.PODS_STARTING
    assert at_the_deadline.reason is Reason.POD_NOT_READY


# --- what a pod that is not ready said -----------------------------------------------------------------------------------


def test_what_a_pod_answered_at_its_deadline_is_told() -> None:
    said = "GET /ping on port 9000: connection refused"
    result = judged(late=True, unready={"iris-2": said}, **one(ready=False))
    assert result.message == f"1 of 2 pods are ready after 600 s: pod iris-2: {said}"
    assert "spec.server" in str(result.next_step)
    assert "log" not in str(result.next_step), "which is gone with the pod"


def test_why_a_pod_has_not_started_is_told_with_what_the_node_says() -> None:
    waits = one(ready=False, waiting_reason="CreateContainerConfigError", waiting_message="image will run as root")
    assert judged(late=True, **waits).message.endswith("pod iris-2: CreateContainerConfigError: image will run as root")
    assert judged(**waits).message == "1 of 2 pods are ready (CreateContainerConfigError)", "seconds would make new statuses"


PODS = st.builds(
    build.pod,
    st.sampled_from(["iris-1", "iris-2", "iris-3"]),
    ready=st.booleans(),
    phase=st.sampled_from(["Pending", "Running", "Failed"]),
    image_id=st.sampled_from(["", build.DIGEST, f"sha256:{'9' * 64}"]),
    restarts=st.integers(0, 4),
    waiting_reason=st.sampled_from([None, "ImagePullBackOff", "CrashLoopBackOff"]),
    unschedulable=st.sampled_from([None, "no room"]),
    tampered=st.sampled_from([None, "changed"]),
)
AUDITS = st.builds(
    build.audit,
    st.sampled_from(["iris-1", "iris-2", "iris-3"]),
    passed=st.booleans(),
    unreachable=st.booleans(),
)


@given(
    wanted=st.integers(0, 3),
    pods=st.lists(PODS, max_size=3, unique_by=lambda pod: pod.name).map(tuple),
    audits=st.lists(AUDITS, max_size=3, unique_by=lambda audit: audit.pod).map(tuple),
    refused=st.sampled_from([None, "exceeded quota: pods"]),
    late=st.booleans(),
)
def test_it_passes_only_when_all_wanted_pods_are_ready_unchanged_and_audited(late: bool, **parts: Any) -> None:
    result = judged(late=late, **parts)
    if result.outcome is GateOutcome.PASSED:
        ready = [pod for pod in parts["pods"] if pod.ready]
        passed = {audit.pod for audit in parts["audits"] if audit.passed and not audit.unreachable}
        assert len(ready) >= max(1, parts["wanted"])
        assert all(pod.name in passed and pod.image_id == build.DIGEST for pod in ready)
        assert not any(pod.restarts or pod.tampered or pod.phase == "Failed" for pod in parts["pods"])


# --- what the nodes say that they run -----------------------------------------------------------------------------------

INDEX, CONFIG, STRANGE = (f"sha256:{digit * 64}" for digit in "123")
IMAGE = build.image(index_digest=INDEX, config_digest=CONFIG)


def running(image_id: str, image: Any = IMAGE, **changes: Any) -> Result:
    candidate = build.candidate(
        pods=(build.pod("iris-1", image_id=image_id), build.pod("iris-2", image_id=image_id)), **changes
    )
    return gate.GATE.evaluate(build.evidence(pods=candidate, image=image))


@pytest.mark.parametrize("digest", [build.DIGEST, INDEX, CONFIG], ids=["manifest", "index", "configuration"])
@pytest.mark.parametrize("form", ["{}", f"{build.REPOSITORY}@{{}}", "mirror.example.org/x@{}", "docker-pullable://x/y@{}"])
def test_each_digest_on_the_way_to_the_pinned_image_names_it(digest: str, form: str) -> None:
    assert running(form.format(digest)).outcome is GateOutcome.PASSED


def test_an_images_id_may_be_bare() -> None:
    assert running(CONFIG.removeprefix("sha256:")).outcome is GateOutcome.PASSED


OTHER_CONFIG = f"sha256:{'4' * 64}"


@pytest.mark.parametrize("unchanged", [False, True])
def test_a_manifest_of_another_configuration_is_another_image_whatever_the_pod_asks_for(unchanged: bool) -> None:
    other = build.image(digest=STRANGE, index_digest=None, config_digest=OTHER_CONFIG)
    pods = tuple(
        build.pod(name, image_id=f"{build.REPOSITORY}@{STRANGE}", unchanged=unchanged) for name in ("iris-1", "iris-2")
    )
    result = judged(pods=pods, reported={STRANGE: other})
    assert (result.outcome, result.reason, result.final) == (GateOutcome.REJECTED, Reason.POD_TAMPERED, True)
    assert STRANGE in result.message


@pytest.mark.parametrize("digest", [build.DIGEST, INDEX, CONFIG], ids=["manifest", "index", "configuration"])
def test_a_digest_that_nobody_can_read_is_unknown_and_never_final(digest: str) -> None:
    other = build.image(digest=STRANGE, index_digest=None, config_digest=OTHER_CONFIG)
    result = running(f"{build.REPOSITORY}@{digest}", other)
    assert (result.outcome, result.reason, result.final) == (GateOutcome.RETRY, Reason.IMAGE_UNVERIFIED, False)
    assert digest in result.message


@pytest.mark.parametrize(
    "image_id", ["x", f"{build.DIGEST}0", f"{build.DIGEST}@sha256:00", "sha512:00", f"{build.DIGEST}\n", "A" * 64]
)
def test_what_names_no_digest_never_passes(image_id: str) -> None:
    assert running(image_id).reason is Reason.IMAGE_UNVERIFIED


def test_an_image_that_the_node_got_by_another_index_is_the_same_when_its_configuration_is() -> None:
    same = build.image(digest=f"sha256:{'5' * 64}", index_digest=STRANGE, config_digest=CONFIG)
    assert running(STRANGE, reported={STRANGE: same}).outcome is GateOutcome.PASSED
    assert running(STRANGE, reported={CONFIG: same}).reason is Reason.IMAGE_UNVERIFIED


def test_an_index_that_leads_elsewhere_for_us_is_no_proof_of_what_the_node_has_chosen() -> None:
    other = build.image(index_digest=STRANGE, config_digest=OTHER_CONFIG)
    result = running(STRANGE, reported={STRANGE: other})
    assert (result.outcome, result.reason) == (GateOutcome.RETRY, Reason.IMAGE_UNVERIFIED)


def test_while_the_registry_can_not_tell_it_waits() -> None:
    down = build.unknown(Reason.IMAGE_REGISTRY_UNREACHABLE, retry=True)
    result = running(STRANGE, reported={STRANGE: down})
    assert (result.outcome, result.reason) == (GateOutcome.RETRY, Reason.IMAGE_REGISTRY_UNREACHABLE)
    gone = build.unknown(Reason.IMAGE_NOT_FOUND, retry=False)
    assert running(STRANGE, reported={STRANGE: gone}).reason is Reason.IMAGE_UNVERIFIED


@pytest.mark.parametrize("retry", [False, True])
def test_a_name_that_somebody_else_gave_the_image_blocks_no_pod_that_has_never_been_changed(retry: bool) -> None:
    unreadable = build.unknown(Reason.IMAGE_UNAUTHORIZED, retry=retry)
    pods = tuple(build.pod(name, image_id=f"evil.example.com/x@{STRANGE}", unchanged=True) for name in ("iris-1", "iris-2"))
    assert judged(pods=pods, reported={STRANGE: unreadable}).outcome is GateOutcome.PASSED
    assert judged(pods=pods).outcome is GateOutcome.PASSED
    one_changed = (pods[0], build.pod("iris-2", image_id=f"evil.example.com/x@{STRANGE}"))
    assert judged(pods=one_changed, reported={STRANGE: unreadable}).outcome is GateOutcome.RETRY


def test_one_pod_of_an_unknown_image_is_enough() -> None:
    assert judged(**one(image_id=STRANGE)).reason is Reason.IMAGE_UNVERIFIED


def test_pods_of_an_unknown_image_wait() -> None:
    result = running(build.DIGEST, build.unknown(Reason.IMAGE_REGISTRY_UNREACHABLE, retry=True))
    assert (result.outcome, result.reason) == (GateOutcome.PENDING, Reason.WAITING)


WRITABLE = build.policy(pods={"rootFilesystem": "Writable"})


def crashed(policy: PromotionPolicy | None = None, **changes: Any) -> str:
    pods = build.candidate(**one(restarts=3, **changes))
    result = gate.GATE.evaluate(build.evidence(policy=policy or build.policy(), pods=pods))
    assert result.reason is Reason.POD_CRASHED
    return str(result.next_step)


def test_a_server_that_says_that_it_could_not_write_is_told_which_knob_would_let_it() -> None:
    step = crashed(read_only=True)
    assert step.startswith("Next step: let it write below /tmp, or let the platform team set pods.rootFilesystem: Writable")
    assert "pods.rootFilesystem" not in crashed(WRITABLE, read_only=True)


def test_a_server_that_ends_without_saying_why_may_have_wanted_to_write() -> None:
    step = crashed()
    assert step.startswith("Next step: fix the server, build the image again; if it has to write elsewhere than to /tmp, ")
    assert "pods.rootFilesystem: Writable" in step
    assert crashed(WRITABLE) == "Next step: fix the server, build the image again, or raise spec.retry"


def test_an_answer_that_complains_of_a_read_only_file_system_names_the_knob() -> None:
    failure = "POST /invocations was answered with 500: [Errno 30] Read-only file system: '/app/cache'"
    audits = (build.audit("iris-1"), build.audit("iris-2", passed=False, failure=failure))
    assert "pods.rootFilesystem: Writable" in str(judged(audits=audits).next_step)
    other = (build.audit("iris-1"), build.audit("iris-2", passed=False, failure="it answered 500"))
    assert "pods.rootFilesystem" not in str(judged(audits=other).next_step)
