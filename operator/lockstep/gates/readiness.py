"""Gate: the candidate's pods are the pods that were asked for, are ready without restarts, and answer the audit."""

from datetime import timedelta

from lockstep.api.modeldeployment import GateOutcome, ReadinessSpec
from lockstep.api.promotionpolicy import ReadinessPolicy
from lockstep.api.reasons import Reason
from lockstep.gates.evidence import CandidatePods, Evidence, Fact, PodFact, Unknown
from lockstep.gates.outcome import Result
from lockstep.gates.questions import asks_nothing, unaskable
from lockstep.images.image import ResolvedImage, digests_of
from lockstep.images.reference import reported_digest

NAME = "readiness"
NO_ROOM = (Reason.QUOTA_EXCEEDED, Reason.PODS_UNSCHEDULABLE)
"""Reasons of waiting for capacity, which is no fault of the candidate's."""
_PULL_REASONS = ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull")
_CRASH_RESTARTS = 3


def evaluate(evidence: Evidence) -> Result:
    """Judge the candidate's pods and their audit."""
    if isinstance(evidence.policy, Unknown):
        return _waiting("the policy has to be known first")
    refused = _unaskable(evidence)
    if refused is not None:
        return refused
    pods = evidence.candidate
    if pods is None:
        return _waiting("the candidate's pods are started once the gates before have passed")
    deadline = effective_deadline(evidence)
    late = evidence.now - pods.since >= timedelta(seconds=deadline)
    return (
        _tampered(pods)
        or _failed_audit(pods)
        or _crashed(pods, late=late)
        or _no_room(pods)
        or _not_pulled(pods, late=late)
        or _not_ready(pods, deadline, late=late)
        or _other_image(pods, evidence.image)
        or _audited(pods, evidence, late=late)
    )


def effective_deadline(evidence: Evidence) -> int:
    """Return the deadline in seconds: the policy's, or the user's where it is tighter."""
    assert not isinstance(evidence.policy, Unknown)
    return tighter_deadline(evidence.spec.readiness, evidence.policy.spec.readiness)


def tighter_deadline(own: ReadinessSpec, policy: ReadinessPolicy) -> int:
    """Return the deadline in seconds: the policy's, or the user's where it is tighter."""
    return min(own.deadline_seconds or policy.deadline_seconds, policy.deadline_seconds)


def effective_requests(own: ReadinessSpec, policy: ReadinessPolicy) -> int:
    """Return how many predictions each pod has to answer: the policy's number, or the user's where it is higher."""
    return max(own.requests or 0, policy.requests)


def _waiting(message: str) -> Result:
    return Result(NAME, GateOutcome.PENDING, Reason.WAITING, message)


def _rejected(reason: Reason, message: str, step: str) -> Result:
    """A fault of the candidate itself is final until its revision changes or spec.retry is raised."""
    return Result(NAME, GateOutcome.REJECTED, reason, message, next_step=f"Next step: {step}, or raise spec.retry", final=True)


def _unaskable(evidence: Evidence) -> Result | None:
    """Refuse before pods start: what helps is another manifest, version or policy, so that trying again does not."""
    why = unaskable(evidence)
    if why is None:
        return None
    return Result(NAME, GateOutcome.REJECTED, why.reason, why.message, next_step=why.step, final=True)


def _tampered(pods: CandidatePods) -> Result | None:
    changed = next((pod for pod in pods.pods if pod.tampered), None)
    if changed is None:
        return None
    message = f"pod {changed.name} is not the pod that was asked for: {changed.tampered}"
    return _rejected(
        Reason.POD_TAMPERED, message, "find out who changes pods at admission and let the platform team exempt them"
    )


def _other_image(pods: CandidatePods, image: Fact[ResolvedImage]) -> Result | None:
    """Compare what the nodes say that they run with the image that was pinned, by any digest on the way to it.

    Runtimes report the digest of the manifest, that of an index that leads to it, or the image's ID, which is that of its
    configuration. A node that got the same image in another way reports the digest of that way: what the registry says of
    it decides, and the same configuration is the same content, since it names all layers (image-spec config.md, diff_ids).
    """
    running = [pod for pod in pods.pods if _runs(pod)]
    if isinstance(image, Unknown):
        return _waiting("the image has to be known before it can be told whether the pods run it") if running else None
    for pod in running:
        digest = reported_digest(pod.image_id)
        if digest in digests_of(image):
            continue
        found = pods.reported.get(digest or "")
        if isinstance(found, ResolvedImage) and found.config_digest == image.config_digest:
            continue
        message = f"the node says that pod {pod.name} runs {pod.image_id[:300]}, which is not the image {image.digest}"
        if isinstance(found, Unknown) and found.retry:
            return Result(NAME, GateOutcome.RETRY, found.reason, f"{message} by that name: {found.message}")
        return _rejected(Reason.POD_TAMPERED, message, "find out what the node runs, and who put it there")
    return None


def _failed_audit(pods: CandidatePods) -> Result | None:
    failed = next((audit for audit in pods.audits if not audit.passed and not audit.unreachable), None)
    if failed is None:
        return None
    reason = Reason.AUDIT_TIMEOUT if failed.late else Reason.AUDIT_FAILED
    return _rejected(reason, f"pod {failed.pod}: {failed.failure}", failed.advice or "fix the server or the model")


def _crashed(pods: CandidatePods, *, late: bool) -> Result | None:
    """A restart is a crash of the candidate: it is refused at the deadline, or as soon as it has become a loop."""
    pod = next((pod for pod in pods.pods if pod.restarts or pod.phase == "Failed"), None)
    if pod is None:
        return None
    ending = pod.terminated_reason or "no reason given"
    code = f", exit code {pod.exit_code}" if pod.exit_code is not None else ""
    message = f"the server in pod {pod.name} ended {pod.restarts or 1} times ({ending}{code})"
    if late or pod.restarts >= _CRASH_RESTARTS:
        return _rejected(Reason.POD_CRASHED, message, "fix the server, build the image again")
    return Result(NAME, GateOutcome.PENDING, Reason.POD_CRASHED, message)


def _no_room(pods: CandidatePods) -> Result | None:
    if pods.quota:
        return Result(NAME, GateOutcome.RETRY, Reason.QUOTA_EXCEEDED, pods.quota)
    pod = next((pod for pod in pods.pods if pod.unschedulable), None)
    if pod is None:
        return None
    return Result(NAME, GateOutcome.RETRY, Reason.PODS_UNSCHEDULABLE, f"pod {pod.name}: {pod.unschedulable}")


def _not_pulled(pods: CandidatePods, *, late: bool) -> Result | None:
    pod = next((pod for pod in pods.pods if pod.waiting_reason in _PULL_REASONS), None)
    if pod is None:
        return None
    message = f"pod {pod.name}: {pod.waiting_message or pod.waiting_reason}"
    if late:
        return _rejected(Reason.IMAGE_PULL_FAILED, message, "check that the nodes may pull from the registry")
    return Result(NAME, GateOutcome.PENDING, Reason.IMAGE_PULL_FAILED, message)


def _not_ready(pods: CandidatePods, deadline: int, *, late: bool) -> Result | None:
    ready = [pod for pod in pods.pods if pod.ready]
    wanted = max(1, pods.wanted)
    if len(ready) >= wanted and all(_runs(pod) for pod in ready):
        return None
    message = f"{len(ready)} of {wanted} pods are ready"
    waiting = next((pod.waiting_reason for pod in pods.pods if pod.waiting_reason), None)
    if waiting:
        message += f" ({waiting})"
    why = "".join(f"; pod {name}: {answer}" for name, answer in list(pods.unready.items())[:1])
    if late:
        step = "compare spec.server (port, protocol, names, paths) with the server" if why else "look at the server's log"
        return _rejected(Reason.POD_NOT_READY, f"{message} after {deadline} s{why}", step)
    return Result(NAME, GateOutcome.PENDING, Reason.PODS_STARTING, f"{message}{why}")


def _runs(pod: PodFact) -> bool:
    """Tell whether the node says that a container of this pod runs."""
    return bool(pod.image_id)


def _audited(pods: CandidatePods, evidence: Evidence, *, late: bool) -> Result:
    done = {audit.pod: audit for audit in pods.audits}
    ready = [pod.name for pod in pods.pods if pod.ready]
    unreachable = next((audit for audit in pods.audits if audit.unreachable), None)
    if unreachable is not None:
        message = f"pod {unreachable.pod}: {unreachable.failure}"
        if late:
            advice = unreachable.advice or "check that the operator may reach the pods (NetworkPolicy)"
            return _rejected(Reason.PROBE_FAILED, message, advice)
        return Result(NAME, GateOutcome.RETRY, Reason.PROBE_FAILED, message)
    missing = [name for name in ready if name not in done]
    if missing:
        # Not for ever: each audit ends by itself (`effective_deadline`), and then it says so.
        audited = len(ready) - len(missing)
        return Result(NAME, GateOutcome.PENDING, Reason.AUDITING, f"{audited} of {len(ready)} pods are audited")
    assert not isinstance(evidence.policy, Unknown)
    wanted = 0 if asks_nothing(evidence) else effective_requests(evidence.spec.readiness, evidence.policy.spec.readiness)
    idle = next((audit for audit in pods.audits if audit.answered < wanted), None)
    if idle is not None:
        message = f"pod {idle.pod} has answered {idle.answered} of {wanted} predictions"
        return _rejected(Reason.AUDIT_FAILED, message, "fix the server or the model")
    answered = sum(audit.answered for audit in pods.audits)
    return Result(NAME, GateOutcome.PASSED, Reason.PASSED, _proven(len(ready), answered, evidence))


def _proven(ready: int, answered: int, evidence: Evidence) -> str:
    """Say what the pods have proven, and where that is less than people may think."""
    custom = evidence.spec.server.custom
    if asks_nothing(evidence):
        return (
            f"{ready} pods are ready; they were asked for no prediction, since the model has no registered input example "
            "(the policy's readiness.inputExample: Required would refuse it)"
        )
    message = f"{ready} pods are ready and answered {answered} predictions"
    own = custom is not None and custom.predict_body is not None
    return f"{message}, asked with the manifest's own predictBody" if own else message
