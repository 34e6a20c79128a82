"""What the cluster holds for one ModelDeployment at the moment of a decision."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lockstep.api.kinds import Object
from lockstep.rollout.objects import labels
from lockstep.rollout.observed.chain import is_pod_of, is_replica_set_of


@dataclass(frozen=True)
class Observed:
    """Objects as read, by revision where they have one. Only Deployments that the ModelDeployment controls are in here."""

    deployments: Mapping[str, Object] = field(default_factory=dict)
    revisions: Mapping[str, Object] = field(default_factory=dict)
    """ControllerRevisions, by revision."""
    replica_sets: Sequence[Object] = ()
    """All that bear the ModelDeployment's label, whoever made them, and those of ours that have lost it and have pods."""
    pods: Sequence[Object] = ()
    """All that bear the ModelDeployment's label, whoever made them."""
    observers: Mapping[str, Object] = field(default_factory=dict)
    """The containers that Lockstep has added to pods, by the pods' uids; `pods` are as they were before."""
    service: Object | None = None
    budget: Object | None = None
    conflict: str | None = None
    """Which Service or PodDisruptionBudget stands in the way under a name of ours; None when there is none."""
    taken: Mapping[str, str] = field(default_factory=dict)
    """Revisions whose Deployment's name somebody else's has, with what to do about it. It concerns that revision alone."""

    def replica_sets_of(self, revision: str) -> list[Object]:
        """Return the ReplicaSets of a revision's Deployment."""
        deployment = self.deployments.get(revision)
        if deployment is None:
            return []
        return [rs for rs in self.replica_sets if is_replica_set_of(rs, deployment)]

    def pods_of(self, revision: str) -> list[Object]:
        """Return the pods of a revision's ReplicaSets that are not being deleted."""
        sets = self.replica_sets_of(revision)
        return [pod for pod in self.bearers_of(revision) if any(is_pod_of(pod, rs) for rs in sets)]

    def bearers_of(self, revision: str) -> list[Object]:
        """Return the pods that bear a revision's label, whoever made them, and that are not being deleted."""
        return [pod for pod in self.pods if revision_of(pod) == revision and "deletionTimestamp" not in pod["metadata"]]

    def ready_pods(self, revision: str) -> int:
        """Return how many pods are ready that a Service would select by a revision's labels."""
        return sum(1 for pod in self.bearers_of(revision) if is_ready(pod))

    def without(self, names: Collection[str]) -> "Observed":
        """Return the same without some pods, by name."""
        return replace(self, pods=[pod for pod in self.pods if pod["metadata"]["name"] not in names]) if names else self


def selected_revision(service: Object | None) -> str:
    """Return the revision that a Service selects; empty when there is none or it selects none."""
    return str(((service or {}).get("spec", {}).get("selector") or {}).get(labels.REVISION, ""))


def revision_of(obj: Object) -> str:
    """Return the revision that an object's label names; empty when it has none."""
    return str((obj["metadata"].get("labels") or {}).get(labels.REVISION, ""))


def is_ready(pod: Object) -> bool:
    """Return whether the node says that a pod is ready."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
