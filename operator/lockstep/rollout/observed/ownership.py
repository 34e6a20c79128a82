"""Whether an object under a name of ours is ours. An owner reference proves nothing: whoever creates an object writes them as
they like. Lockstep's labels do, since the chart's guards let nobody else write them.
"""

from collections.abc import Callable

from lockstep.api.kinds import Object
from lockstep.api.modeldeployment import ModelDeployment
from lockstep.rollout.objects import labels, manifests
from lockstep.rollout.objects.drift import budget_drift, deployment_drift, revision_drift
from lockstep.rollout.objects.revision import Snapshot
from lockstep.rollout.objects.service import service_drift
from lockstep.rollout.observed.observed import Observed
from lockstep.rollout.observed.pods import controlled_by

_DRIFTS: dict[str, Callable[[Object, Object], str | None]] = {
    "Deployment": deployment_drift,
    "Service": service_drift,
    "PodDisruptionBudget": budget_drift,
    "ControllerRevision": revision_drift,
}


def drift(desired: Object, live: Object) -> str | None:
    """Return where an object differs from the desired one, as its kind is compared; None when nowhere, or of another kind."""
    compare = _DRIFTS.get(desired["kind"])
    return compare(desired, live) if compare is not None else None


def lacks_labels_only(desired: Object, live: Object) -> bool:
    """Return whether a live object is the desired one but for labels of ours, so that it may be ours and have lost them.

    Whoever made it: with the labels it is, in all that is compared, the object that we would make in its place.
    """
    marked = (live["metadata"].get("labels") or {}) | desired["metadata"]["labels"]
    relabelled = live | {"metadata": live["metadata"] | {"labels": marked}}
    return "deletionTimestamp" not in live["metadata"] and drift(desired, relabelled) is None


def name_taken_message(kind: str, name: str, why: str = "") -> str:
    """Say that somebody else's object has a name of ours."""
    return f"the {kind} {name} exists already and is not Lockstep's{why}: rename the ModelDeployment or delete it"


def foreign_object(owner: ModelDeployment, observed: Observed, active: Snapshot | None) -> str | None:
    """Say which Service or PodDisruptionBudget of the ModelDeployment's name is somebody else's, and why; None when none is.

    Args:
        owner: the ModelDeployment.
        observed: the cluster.
        active: what serves; without it nothing has been made yet that could have lost its labels.
    """
    ours = [manifests.service(owner, active), manifests.disruption_budget(owner, active.revision)] if active else [None, None]
    for kind, live, desired in zip(("Service", "PodDisruptionBudget"), (observed.service, observed.budget), ours, strict=True):
        if live is None or _is_ours(owner, live, desired):
            continue
        marks = f", which marks its own with the label {labels.MODEL_DEPLOYMENT}" if controlled_by(live, owner.uid) else ""
        return name_taken_message(kind, str(live["metadata"]["name"]), marks)
    return None


def _is_ours(owner: ModelDeployment, live: Object, desired: Object | None) -> bool:
    marked = (live["metadata"].get("labels") or {}).get(labels.MODEL_DEPLOYMENT) == owner.name
    return controlled_by(live, owner.uid) and (marked or (desired is not None and lacks_labels_only(desired, live)))
