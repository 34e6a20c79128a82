"""Reads what the cluster holds for one ModelDeployment."""

import asyncio
from collections.abc import Collection, Iterable, Mapping

from lockstep.api.modeldeployment import ModelDeployment
from lockstep.controller.cluster import ports
from lockstep.controller.cluster.ports import Cluster, Object
from lockstep.rollout.objects import labels
from lockstep.rollout.observed.chain import controller_of, is_named_after
from lockstep.rollout.observed.observed import Observed
from lockstep.rollout.observed.observers import split_observer
from lockstep.rollout.observed.ownership import name_taken_message
from lockstep.rollout.observed.pods import controlled_by

_UNLABELLED = 8
"""ReplicaSets that are read by name in one reconciliation: a revision has one, for moments two."""


async def observe(cluster: Cluster, owner: ModelDeployment, observer: str = "") -> Observed:
    """Read the owned objects, and those that only seem to be owned.

    They are listed by label, which costs no more in a large namespace. What has lost that label is read by its name: the
    Deployments of revisions in use, and the ReplicaSets that listed pods name as their controller.

    Args:
        cluster: the cluster.
        owner: the ModelDeployment.
        observer: the repository of the observer's image; empty where there is no observer.

    Raises:
        ClusterError: the API server did not answer.
    """
    mine = {labels.MODEL_DEPLOYMENT: owner.name}
    namespace = owner.namespace
    deployments, replica_sets, pods, revisions, service, budget = await asyncio.gather(
        cluster.list(ports.DEPLOYMENT, namespace, labels=mine),
        cluster.list(ports.REPLICA_SET, namespace, labels=mine),
        cluster.list(ports.POD, namespace, labels=mine),
        cluster.list(ports.CONTROLLER_REVISION, namespace, labels=mine),
        cluster.get(ports.SERVICE, namespace, owner.name),
        cluster.get(ports.POD_DISRUPTION_BUDGET, namespace, owner.name),
    )
    split = [split_observer(pod, observer) for pod in pods]
    owned_deployments = {_revision_by_name(d, owner): d for d in deployments if controlled_by(d, owner.uid)}
    hidden = await _get_hidden_deployments(cluster, owner, owned_deployments.keys())
    owned_deployments |= {
        revision: deployment for revision, deployment in hidden.items() if controlled_by(deployment, owner.uid)
    }
    return Observed(
        deployments=owned_deployments,
        revisions={_revision_by_name(r, owner): r for r in revisions if controlled_by(r, owner.uid)},
        replica_sets=[
            *replica_sets,
            *await _get_unlabelled_replica_sets(cluster, namespace, owned_deployments.values(), replica_sets, pods),
        ],
        pods=[pod for pod, _ in split],
        observers={str(pod["metadata"]["uid"]): added for pod, added in split if added is not None},
        service=service,
        budget=budget,
        taken={
            revision: name_taken_message("Deployment", str(deployment["metadata"]["name"]))
            for revision, deployment in hidden.items()
            if not controlled_by(deployment, owner.uid)
        },
    )


async def _get_hidden_deployments(cluster: Cluster, owner: ModelDeployment, known: Collection[str]) -> dict[str, Object]:
    """Return the Deployments of revisions in use that have lost the label they are listed by, or are somebody else's."""
    status = owner.status
    used = {entry.revision for entry in (status.active, status.candidate) if entry is not None and entry.revision}
    missing = sorted(used - set(known))
    names = [f"{owner.name}-{revision}" for revision in missing]
    got = [await cluster.get(ports.DEPLOYMENT, owner.namespace, name) for name in names]
    return {revision: deployment for revision, deployment in zip(missing, got, strict=True) if deployment is not None}


async def _get_unlabelled_replica_sets(
    cluster: Cluster, namespace: str, deployments: Iterable[Object], listed: Iterable[Object], pods: Iterable[Object]
) -> list[Object]:
    """Return the ReplicaSets of ours that pods name as their controller and that have lost the label they are listed by.

    Only names that a ReplicaSet of ours can have are read: who makes pods with our labels does not make us read more.
    """
    known = {str(one["metadata"]["uid"]) for one in listed}
    ours = [str(one["metadata"]["name"]) for one in deployments]
    named: dict[str, set[str]] = {}
    for pod in pods:
        reference = controller_of(pod) or {}
        name, uid = str(reference.get("name")), str(reference.get("uid"))
        if reference.get("kind") == "ReplicaSet" and uid not in known and any(is_named_after(name, one) for one in ours):
            named.setdefault(name, set()).add(uid)
    got = [await cluster.get(ports.REPLICA_SET, namespace, name) for name in sorted(named)[:_UNLABELLED]]
    return [one for one in got if one is not None and one["metadata"]["uid"] in named[str(one["metadata"]["name"])]]


def _revision_by_name(obj: Object, owner: ModelDeployment) -> str:
    """Return the revision by the object's name, which can't be changed; its label can."""
    return str(obj["metadata"]["name"]).removeprefix(f"{owner.name}-")


async def foreign_services(
    cluster: Cluster, owner: ModelDeployment, revision: str, extra: dict[str, str], pods: Iterable[Object] = ()
) -> list[str]:
    """Return the names of other Services that lead to pods of a revision.

    Args:
        cluster: the cluster.
        owner: the ModelDeployment.
        revision: the revision.
        extra: further labels that its pods are given.
        pods: those that there are, with the labels that controllers and admission have added (pod-template-hash).
    """
    known = [extra | labels.of_revision(owner.name, revision), *(pod["metadata"].get("labels") or {} for pod in pods)]
    services = await cluster.list(ports.SERVICE, owner.namespace)
    others = [service for service in services if service["metadata"]["name"] != owner.name]
    return [str(service["metadata"]["name"]) for service in others if any(_leads_to(service, marks) for marks in known)]


def _leads_to(service: Object, marks: Mapping[str, str]) -> bool:
    """Return whether a Service selects pods with these labels. An empty selector selects none by itself, and a Service that is
    another name of some host (ExternalName) leads nowhere else, whatever it selects.
    """
    spec = service.get("spec") or {}
    selector = spec.get("selector") or {}
    return bool(selector) and spec.get("type") != "ExternalName" and all(marks.get(k) == v for k, v in selector.items())


async def is_ending(cluster: Cluster, namespace: str) -> bool:
    """Return whether a namespace is being deleted: nothing can be made in it any more, and nothing has to.

    Raises:
        ClusterError: the API server did not answer.
    """
    named = await cluster.get(ports.NAMESPACE, None, namespace)
    return named is None or "deletionTimestamp" in named["metadata"]
