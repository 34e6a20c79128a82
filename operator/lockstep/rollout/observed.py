"""What the cluster holds for one ModelDeployment at the moment of a decision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lockstep.rollout import labels
from lockstep.rollout.pods import controlled_by

Object = dict[str, Any]


@dataclass(frozen=True)
class Observed:
    """Objects as read, by revision where they have one. Only Deployments that the ModelDeployment controls are in here."""

    deployments: Mapping[str, Object] = field(default_factory=dict)
    revisions: Mapping[str, Object] = field(default_factory=dict)
    """ControllerRevisions, by revision."""
    replica_sets: Sequence[Object] = ()
    """All that bear the ModelDeployment's label, whoever made them."""
    pods: Sequence[Object] = ()
    """All that bear the ModelDeployment's label, whoever made them."""
    service: Object | None = None
    budget: Object | None = None
    conflict: str | None = None
    """Which object stands in the way under a name of ours; None when there is none."""

    def replica_sets_of(self, revision: str) -> list[Object]:
        """Return the ReplicaSets that a revision's Deployment controls."""
        deployment = self.deployments.get(revision)
        if deployment is None:
            return []
        uid = deployment["metadata"]["uid"]
        return [rs for rs in self.replica_sets if controlled_by(rs, uid)]

    def pods_of(self, revision: str) -> list[Object]:
        """Return the pods that a revision's ReplicaSets control and that are not being deleted."""
        uids = {rs["metadata"]["uid"] for rs in self.replica_sets_of(revision)}
        return [
            pod
            for pod in self.pods
            if revision_of(pod) == revision
            and "deletionTimestamp" not in pod["metadata"]
            and any(controlled_by(pod, uid) for uid in uids)
        ]


def selected_revision(service: Object | None) -> str:
    """Return the revision that a Service selects; empty when there is none or it selects none."""
    return str(((service or {}).get("spec", {}).get("selector") or {}).get(labels.REVISION, ""))


def revision_of(obj: Object) -> str:
    """Return the revision that an object's label names; empty when it has none."""
    return str((obj["metadata"].get("labels") or {}).get(labels.REVISION, ""))
