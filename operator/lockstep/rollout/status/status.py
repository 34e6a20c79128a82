"""The next status of a ModelDeployment, and what of it is news."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from lockstep.api.base import Condition
from lockstep.api.modeldeployment import (
    MAX_HISTORY,
    CandidateStatus,
    DifferenceStatus,
    GateOutcome,
    GateStatus,
    ModelDeployment,
    ModelDeploymentStatus,
    RevisionStatus,
)
from lockstep.api.reasons import ConditionType, EventReason, Reason
from lockstep.gates.gate import Gate, Result
from lockstep.gates.hold import HoldName
from lockstep.gates.table import GATES
from lockstep.gates.verdict import decisive
from lockstep.rollout.objects import labels
from lockstep.rollout.objects.revision import short_hash
from lockstep.rollout.observed.observed import Observed, selected_revision
from lockstep.rollout.removals import Impairment
from lockstep.rollout.status.conditions import Conditions, Truth
from lockstep.rollout.status.results import gate_status


@dataclass(frozen=True)
class StatusInput:
    """What the next status is made of."""

    active: RevisionStatus | None
    candidate: CandidateStatus | None
    """None when the current spec is what is active."""
    history: Sequence[RevisionStatus]
    differences: Sequence[DifferenceStatus] = ()
    holds: Sequence[Result] = ()
    """What besides the gates stands in the way."""
    findings: Sequence[GateStatus] = ()
    """Gate results of the active revision, when it was evaluated in this pass."""
    answers: GateStatus | None = None
    """What the Service answered after the switch, where that is a failure, or no failure any more."""


def next_status(
    owner: ModelDeployment,
    observed: Observed,
    status_input: StatusInput,
    now: datetime,
    *,
    impairment: Impairment | None = None,
    gates: Sequence[Gate] = GATES,
) -> ModelDeploymentStatus:
    """Compose the status. Equal situations give equal statuses, so that nothing is written when nothing changed."""
    conditions = Conditions(owner.status.conditions, generation=owner.generation, now=now)
    active, candidate = status_input.active, status_input.candidate
    lacking = _unavailability(owner, observed, active)
    _set_available(conditions, active, lacking, impairment)
    _set_gates(conditions, candidate.gates if candidate else status_input.findings, gates)
    if candidate is None and owner.status.candidate is not None and not status_input.findings:
        # They were about the candidate, which is gone without having been promoted.
        for gate in gates:
            conditions.drop(gate.condition)
    if status_input.answers is not None and candidate is None:
        answers = status_input.answers
        conditions.set(ConditionType.READINESS_PROVEN, _truth(answers), Reason(answers.reason), answers.message)
    if lacking is None and active is not None and selected_revision(observed.service) != active.revision:
        lacking = Impairment(Reason.SWITCHING, Reason.SWITCHING.sentence)
    _set_summary(conditions, status_input, impairment or lacking)
    return ModelDeploymentStatus(
        observed_generation=owner.generation,
        conditions=conditions.list(),
        candidate=candidate,
        active=active,
        history=list(status_input.history)[:MAX_HISTORY],
        differences=list(status_input.differences),
        holds=[gate_status(hold) for hold in status_input.holds],
        model=_model(owner, status_input),
        selector=labels.selector_text(owner.name, active.revision) if active and active.revision else None,
        **_replicas(observed, active),
    )


def kept_status(
    owner: ModelDeployment, observed: Observed, active: RevisionStatus | None, now: datetime, impairment: Impairment | None
) -> ModelDeploymentStatus:
    """Return the status while what serves is being put right, before anything else is decided: it takes back what no longer
    holds, and claims nothing new.
    """
    conditions = Conditions(owner.status.conditions, generation=owner.status.observed_generation or 0, now=now)
    lacking = _unavailability(owner, observed, active)
    _set_available(conditions, active, lacking, impairment)
    wrong = impairment or lacking
    if wrong is not None and conditions.is_true(ConditionType.READY):
        conditions.set(ConditionType.READY, "False", wrong.reason, wrong.message)
    return owner.status.model_copy(update={"conditions": conditions.list(), **_replicas(observed, active)})


def deletion_status(
    owner: ModelDeployment, observed: Observed, active: RevisionStatus | None, now: datetime
) -> ModelDeploymentStatus:
    """Return the status of a ModelDeployment that is being deleted: what still serves does so without anybody's care."""
    conditions = Conditions(owner.status.conditions, generation=owner.generation, now=now)
    lacking = _unavailability(owner, observed, active)
    ending = Impairment(Reason.DELETING, Reason.DELETING.sentence)
    _set_available(conditions, active, lacking, ending if lacking is None else None)
    conditions.set(ConditionType.READY, "False", ending.reason, ending.message)
    conditions.set(ConditionType.RECONCILING, "True", ending.reason, ending.message)
    conditions.set(ConditionType.STALLED, "False", ending.reason, "")
    return owner.status.model_copy(update={"conditions": conditions.list(), **_replicas(observed, active)})


def promoted_history(owner: ModelDeployment, active: RevisionStatus) -> list[RevisionStatus]:
    """Return the history after `active` has taken over from the present active revision."""
    before = owner.status.active
    entries = ([before] if before is not None else []) + list(owner.status.history)
    return [entry for entry in entries if entry.revision != active.revision][:MAX_HISTORY]


def _model(owner: ModelDeployment, status_input: StatusInput) -> str:
    reference = owner.spec.model
    pinned = (
        status_input.candidate.model_version
        if status_input.candidate
        else status_input.active and status_input.active.model_version
    )
    wanted = reference.version or (f"{reference.alias}={pinned}" if pinned else str(reference.alias))
    return f"{reference.name}/{wanted}"[:256]


def _replicas(observed: Observed, active: RevisionStatus | None) -> dict[str, int]:
    revision = (active.revision if active else None) or ""
    status = (observed.deployments.get(revision) or {}).get("status") or {}
    return {"replicas": status.get("replicas", 0), "ready_replicas": observed.ready_pods(revision) if revision else 0}


def _unavailability(owner: ModelDeployment, observed: Observed, active: RevisionStatus | None) -> Impairment | None:
    """Say why no request is answered; None when something serves, be it the revision before while the Service switches.

    Determined by the pods that the Service selects, not by what a Deployment counts as its own.
    """
    if active is None:
        reason = Reason.NOTHING_ACTIVE
    elif observed.service is None:
        reason = Reason.SWITCHING
    elif owner.spec.replicas == 0 or observed.ready_pods(selected_revision(observed.service)):
        return None
    else:
        # Where its pods are ready, it is the Service that does not lead to them.
        reason = Reason.SWITCHING if observed.ready_pods(active.revision or "") else Reason.PODS_NOT_READY
    return Impairment(reason, reason.sentence)


def _set_available(
    conditions: Conditions, active: RevisionStatus | None, lacking: Impairment | None, impairment: Impairment | None
) -> None:
    """Say whether something serves; an impairment says that it is not quite what was promoted, or why nothing does."""
    if lacking is not None:
        reported = impairment if impairment is not None and active is not None else lacking
        conditions.set(ConditionType.AVAILABLE, "False", reported.reason, reported.message)
    elif impairment is not None:
        conditions.set(ConditionType.AVAILABLE, "True", impairment.reason, impairment.message)
    elif active is not None:
        conditions.set(ConditionType.AVAILABLE, "True", Reason.PROMOTED, f"revision {active.revision} serves")


def _set_gates(conditions: Conditions, answers: Sequence[GateStatus], gates: Sequence[Gate]) -> None:
    """Set each gate's condition. A gate that is no longer evaluated leaves none behind; without a verdict all stay."""
    by_name = {answer.name: answer for answer in answers}
    for gate in gates:
        answer = by_name.get(gate.name)
        if answer is not None:
            conditions.set(gate.condition, _truth(answer), Reason(answer.reason), answer.message)
        elif answers:
            conditions.drop(gate.condition)


def _truth(gate: GateStatus) -> Truth:
    if gate.outcome is GateOutcome.PASSED:
        return "True"
    return "False" if gate.outcome is GateOutcome.REJECTED else "Unknown"


def blocking(status: ModelDeploymentStatus) -> GateStatus | None:
    """Return what keeps the candidate, or what is active, from going on: a gate or a hold."""
    return decisive(status.candidate.gates if status.candidate else (), status.holds)


def _set_summary(conditions: Conditions, status_input: StatusInput, lacking: Impairment | None) -> None:
    """Set Ready, Promoted, Reconciling and Stalled, which say the same of one situation."""
    candidate, holds = status_input.candidate, [gate_status(hold) for hold in status_input.holds]
    if candidate is None and status_input.active is not None and not holds:
        reason, message = Reason.PROMOTED, f"revision {status_input.active.revision} is active"
        if lacking is not None:
            reason, message = lacking.reason, lacking.message
        elif status_input.answers is not None and status_input.answers.outcome is GateOutcome.REJECTED:
            reason, message = Reason(status_input.answers.reason), status_input.answers.message
        conditions.set(ConditionType.READY, "True" if reason is Reason.PROMOTED else "False", reason, message)
        conditions.set(ConditionType.PROMOTED, "True", Reason.PROMOTED, "the current spec is active")
        switching = lacking is not None and lacking.reason is Reason.SWITCHING
        conditions.set(ConditionType.RECONCILING, "True" if switching else "False", reason, message if switching else "")
        conditions.set(ConditionType.STALLED, "False", Reason.PROMOTED, "")
        return
    answer = decisive(candidate.gates if candidate else (), holds)
    stalled = answer is not None and answer.outcome is GateOutcome.REJECTED
    if answer is not None:
        reason, message = Reason(answer.reason), answer.message
        stalled = stalled or any(hold.stalled for hold in status_input.holds if hold.gate == answer.name)
    elif candidate is None:
        reason, message = Reason.NOTHING_ACTIVE, Reason.NOTHING_ACTIVE.sentence
    else:
        reason, message = Reason.PROGRESSING, "every gate so far has passed"
    conditions.set(ConditionType.READY, "False", reason, message)
    conditions.set(ConditionType.PROMOTED, "False", reason, message)
    conditions.set(ConditionType.RECONCILING, "False" if stalled else "True", reason, message)
    conditions.set(ConditionType.STALLED, "True" if stalled else "False", reason, message if stalled else "")


@dataclass(frozen=True)
class Transition:
    """One piece of news, posted as an event."""

    reason: EventReason
    warning: bool
    action: str
    note: str
    key: str
    """The same transition always has the same key, so that a crash doesn't report it twice."""


def transitions(owner: ModelDeployment, after: ModelDeploymentStatus) -> list[Transition]:
    """Compare the status with the next one and return what is news."""
    news: list[Transition] = []
    # Part of the keys: who goes back to a spec that was reported before gets a new report.
    generation = owner.generation
    before, candidate = owner.status.candidate, after.candidate
    if candidate is not None and candidate.revision and (before is None or before.revision != candidate.revision):
        image = f"image {candidate.image}" if candidate.image else "an image"
        note = f"revision {candidate.revision} is being checked: {after.model} in {image}"
        news.append(
            Transition(EventReason.CANDIDATE_STARTED, False, "Check", note, f"started-{generation}-{candidate.revision}")
        )
    now = blocking(after)
    same = before is not None and candidate is not None and _is_same_candidate(before, candidate)
    earlier = blocking(owner.status) if same else None
    known = earlier is not None and now is not None and (earlier.reason, earlier.outcome) == (now.reason, now.outcome)
    if now is not None and candidate is not None and not known:
        about = f"{generation}-{candidate.spec_hash}-{candidate.model_version}-{(candidate.policy_hash or '')[-8:]}"
        key = f"{now.name}-{now.reason}-{about}"
        note = f"{now.name} {'hold' if now in after.holds else 'gate'}: {now.message}"
        if now.outcome is GateOutcome.REJECTED:
            news.append(Transition(EventReason.PROMOTION_BLOCKED, True, "Promote", note, f"blocked-{key}"))
        elif now.outcome is GateOutcome.RETRY or (now in after.holds and now.name != HoldName.PAUSE):
            news.append(Transition(EventReason.PROMOTION_WAITING, True, "Promote", note, f"waiting-{key}"))
    if (wrong := _degraded_transition(owner, after)) is not None:
        news.append(wrong)
    present = owner.status.active
    if after.active is not None and (present is None or present.revision != after.active.revision):
        note = f"revision {after.active.revision} is active: {after.model} in image {after.active.image}"
        news.append(Transition(EventReason.PROMOTED, False, "Promote", note, f"promoted-{after.active.record}"))
    return news


def _degraded_transition(owner: ModelDeployment, after: ModelDeploymentStatus) -> Transition | None:
    """Return the news that what serves no longer serves as it was promoted; None where that was asked for a moment ago (other
    replicas).
    """
    before, now = (_available(status) for status in (owner.status, after))
    if before is None or now is None or before.reason == now.reason or now.reason == Reason.PROMOTED:
        return None
    asked = owner.status.observed_generation != owner.generation
    # What comes up for the first time has no ready pods either.
    comes_up = before.reason != Reason.PROMOTED and now.reason in (Reason.SWITCHING, Reason.PODS_NOT_READY)
    if asked or comes_up or now.reason in (Reason.NOTHING_ACTIVE, Reason.DELETING):
        return None
    # It was so since then: an episode of its own.
    key = f"{now.reason}-{before.last_transition_time.isoformat()}-{short_hash(now.message)}"
    return Transition(EventReason.ACTIVE_DEGRADED, True, "Check", f"{now.reason}: {now.message}", f"degraded-{key}")


def _available(status: ModelDeploymentStatus) -> Condition | None:
    return next((condition for condition in status.conditions if condition.type == ConditionType.AVAILABLE), None)


def _is_same_candidate(before: CandidateStatus, after: CandidateStatus) -> bool:
    """Return whether two statuses are about one candidate, whose version may have become known in between."""
    return before.spec_hash == after.spec_hash and before.model_version in (None, after.model_version)
