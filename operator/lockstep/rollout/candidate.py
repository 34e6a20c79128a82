"""The candidate's way from being seen to being promoted: verdict and state of the cluster in, next status and steps out.

Each reconciliation decides one step anew, from the verdict, what is there, and what the status kept. The scenarios:

    another spec, an alias that moved                          (`previous_candidate` begins a new candidate)
          │
          ▼
       CHECKED ──A── a gate is Pending or Retry ─────▶ WAITING           waiting_since; back when the gate can answer
          │    ──B── something holds it ─────────────▶ HELD              status.holds; back when it is lifted
          │    ──C── a gate is Rejected ─────────────▶ REFUSED           blocked_since, recorded; back when the facts change
          │    ──D── the same, and final ────────────▶ REFUSED FOR GOOD  final; its pods go; only another spec or policy helps
          │
          │ E  verdict.permits_pods
          ▼
       STARTING      pods_since; the Deployment is created, its pods come up, it is paused, each pod is audited
          │          A to D hold here as well: in A, B and C the pods stay as they are
          │ F  verdict.permits_traffic, as many pods as wanted are ready
          ▼
       RECORDED      a PromotionRecord; with rollout.candidateReplicas the full number comes up now, and F is asked again
          │ G  the status that names the record has been accepted
          ▼
       ACTIVE        the Service selects its pods; what was active before drains
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from lockstep.api.kinds import Object
from lockstep.api.modeldeployment import (
    CandidateStatus,
    GateOutcome,
    GateStatus,
    ModelDeployment,
    RevisionStatus,
)
from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.api.records import RecordOutcome
from lockstep.gates import readiness
from lockstep.gates.gate import Result, Stage
from lockstep.gates.hold import HoldName
from lockstep.gates.verdict import Verdict, decisive
from lockstep.images.reference import repository_of
from lockstep.rollout.actions import Action, Create, Delete, Scale, apply_step
from lockstep.rollout.objects import manifests
from lockstep.rollout.objects.revision import Snapshot, spec_hash
from lockstep.rollout.observed.observed import Observed
from lockstep.rollout.status.results import gate_status


@dataclass(frozen=True)
class CandidateStep:
    """One step of a candidate."""

    candidate: CandidateStatus
    actions: tuple[Action, ...] = ()
    """To be carried out after the status has been accepted."""
    record: RecordOutcome | None = None
    """Outcome of the PromotionRecord that has to exist before the status is written; None where none has to."""
    promote: bool = False
    """True when the status that is written next makes the candidate the active revision."""


@dataclass(frozen=True)
class CandidatePins:
    """What has been pinned for a candidate; None for what is not known yet."""

    version: str | None = None
    run_id: str | None = None
    image: str | None = None
    digest: str | None = None


@dataclass(frozen=True)
class CandidateInput:
    """Everything that a step is decided from."""

    owner: ModelDeployment
    policy: PromotionPolicy | None
    verdict: Verdict
    pins: CandidatePins
    snapshot: Snapshot | None
    """None until version and digest are pinned."""
    observed: Observed
    now: datetime
    recorded: bool = False
    """True when a passing verdict for exactly this candidate is recorded already."""
    pods_ready: int = 0
    pods_since: datetime | None = None
    """Since when the candidate's pods can come up, where that is another time than was known before."""


def wanted_pods(owner: ModelDeployment, policy: PromotionPolicy, *, recorded: bool) -> int:
    """Return how many pods a candidate runs: the policy's number while it is checked, the full number once it passed."""
    full = max(1, owner.spec.replicas)
    limit = policy.spec.rollout.candidate_replicas
    return full if recorded or limit is None else min(limit, full)


def waits_for_room(gates: Iterable[GateStatus | Result]) -> bool:
    """Return whether the readiness gate reports that the pods find no room."""
    named = {g.gate if isinstance(g, Result) else g.name: g.reason for g in gates}
    return named.get(readiness.NAME) in readiness.NO_ROOM


def could_come_up_since(before: CandidateStatus, deployment: Object | None, now: datetime) -> datetime | None:
    """Return since when the candidate's pods can come up: their deadline does not run while the cluster has no room.

    Until there is a Deployment, and at the first reconciliation after a wait for room, that is now.
    """
    if before.pods_since is None:
        return None
    if deployment is None or waits_for_room(before.gates):
        return now
    return max(before.pods_since, datetime.fromisoformat(deployment["metadata"]["creationTimestamp"]))


def previous_candidate(owner: ModelDeployment, version: str | None, now: datetime) -> CandidateStatus:
    """Return the candidate's status to go on from: the present one, or a new one when spec or alias ask for another."""
    present, wanted = owner.status.candidate, spec_hash(owner.spec)
    if present is not None and present.spec_hash == wanted and version in (None, present.model_version or version):
        return present
    return CandidateStatus(spec_hash=wanted, start_time=now)


def pinned_reference(candidate: CandidateStatus, wanted: str) -> str:
    """Return the reference to resolve: what is pinned, where that is of the repository that the spec names.

    The status is not evidence: a pin that somebody wrote there, and that no memory of ours contradicts, leads nowhere else.
    """
    pinned = candidate.image
    return pinned if pinned is not None and repository_of(pinned) == repository_of(wanted) else wanted


def next_step(given: CandidateInput) -> CandidateStep:
    """Decide what comes next for a candidate. Traffic is given only by a step with `promote`."""
    refused = _final_refusal(given)
    if refused is not None:
        return CandidateStep(refused, actions=_withdraw(given))
    candidate = describe(given)
    blocking = given.verdict.blocking
    if blocking is not None and blocking.outcome is GateOutcome.REJECTED:
        return _refuse(given, candidate, blocking)
    snapshot, policy = given.snapshot, given.policy
    if snapshot is None or policy is None or not given.verdict.permits_pods:
        return CandidateStep(candidate)
    if candidate.pods_since is None:
        candidate = candidate.model_copy(update={"pods_since": given.now})
    wanted = wanted_pods(given.owner, policy, recorded=given.recorded)
    actions = _pod_actions(given, snapshot, wanted)
    if actions or not given.verdict.permits_traffic or given.pods_ready < wanted:
        return CandidateStep(candidate, actions=tuple(actions))
    if not given.recorded:
        full = wanted == wanted_pods(given.owner, policy, recorded=True)
        if not full:
            # The pods that are added now have the whole deadline for themselves.
            candidate = candidate.model_copy(update={"pods_since": given.now})
        return CandidateStep(candidate, record=RecordOutcome.PROMOTED, promote=full)
    return CandidateStep(candidate, record=RecordOutcome.PROMOTED, promote=True)


def _pod_actions(given: CandidateInput, snapshot: Snapshot, wanted: int) -> list[Action]:
    """Bring the candidate's pods up, then pause their Deployment, so that no template edit can change them any more."""
    observed, owner = given.observed, given.owner
    actions: list[Action] = []
    kept, desired = observed.revisions.get(snapshot.revision), manifests.controller_revision(owner, snapshot)
    live = observed.deployments.get(snapshot.revision)
    if kept is None:
        actions.append(Create(desired))
    elif kept.get("data") != desired["data"]:
        # Rendered under another policy, when it served before or a moment ago: these are not the pods that are asked for now.
        stale = [one for one in (live, kept) if one is not None]
        return [*(Delete(one["kind"], one["metadata"]["name"], one["metadata"]["uid"]) for one in stale), Create(desired)]
    if live is None:
        return [*actions, Create(manifests.deployment(owner, snapshot, replicas=wanted, paused=False))]
    if live["spec"].get("replicas", 1) != wanted:
        return [*actions, Scale(live["metadata"]["name"], wanted)]
    if given.pods_ready >= wanted and not live["spec"].get("paused"):
        desired = manifests.deployment(owner, snapshot, replicas=wanted, paused=True)
        actions.append(apply_step(desired, live))
    return actions


def _final_refusal(given: CandidateInput) -> CandidateStatus | None:
    """Return the candidate's status when it was refused for good and nothing about it has changed since."""
    before = previous_candidate(given.owner, given.pins.version, given.now)
    snapshot = given.snapshot
    same_revision = snapshot is None or snapshot.revision == before.revision
    # A policy that can't be read is no other policy.
    same_policy = given.verdict.policy_hash in ("", before.policy_hash)
    return before if before.final and same_revision and same_policy else None


def _refuse(given: CandidateInput, candidate: CandidateStatus, blocking: Result) -> CandidateStep:
    update: dict[str, object] = {"final": blocking.final} | ({"pods_since": None} if blocking.final else {})
    return CandidateStep(
        candidate.model_copy(update=update),
        actions=_withdraw(given) if blocking.final else (),
        record=RecordOutcome.REFUSED if given.snapshot is not None else None,
    )


def _withdraw(given: CandidateInput) -> tuple[Action, ...]:
    """A candidate that failed for good gives its place back; its record keeps what its pods said."""
    revision = given.snapshot.revision if given.snapshot is not None else ""
    live = given.observed.deployments.get(revision)
    return (Delete("Deployment", str(live["metadata"]["name"]), str(live["metadata"]["uid"])),) if live else ()


def describe(given: CandidateInput) -> CandidateStatus:
    """Return the candidate's status with pins and gate results of this verdict."""
    before = previous_candidate(given.owner, given.pins.version, given.now)
    verdict, pins, snapshot = given.verdict, given.pins, given.snapshot
    blocking = verdict.blocking
    refused = blocking is not None and blocking.outcome is GateOutcome.REJECTED
    waiting = blocking is not None and not refused
    same_wait = waiting and blocking is not None and _blocked_by(before, given.owner) == (blocking.gate, str(blocking.reason))
    return before.model_copy(
        update={
            # What is pinned stays pinned while a dependency does not answer.
            "revision": snapshot.revision if snapshot else before.revision,
            "model_version": pins.version or before.model_version,
            "run_id": pins.run_id or before.run_id,
            "image": pins.image or before.image,
            "image_digest": pins.digest or before.image_digest,
            "short_digest": short(pins.digest) or before.short_digest,
            "environment_digest": verdict.environment_digest,
            "policy_hash": verdict.policy_hash,
            "gates": [gate_status(result) for result in verdict.results],
            "blocked_since": (before.blocked_since or given.now) if refused else _blocked_since(before, verdict),
            "waiting_since": (before.waiting_since if same_wait and before.waiting_since else given.now) if waiting else None,
            "pods_since": given.pods_since or before.pods_since,
            "final": False,
        }
    )


def _blocked_since(before: CandidateStatus, verdict: Verdict) -> datetime | None:
    """Return since when a candidate is refused that a dependency keeps from being judged anew: it has not been let go on."""
    gate = next((result for result in verdict.results if not result.permits), None)
    unknown = gate is not None and gate.outcome is GateOutcome.RETRY and gate.stage is Stage.BEFORE_PODS
    return before.blocked_since if unknown else None


def _blocked_by(candidate: CandidateStatus, owner: ModelDeployment) -> tuple[str, str] | None:
    # What the API server refuses is no part of a verdict.
    holds = [hold for hold in owner.status.holds if hold.name != HoldName.CLUSTER]
    blocking = decisive(candidate.gates, holds)
    return (blocking.name, blocking.reason) if blocking else None


def short(digest: str | None) -> str | None:
    """Return the first twelve hex characters of a digest, for people and columns."""
    return digest.removeprefix("sha256:")[:12] if digest else None


def activate(candidate: CandidateStatus, *, record: str, now: datetime) -> RevisionStatus:
    """Return the active revision's status for a candidate whose passing verdict is recorded under `record`."""
    fields = {name: getattr(candidate, name) for name in RevisionStatus.model_fields}
    return RevisionStatus(**(fields | {"record": record, "start_time": now, "evaluated_policy_hash": candidate.policy_hash}))
