"""Keeps what serves as it was promoted: the active revision's objects, old revisions, and nothing foreign among the pods.

Needs no evidence and no registry, so that what serves goes on being looked after while everything else is down.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from lockstep.api.modeldeployment import ModelDeployment
from lockstep.api.promotionpolicy import RolloutSpec
from lockstep.rollout import labels, manifests
from lockstep.rollout.actions import Action, Correct, Create, Delete, Manifest, Scale, applied
from lockstep.rollout.drift import TRAFFIC_KEYS, budget_drift, deployment_drift, difference, service_drift
from lockstep.rollout.observed import Object, Observed, revision_of, selected_revision
from lockstep.rollout.pods import controlled_by, tampering
from lockstep.rollout.revision import Snapshot


@dataclass(frozen=True)
class Upkeep:
    """What there is to do now, and in how many seconds something falls due by itself."""

    actions: tuple[Action, ...]
    due: float | None = None


def maintain(
    owner: ModelDeployment,
    observed: Observed,
    *,
    active: Snapshot | None,
    snapshots: Mapping[str, Snapshot],
    keep: frozenset[str],
    rollout: RolloutSpec,
    now: datetime,
) -> Upkeep:
    """Compare the cluster with what was promoted.

    Args:
        owner: the ModelDeployment; its status says what is active and what was.
        observed: the cluster, read before this.
        active: snapshot of the active revision; None before the first promotion.
        snapshots: the snapshots that are known, by revision.
        keep: revisions that are in use besides the active one (the candidate).
        rollout: the policy's rollout settings.
        now: the present time.
    """
    actions: list[Action] = list(_foreign(observed, snapshots))
    for revision in keep:
        if revision in snapshots:
            actions += _drift_of_deployment(owner, observed, snapshots[revision])
    if active is not None and observed.conflict is None:
        actions += _active_deployment(owner, observed, active)
        actions += _service(owner, observed, active)
        actions += _budget(owner, observed, active)
    old, due = _old_revisions(owner, observed, active=active, keep=keep, rollout=rollout, now=now)
    return Upkeep(actions=(*actions, *old), due=due)


def _active_deployment(owner: ModelDeployment, observed: Observed, active: Snapshot) -> Iterator[Action]:
    live = observed.deployments.get(active.revision)
    if live is None:
        yield Create(manifests.deployment(owner, active, replicas=owner.spec.replicas, paused=False))
        return
    drift = list(_drift_of_deployment(owner, observed, active))
    yield from drift
    if not drift and live["spec"].get("replicas") != owner.spec.replicas:
        yield Scale(live["metadata"]["name"], owner.spec.replicas)


def _drift_of_deployment(owner: ModelDeployment, observed: Observed, snapshot: Snapshot) -> Iterator[Action]:
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
    where = deployment_drift(desired, live)
    if where is None and serves and complete and not paused:
        where = "spec.paused"
    if where:
        yield Correct(_replacing(live, desired), _version(live), f"Deployment {_name(live)}: {where} was changed")
    yield from _drift_of_replica_sets(observed, snapshot, desired["spec"]["template"]["spec"])


def _drift_of_replica_sets(observed: Observed, snapshot: Snapshot, pods: Manifest) -> Iterator[Action]:
    """Find ReplicaSets of ours that make other pods: an edited one is put right, an adopted stranger goes."""
    # Also those without pods: the Deployment controller adopts what bears its labels, and would scale it up again.
    found = observed.replica_sets_of(snapshot.revision)
    edited = [
        (rs, where) for rs in found if (where := difference(pods, rs["spec"]["template"].get("spec"), "spec.template.spec"))
    ]
    for replica_set, where in edited:
        why = f"ReplicaSet {_name(replica_set)}: {where} is not what was promoted"
        if len(edited) < len(found):
            yield Delete("ReplicaSet", _name(replica_set), replica_set["metadata"]["uid"], why)
        else:
            body = copy.deepcopy(replica_set)
            body["spec"]["template"]["spec"] = pods
            yield Correct(body, _version(replica_set), why)


def _service(owner: ModelDeployment, observed: Observed, active: Snapshot) -> Iterator[Action]:
    desired, live = manifests.service(owner, active), observed.service
    if live is None:
        yield Create(desired)
        return
    where = service_drift(desired, live)
    if where is None:
        return
    if _own_switch(owner, desired, live):
        yield applied(desired, live)
        return
    # While a change of the spec is not yet answered for, another port is the user's own.
    asked = where.startswith("spec.ports") and owner.status.observed_generation != owner.generation
    why = None if asked else f"Service {_name(live)}: {where} was changed"
    yield Correct(_replacing(live, desired, drop=TRAFFIC_KEYS), _version(live), why)


def _previous(owner: ModelDeployment) -> str | None:
    return owner.status.history[0].revision if owner.status.history else None


def _own_switch(owner: ModelDeployment, desired: Manifest, live: Object) -> bool:
    """Tell the switch from the revision before from somebody else's change.

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
        yield applied(desired, live)
        return
    # The whole spec: what somebody added (minAvailable) excludes what is ours.
    body = _replacing(live, desired) | {"spec": desired["spec"]}
    yield Correct(body, _version(live), f"PodDisruptionBudget {_name(live)}: {where} was changed")


def _foreign(observed: Observed, snapshots: Mapping[str, Snapshot]) -> Iterator[Action]:
    """Find ReplicaSets and Pods that bear the reserved labels without being ours, and pods of ours that were changed."""
    ours = {d["metadata"]["uid"] for d in observed.deployments.values()}
    sets = [rs for rs in observed.replica_sets if revision_of(rs)]
    for replica_set in sets:
        if not any(controlled_by(replica_set, uid) for uid in ours) and not _orphaned(replica_set, observed):
            why = f"ReplicaSet {_name(replica_set)} bears Lockstep's labels and is not Lockstep's"
            yield Delete("ReplicaSet", _name(replica_set), replica_set["metadata"]["uid"], why)
    for pod in observed.pods:
        if "deletionTimestamp" in pod["metadata"] or not revision_of(pod):
            continue
        revision = revision_of(pod)
        owned = any(controlled_by(pod, rs["metadata"]["uid"]) for rs in observed.replica_sets_of(revision))
        snapshot = snapshots.get(revision)
        if not owned and not _orphaned(pod, observed):
            why = f"Pod {_name(pod)} bears Lockstep's labels and is not Lockstep's"
            yield Delete("Pod", _name(pod), pod["metadata"]["uid"], why)
        elif owned and snapshot is not None and (how := tampering(pod, snapshot)):
            yield Delete("Pod", _name(pod), pod["metadata"]["uid"], f"Pod {_name(pod)} was changed: {how}")


def _orphaned(obj: Object, observed: Observed) -> bool:
    """Tell whether the garbage collector is about to delete the object: its revision's Deployment is gone."""
    references = obj["metadata"].get("ownerReferences") or []
    return bool(references) and revision_of(obj) not in observed.deployments


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


def _replacing(live: Object, desired: Manifest, drop: tuple[str, ...] = ()) -> Manifest:
    """Return the live object with our whole spec in it; what the API server allocated (addresses) stays."""
    body = copy.deepcopy(live)
    body.pop("status", None)
    body["metadata"].pop("managedFields", None)
    body["metadata"]["labels"] = (body["metadata"].get("labels") or {}) | desired["metadata"]["labels"]
    body["metadata"]["ownerReferences"] = desired["metadata"]["ownerReferences"]
    for key in drop:
        body["spec"].pop(key, None)
    body["spec"] |= desired["spec"]
    return body


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def _version(obj: Object) -> str:
    return str(obj["metadata"]["resourceVersion"])
