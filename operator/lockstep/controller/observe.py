"""Reads what the cluster holds for one ModelDeployment."""

import asyncio
from collections.abc import Collection

from lockstep.api.modeldeployment import ModelDeployment
from lockstep.controller import ports
from lockstep.controller.ports import Cluster, Object
from lockstep.rollout import labels
from lockstep.rollout.observed import Observed
from lockstep.rollout.pods import controlled_by


async def observe(cluster: Cluster, owner: ModelDeployment) -> Observed:
    """Read the owned objects, and those that only look owned.

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
    found = {_named_after(d, owner): d for d in deployments if controlled_by(d, owner.uid)}
    hidden = await _hidden(cluster, owner, found.keys())
    strangers = [deployment for deployment in hidden.values() if not controlled_by(deployment, owner.uid)]
    return Observed(
        deployments=found | {r: d for r, d in hidden.items() if controlled_by(d, owner.uid)},
        revisions={_named_after(r, owner): r for r in revisions if controlled_by(r, owner.uid)},
        replica_sets=replica_sets,
        pods=pods,
        service=service,
        budget=budget,
        conflict=_conflict(owner, service, budget, *strangers),
    )


async def _hidden(cluster: Cluster, owner: ModelDeployment, known: Collection[str]) -> dict[str, Object]:
    """Return the Deployments of revisions in use that have lost the label they are listed by, or are somebody else's."""
    status = owner.status
    used = {entry.revision for entry in (status.active, status.candidate) if entry is not None and entry.revision}
    missing = sorted(used - set(known))
    names = [f"{owner.name}-{revision}" for revision in missing]
    got = [await cluster.get(ports.DEPLOYMENT, owner.namespace, name) for name in names]
    return {revision: deployment for revision, deployment in zip(missing, got, strict=True) if deployment is not None}


def _named_after(obj: Object, owner: ModelDeployment) -> str:
    """Return the revision by the object's name, which can't be changed; its label can."""
    return str(obj["metadata"]["name"]).removeprefix(f"{owner.name}-")


def _conflict(owner: ModelDeployment, service: Object | None, budget: Object | None, *deployments: Object) -> str | None:
    named = [("Service", service), ("PodDisruptionBudget", budget), *(("Deployment", one) for one in deployments)]
    for kind, obj in named:
        if obj is not None and not controlled_by(obj, owner.uid):
            name = obj["metadata"]["name"]
            return f"the {kind} {name} exists already and is not Lockstep's: rename the ModelDeployment or delete it"
    return None


async def foreign_services(cluster: Cluster, owner: ModelDeployment, revision: str, extra: dict[str, str]) -> list[str]:
    """Return the names of other Services whose selector matches the pods of a revision."""
    pod_labels = extra | labels.of_revision(owner.name, revision)
    return [
        str(service["metadata"]["name"])
        for service in await cluster.list(ports.SERVICE, owner.namespace)
        if service["metadata"]["name"] != owner.name
        and (selector := service.get("spec", {}).get("selector"))
        and all(pod_labels.get(key) == value for key, value in selector.items())
    ]
