"""What each pod is that bears a revision's labels, by which a Service selects it."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from lockstep.api.kinds import Object
from lockstep.rollout.objects.revision import Snapshot
from lockstep.rollout.observed.chain import is_pod_of
from lockstep.rollout.observed.observed import Observed, is_ready, revision_of
from lockstep.rollout.observed.pods import is_edited, tampering

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Standing(StrEnum):
    """What a pod is to the revision whose labels it bears."""

    OWN = "own"
    """Made by the revision's ReplicaSet, and as it was asked for."""
    MADE_OTHERWISE = "made otherwise"
    """The ReplicaSet's, and not as it was asked for from its first moment: admission changed it, and will change the next."""
    EDITED = "edited"
    """The ReplicaSet's, and changed since it was made: the next one will be as it was asked for."""
    STRAY = "stray"
    """As it was asked for, and not, or no longer, the ReplicaSet's."""
    STRANGER = "stranger"
    """Neither: nobody has ever checked what it runs."""


@dataclass(frozen=True)
class Bearer:
    """One pod that bears a revision's labels."""

    name: str
    uid: str
    revision: str
    standing: Standing
    ready: bool
    made: datetime
    how: str | None = None
    """How it differs from what was asked for; None where it does not, or where that is not known."""


def bearers(observed: Observed, snapshots: Mapping[str, Snapshot], *, in_use: Collection[str]) -> Iterator[Bearer]:
    """Yield every pod that bears a revision's label and is not being deleted.

    What a deleted Deployment leaves behind is the garbage collector's and left out, but for revisions that are in use.
    """
    for pod in observed.pods:
        revision = revision_of(pod)
        if not revision or "deletionTimestamp" in pod["metadata"]:
            continue
        left_behind = bool(pod["metadata"].get("ownerReferences")) and revision not in observed.deployments
        if not left_behind or revision in in_use:
            yield _bearer(pod, revision, observed, snapshots.get(revision))


def _bearer(pod: Object, revision: str, observed: Observed, snapshot: Snapshot | None) -> Bearer:
    owned = any(is_pod_of(pod, replica_set) for replica_set in observed.replica_sets_of(revision))
    how = tampering(pod, snapshot) if snapshot is not None else None
    metadata = pod["metadata"]
    made = metadata.get("creationTimestamp")
    return Bearer(
        name=str(metadata["name"]),
        uid=str(metadata["uid"]),
        revision=revision,
        standing=_standing(pod, snapshot, owned=owned, how=how),
        ready=is_ready(pod),
        made=datetime.fromisoformat(made) if made else _LONG_AGO,
        how=how,
    )


def _standing(pod: Object, snapshot: Snapshot | None, *, owned: bool, how: str | None) -> Standing:
    if not owned:
        return Standing.STRAY if snapshot is not None and how is None else Standing.STRANGER
    if snapshot is None or how is None:
        return Standing.OWN
    return Standing.EDITED if is_edited(pod, snapshot) else Standing.MADE_OTHERWISE
