"""Gate: the candidate's pods are the pods that were asked for, are ready without restarts, and answer the audit."""

from datetime import timedelta

from lockstep.api.modeldeployment import GateOutcome, ReadinessSpec
from lockstep.api.promotionpolicy import PromotionPolicy, ReadinessPolicy
from lockstep.api.reasons import ConditionType, Reason
from lockstep.gates.evidence import CandidatePods, Evidence, Fact, PodFact, Unknown
from lockstep.gates.gate import Gate, Result, Stage
from lockstep.gates.rules import rootfilesystem
from lockstep.gates.rules.questions import asks_nothing, find_obstacle
from lockstep.gates.rules.refusal import refusal
from lockstep.images.image import ResolvedImage, digests_of
from lockstep.images.reference import reported_digest

NAME = "readiness"
NO_ROOM = (
    Reason.QUOTA_EXCEEDED,
    Reason.PODS_UNSCHEDULABLE,
    Reason.SERVICE_ACCOUNT_MISSING,
    Reason.PODS_FORBIDDEN,
    Reason.PODS_INVALID,
    Reason.CLUSTER_FAILED,
)
"""Reasons why there are no pods yet that could become ready: their deadline does not run, and nothing of it is final."""
_PULL_REASONS = ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull")
_CRASH_RESTARTS = 3


def _judge(evidence: Evidence) -> Result:
    """Judge the candidate's pods and their audit."""
    if isinstance(evidence.policy, Unknown):
        return _wait("the policy has to be known first")
    refused = _check_askable(evidence)
    if refused is not None:
        return refused
    pods = evidence.pods
    if pods is None:
        return _wait("the candidate's pods are started once the gates before permit it and nothing holds it")
    deadline = effective_deadline(evidence.spec.readiness, evidence.policy.spec.readiness)
    late = evidence.now - pods.since >= timedelta(seconds=deadline)
    return (
        _check_tampering(pods)
        or _check_failed_audits(pods, evidence.policy)
        or _check_crashes(pods, evidence.policy, late=late)
        or _check_room(pods)
        or _check_pulls(pods, late=late)
        or _check_ready(pods, deadline, late=late)
        or _check_images(pods, evidence.image)
        or _judge_audits(pods, evidence, late=late)
    )


def effective_deadline(own: ReadinessSpec, policy: ReadinessPolicy) -> int:
    """Return the deadline in seconds: the policy's, or the user's where it is tighter."""
    return min(own.deadline_seconds or policy.deadline_seconds, policy.deadline_seconds)


def effective_requests(own: ReadinessSpec, policy: ReadinessPolicy) -> int:
    """Return how many predictions each pod has to answer: the policy's number, or the user's where it is higher."""
    return max(own.requests or 0, policy.requests)


def _wait(message: str) -> Result:
    return Result(NAME, GateOutcome.PENDING, Reason.WAITING, message)


def _reject(reason: Reason, message: str, step: str) -> Result:
    """A fault of the candidate itself is final until its revision changes or spec.retry is raised."""
    return Result(NAME, GateOutcome.REJECTED, reason, message, next_step=f"Next step: {step}, or raise spec.retry", final=True)


def _check_askable(evidence: Evidence) -> Result | None:
    """Refuse before pods start: what helps is another manifest, version or policy, so that trying again does not."""
    why = find_obstacle(evidence)
    if why is None:
        return None
    return Result(NAME, GateOutcome.REJECTED, why.reason, why.message, next_step=why.step, final=True)


def _check_tampering(pods: CandidatePods) -> Result | None:
    changed = next((pod for pod in pods.pods if pod.tampered), None)
    if changed is None:
        return None
    message = f"pod {changed.name} is not the pod that was asked for: {changed.tampered}"
    return _reject(Reason.POD_TAMPERED, message, "find out who changes pods at admission and let the platform team exempt them")


def _check_images(pods: CandidatePods, image: Fact[ResolvedImage]) -> Result | None:
    """Compare what the nodes say that they run with the image that was pinned.

    A runtime knows an image by its ID, which is the digest of its configuration and so of all layers (image-spec config.md,
    diff_ids), and reports any one of the names that it has been pulled by: the pinned digest, that of an index that leads to
    it, the ID itself, or the digest of another manifest with the same configuration in whatever repository. Whoever may run
    a pod on the node can bring such a name about, so that one that can't be read is no evidence against anybody. In order:

    - A digest on the way to the pinned image names it, and so does one that leads to the same configuration.
    - A manifest that has another configuration is another image.
    - A pod whose spec has never been changed has asked for nothing but the pinned digest. The kubelet hands it to the runtime
      as it is, and the runtime starts the content with this digest or nothing (containerd: CRI PullImage and Store.Resolve;
      CRI-O: the same by containers/storage). Only a node that lies runs something else.
    - Else it is unknown, which never passes and never is final.
    """
    running = [pod for pod in pods.pods if _runs(pod)]
    if isinstance(image, Unknown):
        return _wait("whether the pods run the image can be determined only once the image is known") if running else None
    for pod in running:
        result = _check_image_of_pod(pod, pods.reported.get(reported_digest(pod.image_id) or ""), image)
        if result is not None:
            return result
    return None


def _check_image_of_pod(pod: PodFact, reported: Fact[ResolvedImage] | None, image: ResolvedImage) -> Result | None:
    """Return None for a pod that runs the pinned image, else what to say of it."""
    digest = reported_digest(pod.image_id)
    if digest in digests_of(image) or (isinstance(reported, ResolvedImage) and reported.config_digest == image.config_digest):
        return None
    named = f"the node says that pod {pod.name} runs {pod.image_id[:300]}, which is not the image {image.digest}"
    # Of an index the node may have chosen another image than we: only a manifest says for sure what it is.
    if isinstance(reported, ResolvedImage) and reported.digest == digest:
        return _reject(Reason.POD_TAMPERED, named, "find out what the node runs, and who put it there")
    if pod.unchanged:
        return None
    if isinstance(reported, Unknown) and reported.retry:
        return Result(NAME, GateOutcome.RETRY, reported.reason, f"{named} by that name: {reported.message}")
    why = reported.message if isinstance(reported, Unknown) else "the name does not say what it is"
    step = "Next step (platform team): remove that name of the image from the node, or find out who changed the pod"
    return Result(NAME, GateOutcome.RETRY, Reason.IMAGE_UNVERIFIED, f"{named} by that name: {why}", next_step=step)


def _check_failed_audits(pods: CandidatePods, policy: PromotionPolicy) -> Result | None:
    failed = next((audit for audit in pods.audits if not audit.passed and not audit.unreachable), None)
    if failed is None:
        return None
    reason = Reason.AUDIT_TIMEOUT if failed.late else Reason.AUDIT_FAILED
    read_only = rootfilesystem.says_read_only(failed.failure or "")
    step = (rootfilesystem.advice(policy, reported=True) if read_only else "") or failed.advice or "fix the server or the model"
    return _reject(reason, f"pod {failed.pod}: {failed.failure}", step)


def _check_crashes(pods: CandidatePods, policy: PromotionPolicy, *, late: bool) -> Result | None:
    """A restart is a crash of the candidate: it is refused at the deadline, or as soon as it has become a loop."""
    pod = next((pod for pod in pods.pods if pod.restarts or pod.phase == "Failed"), None)
    if pod is None:
        return None
    ending = pod.terminated_reason or "no reason given"
    code = f", exit code {pod.exit_code}" if pod.exit_code is not None else ""
    message = f"the server in pod {pod.name} ended {pod.restarts or 1} times ({ending}{code})"
    if late or pod.restarts >= _CRASH_RESTARTS:
        advice = rootfilesystem.advice(policy, reported=pod.read_only)
        steps = [advice] if pod.read_only and advice else ["fix the server, build the image again", advice]
        return _reject(Reason.POD_CRASHED, message, "; ".join(step for step in steps if step))
    return Result(NAME, GateOutcome.PENDING, Reason.POD_CRASHED, message)


def _check_room(pods: CandidatePods) -> Result | None:
    if pods.refused:
        reason, step = refusal(pods.refused)
        return Result(NAME, GateOutcome.RETRY, reason, pods.refused, next_step=step)
    pod = next((pod for pod in pods.pods if pod.unschedulable), None)
    if pod is None:
        return None
    return Result(NAME, GateOutcome.RETRY, Reason.PODS_UNSCHEDULABLE, f"pod {pod.name}: {pod.unschedulable}")


def _check_pulls(pods: CandidatePods, *, late: bool) -> Result | None:
    pod = next((pod for pod in pods.pods if pod.waiting_reason in _PULL_REASONS), None)
    if pod is None:
        return None
    message = f"pod {pod.name}: {pod.waiting_message or pod.waiting_reason}"
    if late:
        return _reject(Reason.IMAGE_PULL_FAILED, message, "check that the nodes may pull from the registry")
    return Result(NAME, GateOutcome.PENDING, Reason.IMAGE_PULL_FAILED, message)


def _check_ready(pods: CandidatePods, deadline: int, *, late: bool) -> Result | None:
    ready = [pod for pod in pods.pods if pod.ready]
    wanted = max(1, pods.wanted)
    if len(ready) >= wanted and all(_runs(pod) for pod in ready):
        return None
    message = f"{len(ready)} of {wanted} pods are ready"
    waiting = next((pod for pod in pods.pods if pod.waiting_reason), None)
    name, answer = next(((name, answer) for name, answer in pods.unready.items() if answer), ("", ""))
    why = f": pod {name}: {answer}" if answer else ""
    if not late:
        # What the node says beside its reason counts seconds up, and each change would be a new status.
        message += f" ({waiting.waiting_reason})" if waiting is not None else why
        return Result(NAME, GateOutcome.PENDING, Reason.PODS_STARTING, message)
    message += f" after {deadline} s"
    if waiting is not None:
        message += f": pod {waiting.name}: {waiting.waiting_reason}: {waiting.waiting_message or 'no reason given'}"
        return _reject(Reason.POD_NOT_READY, message, "change what keeps the pod from starting")
    if not why and pods.unready:
        # A refusal is final: it waits for the answer that says why.
        return Result(NAME, GateOutcome.PENDING, Reason.PODS_STARTING, message)
    if not why:
        return _reject(Reason.POD_NOT_READY, message, "start the image elsewhere and look at what its server says")
    step = "compare spec.server (port, protocol, model name, readyPath) with what the server offers"
    return _reject(Reason.POD_NOT_READY, f"{message}{why}", step)


def _runs(pod: PodFact) -> bool:
    """Return whether the node says that a container of this pod runs."""
    return bool(pod.image_id)


def _judge_audits(pods: CandidatePods, evidence: Evidence, *, late: bool) -> Result:
    done = {audit.pod: audit for audit in pods.audits}
    ready = [pod.name for pod in pods.pods if pod.ready]
    unreachable = next((audit for audit in pods.audits if audit.unreachable), None)
    if unreachable is not None:
        message = f"pod {unreachable.pod}: {unreachable.failure}"
        if late:
            advice = unreachable.advice or "check that the operator may reach the pods (NetworkPolicy)"
            return _reject(Reason.PROBE_FAILED, message, advice)
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
        return _reject(Reason.AUDIT_FAILED, message, "fix the server or the model")
    answered = sum(audit.answered for audit in pods.audits)
    return Result(NAME, GateOutcome.PASSED, Reason.PASSED, _proof_message(len(ready), answered, evidence))


def _proof_message(ready: int, answered: int, evidence: Evidence) -> str:
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


GATE = Gate(NAME, ConditionType.READINESS_PROVEN, _judge, stage=Stage.WITH_PODS, always_enforced=True)
