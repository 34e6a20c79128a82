"""Keeps what serves as it was promoted: the active revision's objects, old revisions, and nothing foreign among the pods.

Needs no evidence and no registry, so that what serves is maintained while everything else is down.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from lockstep.api.kinds import Object
from lockstep.api.modeldeployment import ModelDeployment
from lockstep.api.promotionpolicy import RolloutSpec
from lockstep.api.reasons import Reason
from lockstep.rollout.actions import Action, Correct, Create, Delete, Scale, apply_step
from lockstep.rollout.objects import labels, manifests
from lockstep.rollout.objects.drift import budget_drift, deployment_drift, difference
from lockstep.rollout.objects.revision import Snapshot, short_hash
from lockstep.rollout.objects.service import is_headless, replacement, service_drift
from lockstep.rollout.observed.bearers import Standing, bearers
from lockstep.rollout.observed.observed import Observed, revision_of, selected_revision
from lockstep.rollout.removals import Impairment, removals


@dataclass(frozen=True)
class Maintenance:
    """What there is to do now, and in how many seconds something falls due by itself."""

    actions: tuple[Action, ...]
    due: float | None = None
    impairment: Impairment | None = None
    """Why what serves is not, or not for sure, what was promoted, after these actions."""
    strangers: frozenset[str] = frozenset()
    """Names of pods that bear our labels and run something that nobody has checked: they are none that serve."""


@dataclass(frozen=True)
class Allowance:
    """How many pods may be removed now, and in how many seconds one more may be."""

    pods: int = 10
    refill: float = 10.0


def maintain(
    owner: ModelDeployment,
    observed: Observed,
    *,
    active: Snapshot | None,
    snapshots: Mapping[str, Snapshot],
    keep: frozenset[str],
    rollout: RolloutSpec,
    now: datetime,
    allowance: Allowance = Allowance(),
    admitted: Mapping[str, str] = MappingProxyType({}),
) -> Maintenance:
    """Compare the cluster with what was promoted.

    Args:
        owner: the ModelDeployment; its status says what is active and what was.
        observed: the cluster, read before this.
        active: snapshot of the active revision; None before the first promotion.
        snapshots: the snapshots that are known, by revision.
        keep: revisions that are in use besides the active one (the candidate).
        rollout: the policy's rollout settings.
        now: the present time.
        allowance: how many pods may be removed.
        admitted: by uid, the fingerprints of what admission makes of our Deployments' templates.
    """
    serving = active.revision if active is not None else None
    found = list(bearers(observed, snapshots, in_use={serving} if serving else ()))
    removed = removals(found, active=serving, now=now, allowed=allowance.pods, refill=allowance.refill)
    actions: list[Action] = [*_foreign_sets(observed), *removed.actions]
    for revision in keep:
        if revision in snapshots:
            actions += _drift_of_deployment(owner, observed, snapshots[revision], admitted)
    if active is not None:
        actions += _active_deployment(owner, observed, active, admitted)
    if active is not None and observed.conflict is None:
        actions += _service(owner, observed, active)
        actions += _budget(owner, observed, active)
    old, drained = _old_revisions(owner, observed, active=active, keep=keep, rollout=rollout, now=now)
    taken = observed.taken.get(serving or "")
    return Maintenance(
        actions=(*actions, *old),
        due=min((seconds for seconds in (drained, removed.due) if seconds is not None), default=None),
        impairment=Impairment(Reason.NAME_CONFLICT, taken) if taken else removed.impairment,
        strangers=frozenset(one.name for one in found if one.standing is Standing.STRANGER),
    )


def _active_deployment(
    owner: ModelDeployment, observed: Observed, active: Snapshot, admitted: Mapping[str, str]
) -> Iterator[Action]:
    live = observed.deployments.get(active.revision)
    if live is None:
        if active.revision not in observed.taken:
            yield Create(manifests.deployment(owner, active, replicas=owner.spec.replicas, paused=False))
        return
    drift = list(_drift_of_deployment(owner, observed, active, admitted))
    yield from drift
    if not drift and live["spec"].get("replicas") != owner.spec.replicas:
        # While a change of the spec is not yet answered for, another number is the user's own.
        asked = owner.status.observed_generation != owner.generation
        why = f"Deployment {_name(live)}: spec.replicas was changed (scale the ModelDeployment, an HPA can too)"
        yield Scale(_name(live), owner.spec.replicas, None if asked else why)


def _drift_of_deployment(
    owner: ModelDeployment, observed: Observed, snapshot: Snapshot, admitted: Mapping[str, str]
) -> Iterator[Action]:
    live = observed.deployments.get(snapshot.revision)
    if live is None:
        return
    # A paused Deployment makes no ReplicaSet, so that it can be paused only once it has one.
    paused = bool(live["spec"].get("paused"))
    complete = bool(observed.replica_sets_of(snapshot.revision))
    serves = owner.status.active is not None and owner.status.active.revision == snapshot.revision
    desired = manifests.deployment(
        owner, snapshot, replicas=live["spec"].get("replicas", 1), paused=paused or (serves and complete)
    )
    if admitted.get(str(live["metadata"]["uid"])) == fingerprint(live):
        # Asked for once more it would be made the same. Its pods are judged each for itself.
        desired["spec"]["template"] = live["spec"]["template"]
    where = deployment_drift(desired, live)
    if where is None and serves and complete and not paused:
        where = "spec.paused"
    if where:
        yield Correct(_with_live_metadata(live, desired), _version(live), f"Deployment {_name(live)}: {where} was changed")
    yield from _drift_of_replica_sets(observed, snapshot, desired)


def fingerprint(deployment: Object) -> str:
    """Return a hash of a Deployment's pod template, to know again what admission made of ours."""
    return short_hash(deployment["spec"]["template"])


def _drift_of_replica_sets(observed: Observed, snapshot: Snapshot, desired: Object) -> Iterator[Action]:
    """Find ReplicaSets of ours that make other pods or have lost their labels, and put them right; an adopted one goes."""
    # Also those without pods: the Deployment controller adopts what bears its labels, and would scale it up again.
    found = observed.replica_sets_of(snapshot.revision)
    pods, marks = desired["spec"]["template"]["spec"], desired["metadata"]["labels"]
    edited = {_name(rs): difference(pods, rs["spec"]["template"].get("spec"), "spec.template.spec") for rs in found}
    for replica_set in found:
        name = _name(replica_set)
        where = edited[name] or _lost_label(replica_set, marks)
        why = f"ReplicaSet {name}: {where} is not what was promoted"
        if edited[name] and not all(edited.values()):
            yield Delete("ReplicaSet", name, replica_set["metadata"]["uid"], why)
        elif where:
            body = copy.deepcopy(replica_set)
            body["spec"]["template"]["spec"] = pods
            body["metadata"]["labels"] = (body["metadata"].get("labels") or {}) | marks
            yield Correct(body, _version(replica_set), why)


def _lost_label(obj: Object, marks: Mapping[str, str]) -> str | None:
    have = obj["metadata"].get("labels") or {}
    return next((f"metadata.labels[{key}]" for key, value in marks.items() if have.get(key) != value), None)


def _service(owner: ModelDeployment, observed: Observed, active: Snapshot) -> Iterator[Action]:
    desired, live = manifests.service(owner, active), observed.service
    if live is None:
        yield Create(desired)
        return
    where = service_drift(desired, live)
    if where is None:
        return
    if _is_own_switch(owner, desired, live):
        yield apply_step(desired, live)
        return
    # While a change of the spec is not yet answered for, another port is the user's own.
    asked = where.startswith("spec.ports") and owner.status.observed_generation != owner.generation
    why = None if asked else f"Service {_name(live)}: {where} was changed"
    if not is_headless(live):
        yield Correct(replacement(desired, live), _version(live), why)
    elif "deletionTimestamp" not in live["metadata"]:
        # It gets an address at its creation only. Who knows its name goes on reaching the pods by what DNS has answered, which
        # is how a Service without an address is reached, until the new one has its own.
        yield Delete("Service", _name(live), live["metadata"]["uid"], why or f"Service {_name(live)}: {where} was changed")
        yield Create(desired)


def _previous(owner: ModelDeployment) -> str | None:
    return owner.status.history[0].revision if owner.status.history else None


def _is_own_switch(owner: ModelDeployment, desired: Object, live: Object) -> bool:
    """Return whether a change is the switch from the revision before, and not somebody else's.

    A new port is no such step: a server-side apply merges ports by number and would leave the old one beside it.
    """
    ports, wanted = ([(p["port"], p.get("protocol")) for p in o["spec"].get("ports") or []] for o in (live, desired))
    before = desired["spec"]["selector"] | {labels.REVISION: _previous(owner)}
    return ports == wanted and live["spec"].get("selector") == before


def _budget(owner: ModelDeployment, observed: Observed, active: Snapshot) -> Iterator[Action]:
    desired, live = manifests.disruption_budget(owner, active.revision), observed.budget
    if live is None:
        yield Create(desired)
        return
    where = budget_drift(desired, live)
    if where is None:
        return
    previous = _previous(owner)
    if previous is not None and budget_drift(manifests.disruption_budget(owner, previous), live) is None:
        yield apply_step(desired, live)
        return
    # The whole spec: what somebody added (minAvailable) excludes what is ours.
    body = _with_live_metadata(live, desired) | {"spec": desired["spec"]}
    yield Correct(body, _version(live), f"PodDisruptionBudget {_name(live)}: {where} was changed")


def _foreign_sets(observed: Observed) -> Iterator[Action]:
    """Find ReplicaSets whose pods would bear a revision's labels, and that are not its Deployment's."""
    ours = {rs["metadata"]["uid"] for revision in observed.deployments for rs in observed.replica_sets_of(revision)}
    for replica_set in observed.replica_sets:
        made = revision_of(replica_set["spec"]["template"])
        left_behind = bool(replica_set["metadata"].get("ownerReferences")) and made not in observed.deployments
        if made and replica_set["metadata"]["uid"] not in ours and not left_behind:
            why = f"ReplicaSet {_name(replica_set)} bears Lockstep's labels and is not Lockstep's"
            yield Delete("ReplicaSet", _name(replica_set), replica_set["metadata"]["uid"], why)


def _old_revisions(
    owner: ModelDeployment,
    observed: Observed,
    *,
    active: Snapshot | None,
    keep: frozenset[str],
    rollout: RolloutSpec,
    now: datetime,
) -> tuple[list[Action], float | None]:
    status = owner.status
    if (status.active.revision if status.active else None) != (active.revision if active else None):
        # Status and records disagree about what serves: nothing is cleared away until they agree.
        return [], None
    # Whatever is believed: what the Service selects now is cleared away at the earliest after the switch.
    in_use = keep | {selected_revision(observed.service)} | ({active.revision} if active is not None else set())
    history = [entry.revision for entry in status.history if entry.revision and entry.revision not in in_use]
    kept = set(history[: rollout.revision_history_limit])
    since = status.active.start_time if status.active is not None else None
    drained = since + timedelta(seconds=rollout.scale_down_delay_seconds) if since else now
    actions: list[Action] = []
    due: float | None = None
    for revision, live in observed.deployments.items():
        if revision in in_use:
            continue
        serving = revision in history and now < drained and bool(live["spec"].get("replicas"))
        if serving:
            due = (drained - now).total_seconds()
        elif revision not in kept:
            actions.append(Delete("Deployment", _name(live), live["metadata"]["uid"]))
        elif live["spec"].get("replicas"):
            actions.append(Scale(_name(live), 0))
    for revision, live in observed.revisions.items():
        if revision not in in_use | kept and revision not in observed.deployments:
            actions.append(Delete("ControllerRevision", _name(live), live["metadata"]["uid"]))
    return actions, due


def _with_live_metadata(live: Object, desired: Object) -> Object:
    """Return the live object with our whole spec in it; what the API server allocated (addresses) stays."""
    body = copy.deepcopy(live)
    body.pop("status", None)
    body["metadata"].pop("managedFields", None)
    body["metadata"]["labels"] = (body["metadata"].get("labels") or {}) | desired["metadata"]["labels"]
    body["metadata"]["ownerReferences"] = desired["metadata"]["ownerReferences"]
    body["spec"] |= desired["spec"]
    return body


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def _version(obj: Object) -> str:
    return str(obj["metadata"]["resourceVersion"])
