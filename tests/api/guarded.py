"""What the tests of the guards share: a ModelDeployment's objects in a real API server, and who writes to them.

Everybody who is refused holds every permission that RBAC can give, so that it is the guards that refuse.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from lockstep.api.modeldeployment import ModelDeployment
from lockstep.api.podtemplate import PodTemplate
from lockstep.controller.cluster import ports
from lockstep.controller.cluster.client import KubernetesCluster
from lockstep.controller.cluster.ports import Object
from lockstep.rollout.objects import manifests
from lockstep.rollout.objects.revision import Snapshot
from tests.api.installation import ADMIN, BREAK_GLASS, Installation, Said
from tests.fakes import live

_RESOURCES = {"requests": {"cpu": "1"}}
SNAPSHOT: Snapshot = live.snapshot(template=PodTemplate.model_validate({"resources": _RESOURCES}))
KINDS = (ports.CONTROLLER_REVISION, ports.DEPLOYMENT, ports.SERVICE, ports.POD_DISRUPTION_BUDGET)
RESOURCES = ("controllerrevision", "deployment", "service", "poddisruptionbudget")
SCHEDULER = "system:kube-scheduler"
NODE = "system:node:node-1"
EVERY_CONTROLLER = "system:kube-controller-manager"
"""Who Kubernetes' controllers are where they have no service accounts of their own."""


_NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1", "labels": {"kubernetes.io/arch": "amd64"}}}


def controller(name: str) -> str:
    """Return the service account of one of Kubernetes' own controllers."""
    return f"system:serviceaccount:kube-system:{name}"


DEPLOYMENT_CONTROLLER = controller("deployment-controller")
REPLICASET_CONTROLLER = controller("replicaset-controller")
COLLECTOR = controller("generic-garbage-collector")
NAMESPACE_CONTROLLER = controller("namespace-controller")


def owned(owner: ModelDeployment) -> list[Object]:
    """Return all that the operator creates in a namespace."""
    return [
        manifests.controller_revision(owner, SNAPSHOT),
        manifests.deployment(owner, SNAPSHOT, replicas=2, paused=False),
        manifests.service(owner, SNAPSHOT),
        manifests.disruption_budget(owner, SNAPSHOT.revision),
    ]


def acting_as(user: str) -> tuple[str, ...]:
    """Return what lets the administrator act as somebody else."""
    return ("--as", user)


def as_master(user: str, *groups: str) -> tuple[str, ...]:
    """Return what lets the administrator act as somebody else who has every right, where RBAC is not meant."""
    return ("--as", user, *(word for group in ("system:masters", *groups) for word in ("--as-group", group)))


def as_node(user: str = NODE) -> tuple[str, ...]:
    """Return what lets the administrator act as a kubelet."""
    return as_master(user, "system:nodes")


def create(api: Installation, body: Object, *words: str, user: str = ADMIN) -> Said:
    """Create an object."""
    return api.kubectl("create", "-f", "-", *words, user=user, stdin=yaml.safe_dump(body), check=False)


def refused(said: Said, guard: str, *words: str) -> None:
    """Say that a guard refused, and said some words."""
    assert said.code != 0
    assert f"ValidatingAdmissionPolicy 'lockstep-{guard}'" in said.error, said
    assert all(word in said.error for word in words), said.error


def allowed(said: Said) -> None:
    """Say that nothing refused."""
    assert said.code == 0, said.error


@dataclass(frozen=True)
class Serving:
    """A ModelDeployment's objects: a Deployment, its ReplicaSet with one pod on a node, the Service and the budget."""

    api: Installation
    namespace: str
    replica_set: str
    pod: str

    def patch(self, resource: str, patch: Mapping[str, Any], who: tuple[str, ...] = (), *, user: str = ADMIN) -> Said:
        """Patch an object (`pod`) or a subresource of it (`pod/status`), as a merge."""
        resource, _, subresource = resource.partition("/")
        name = {"replicaset": self.replica_set, "pod": self.pod, "deployment": SNAPSHOT.object_name}.get(resource, "iris")
        where = ("-n", self.namespace, *((f"--subresource={subresource}",) if subresource else ()))
        words = ("patch", resource, name, *where, "--type=merge", "--patch", json.dumps(patch), "--dry-run=server")
        return self.api.kubectl(*words, *who, user=user, check=False)

    def break_glass(self, resource: str, patch: Mapping[str, Any]) -> Said:
        """Patch as somebody who may act past the guards."""
        return self.patch(resource, patch, user=BREAK_GLASS)

    def status(self) -> Object:
        """Return the pod's status."""
        found: Object = self.api.get("pod", self.pod, self.namespace)["status"]
        return found


async def serve(api: Installation, cluster: KubernetesCluster, owner: ModelDeployment) -> Serving:
    """Make a ModelDeployment's objects, each by who makes it in a cluster."""
    # A pod is resized on nodes that exist.
    api.apply(_NODE)
    room = json.dumps({"status": {"allocatable": {"cpu": "64"}, "capacity": {"cpu": "64"}}})
    api.kubectl("patch", "node", "node-1", "--subresource=status", "--type=merge", "--patch", room)
    for kind, body in zip(KINDS, owned(owner), strict=True):
        await cluster.create(kind, owner.namespace, body)
    made = make_replica_set(api, owner)
    pod = make_pod(api, made)["metadata"]["name"]
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod}, "target": {"kind": "Node", "name": "node-1"}}
    path = f"/api/v1/namespaces/{owner.namespace}/pods/{pod}/binding"
    api.kubectl("create", "--raw", path, "-f", "-", *as_master(SCHEDULER), stdin=json.dumps(binding))
    found = Serving(api, owner.namespace, made["metadata"]["name"], pod)
    running = {"name": "server", "ready": True, "restartCount": 0, "image": SNAPSHOT.image, "imageID": SNAPSHOT.image}
    running |= {"state": {"running": {"startedAt": "2026-11-20T12:00:00Z"}}, "resources": _RESOURCES}
    status = {
        "phase": "Running",
        "podIP": "10.88.0.7",
        "podIPs": [{"ip": "10.88.0.7"}],
        "hostIP": "10.88.0.1",
        "hostIPs": [{"ip": "10.88.0.1"}],
        "conditions": [{"type": kind, "status": "True"} for kind in ("PodScheduled", "Ready", "ContainersReady")],
        "containerStatuses": [running],
    }
    words = ("patch", "pod", pod, "-n", owner.namespace, "--subresource=status", "--type=merge")
    api.kubectl(*words, "--patch", json.dumps({"status": status}), *as_node())
    return found


def make_replica_set(api: Installation, owner: ModelDeployment) -> Object:
    """Let the Deployment controller make a ReplicaSet, and see that nobody else may."""
    desired = manifests.deployment(owner, SNAPSHOT, replicas=2, paused=False)
    metadata = {**desired["metadata"], "name": f"{SNAPSHOT.object_name}-6d4cf56db6", "ownerReferences": []}
    body = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": metadata,
        "spec": {key: desired["spec"][key] for key in ("replicas", "selector", "template")},
    }
    refused(create(api, body), "replicasets")
    refused(create(api, body, *as_master(REPLICASET_CONTROLLER)), "replicasets")
    made = create(api, body, *acting_as(DEPLOYMENT_CONTROLLER), "-o", "json")
    assert made.code == 0, made
    return made.object


def make_pod(api: Installation, replica_set: Object, **spec: Any) -> Object:
    """Let the ReplicaSet controller make a pod, and see that nobody else may."""
    template, metadata = replica_set["spec"]["template"], replica_set["metadata"]
    marks = template["metadata"]["labels"] | {"pod-template-hash": "6d4cf56db6"}
    reference = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": metadata["name"], "uid": metadata["uid"]}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": f"{metadata['name']}-",
            "namespace": metadata["namespace"],
            "labels": marks,
            "ownerReferences": [reference | {"controller": True, "blockOwnerDeletion": True}],
        },
        "spec": template["spec"] | spec,
    }
    for user in (ADMIN, DEPLOYMENT_CONTROLLER, controller("job-controller")):
        refused(create(api, body, *as_master(user)), "pods")
    made = create(api, body, *acting_as(REPLICASET_CONTROLLER), "-o", "json")
    assert made.code == 0, made
    return made.object
