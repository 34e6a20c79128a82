"""What makes pods, and what pods may become: Deployments, ReplicaSets, Pods, and every subresource that changes them."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from lockstep.api.modeldeployment import ModelDeployment
from lockstep.controller.cluster import ports
from lockstep.controller.cluster.client import KubernetesCluster
from lockstep.controller.cluster.ports import Object, RejectedError
from lockstep.rollout.objects import labels, manifests
from lockstep.rollout.objects.observer import observer_container
from lockstep.rollout.observed.observers import split_observer
from tests.api.guarded import (
    COLLECTOR,
    DEPLOYMENT_CONTROLLER,
    EVERY_CONTROLLER,
    NODE,
    REPLICASET_CONTROLLER,
    SCHEDULER,
    SNAPSHOT,
    Serving,
    allowed,
    as_master,
    as_node,
    controller,
    create,
    make_pod,
    make_replica_set,
    refused,
)
from tests.api.installation import ADMIN, BREAK_GLASS, OPERATOR, VIRTUAL_KUBELET, Installation, rendered

pytestmark = pytest.mark.api

Patch = tuple[str, Mapping[str, Any]]


def relabelled(resource: str, **marks: str | None) -> Patch:
    """Return a patch of labels; `revision` and `template_hash` are given by their short names."""
    names = {"revision": labels.REVISION, "template_hash": "pod-template-hash", "owner": labels.MODEL_DEPLOYMENT}
    return resource, {"metadata": {"labels": {names[key]: value for key, value in marks.items()}}}


# --- Deployments and ReplicaSets ---------------------------------------------------------------------------------------


async def test_a_deployment_whose_pods_would_get_traffic_is_refused(api: Installation, owner: ModelDeployment) -> None:
    body = manifests.deployment(owner, SNAPSHOT, replicas=1, paused=False)
    body["metadata"] = {"name": "intruder", "namespace": owner.namespace}
    refused(create(api, body), "deployments")
    harmless = {"app": "intruder"}
    body["spec"]["selector"] = {"matchLabels": harmless}
    body["spec"]["template"]["metadata"] = {"labels": harmless}
    assert create(api, body).code == 0
    patch = {"spec": {"template": {"metadata": {"labels": {labels.REVISION: SNAPSHOT.revision}}}}}
    words = ("patch", "deployment", "intruder", "-n", owner.namespace, "--patch", json.dumps(patch))
    refused(api.kubectl(*words, check=False), "deployments")


async def test_the_deployment_controller_annotates_and_changes_nothing_else(
    api: Installation, cluster: KubernetesCluster, owner: ModelDeployment
) -> None:
    made = await cluster.create(
        ports.DEPLOYMENT, owner.namespace, manifests.deployment(owner, SNAPSHOT, replicas=2, paused=False)
    )
    name, words = made["metadata"]["name"], ("-n", owner.namespace, *as_master(DEPLOYMENT_CONTROLLER))
    api.kubectl("annotate", "deployment", name, "deployment.kubernetes.io/revision=1", *words)
    image = ("set", "image", f"deployment/{name}", "server=registry.example.com/other", *words)
    refused(api.kubectl(*image, check=False), "deployments")


def test_replica_sets_come_from_the_deployment_controller_alone(api: Installation, owner: ModelDeployment) -> None:
    name = make_replica_set(api, owner)["metadata"]["name"]
    where = ("-n", owner.namespace)
    refused(api.kubectl("set", "image", f"rs/{name}", "server=registry.example.com/other", *where, check=False), "replicasets")
    refused(api.kubectl("label", "rs", name, f"{labels.REVISION}-", *where, check=False), "replicasets")
    refused(api.kubectl("delete", "rs", name, *where, check=False), "replicasets")


COUNTED = {"status": {"replicas": 1, "readyReplicas": 1}}
WORKLOADS: dict[str, Patch] = {
    "the owner's label, by the ReplicaSet's status": relabelled("replicaset/status", owner=None),
    "the revision, by the ReplicaSet's status": relabelled("replicaset/status", revision="another"),
    "the ReplicaSet's count": ("replicaset/status", COUNTED),
    "the ReplicaSet's owner": ("replicaset", {"metadata": {"ownerReferences": None}}),
    "the owner's label, by the Deployment's status": relabelled("deployment/status", owner=None),
    "the Deployment's count": ("deployment/status", COUNTED),
    "the Deployment's owner": ("deployment", {"metadata": {"ownerReferences": None}}),
}


@pytest.mark.parametrize("patch", WORKLOADS.values(), ids=WORKLOADS)
def test_nobody_changes_what_makes_the_pods(serving: Serving, granted: tuple[str, ...], patch: Patch) -> None:
    guard = patch[0].partition("/")[0] + "s"
    for who in ((), granted, as_node(), as_master(SCHEDULER), as_master(controller("job-controller"))):
        refused(serving.patch(*patch, who), guard)
    allowed(serving.break_glass(*patch))


@pytest.mark.parametrize(
    ("resource", "user"),
    [
        ("replicaset/status", REPLICASET_CONTROLLER),
        ("replicaset/status", EVERY_CONTROLLER),
        ("deployment/status", DEPLOYMENT_CONTROLLER),
        ("deployment/status", EVERY_CONTROLLER),
    ],
)
def test_kubernetes_controllers_count_what_there_is(serving: Serving, resource: str, user: str) -> None:
    allowed(serving.patch(resource, COUNTED, as_master(user)))


def test_the_garbage_collector_orphans_what_makes_the_pods(serving: Serving) -> None:
    """What `--cascade=orphan` of a ModelDeployment asks for."""
    for resource in ("deployment", "replicaset", "service", "poddisruptionbudget"):
        allowed(serving.patch(resource, {"metadata": {"ownerReferences": None}}, as_master(COLLECTOR)))


# --- pods: what they are ------------------------------------------------------------------------------------------------


def test_pods_that_get_traffic_stay_what_was_checked(api: Installation, owner: ModelDeployment) -> None:
    name = make_pod(api, make_replica_set(api, owner))["metadata"]["name"]
    where = ("-n", owner.namespace)
    image = ("set", "image", f"pod/{name}", "server=registry.example.com/other", *where)
    refused(api.kubectl(*image, check=False), "pods")
    refused(api.kubectl("label", "pod", name, f"{labels.REVISION}-", *where, check=False), "pods")
    refused(api.kubectl("label", "pod", name, f"{labels.REVISION}=another", "--overwrite", *where, check=False), "pods")
    debug = ("debug", name, "--image=registry.example.com/debug", *where)
    refused(api.kubectl(*debug, check=False), "pods")
    api.kubectl("label", "pod", name, "mine=yes", *where)
    api.kubectl("annotate", "pod", name, "controller.kubernetes.io/pod-deletion-cost=7", *where)
    api.kubectl(*image, user=BREAK_GLASS)
    api.kubectl("delete", "pod", name, "--wait=false", *where)


FORGED: dict[str, Object] = {
    "another name": {"name": "debugger"},
    "another image": {"image": "registry.example.com/evil:1"},
    "another command": {"command": ["sh"]},
    "arguments": {"args": ["-c", "x"]},
    "variables": {"env": [{"name": "LD_PRELOAD", "value": "/x.so"}]},
    "no target": {"targetContainerName": "other"},
    "privileges": {"securityContext": {"privileged": True}},
}


def observer(pod: Object, **changes: Any) -> Object:
    (deployment,) = [one for one in rendered() if one["kind"] == "Deployment"]
    settings = {one["name"]: one.get("value") for one in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
    image = str(settings["LOCKSTEP_OBSERVER_IMAGE"])
    return observer_container(pod, image, variables=("PATH",), user=1000, group=1000) | changes


async def test_the_operator_adds_the_observer_and_nothing_else(
    api: Installation, cluster: KubernetesCluster, owner: ModelDeployment
) -> None:
    pod = make_pod(api, make_replica_set(api, owner))
    for changes in FORGED.values():
        with pytest.raises(RejectedError):
            await cluster.add_ephemeral_container(owner.namespace, pod, observer(pod, **changes))
    async with api.cluster(ADMIN) as administrator:
        with pytest.raises(RejectedError, match="ephemeral containers"):
            await administrator.add_ephemeral_container(owner.namespace, pod, observer(pod))
    other = dict(pod, metadata=dict(pod["metadata"], uid="00000000-0000-0000-0000-000000000000"))
    with pytest.raises(RejectedError, match="uid"):
        await cluster.add_ephemeral_container(owner.namespace, other, observer(pod))
    await cluster.add_ephemeral_container(owner.namespace, pod, observer(pod))
    live = api.get("pod", pod["metadata"]["name"], owner.namespace)
    assert live["metadata"]["generation"] == 2
    before, added = split_observer(live, "registry.example.com/lockstep")
    assert added is not None, "it is known again as the API server has it"
    assert (before["metadata"]["generation"], "ephemeralContainers" in before["spec"]) == (1, False)
    with pytest.raises(RejectedError):
        await cluster.add_ephemeral_container(owner.namespace, pod, observer(pod, name="another"))


def test_nobody_gives_the_label_to_a_pod_of_their_own(api: Installation, owner: ModelDeployment) -> None:
    spec: dict[str, Any] = {"containers": [{"name": "c", "image": "registry.example.com/own"}]}
    metadata = {"name": "own", "namespace": owner.namespace}
    assert create(api, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}).code == 0
    mark = {labels.REVISION: SNAPSHOT.revision}
    for user in (ADMIN, REPLICASET_CONTROLLER, OPERATOR, NODE):
        words = ("label", "pod", "own", f"{labels.REVISION}={SNAPSHOT.revision}", "-n", owner.namespace, *as_master(user))
        refused(api.kubectl(*words, check=False), "pods")
        patch = ("--subresource=status", "--type=merge", "--patch", json.dumps({"metadata": {"labels": mark}}))
        words = ("patch", "pod", "own", "-n", owner.namespace, *patch, *as_master(user, "system:nodes"))
        refused(api.kubectl(*words, check=False), "pods")


LONGER = [
    {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 86400}
    for key in ("not-ready", "unreachable")
]
OTHER_OWNER = [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "other", "uid": "another", "controller": True}]
SPECS: dict[str, Patch] = {
    "a deadline that ends it": ("pod", {"spec": {"activeDeadlineSeconds": 3}}),
    "tolerations": ("pod", {"spec": {"tolerations": LONGER}}),
    "no owner": ("pod", {"metadata": {"ownerReferences": None}}),
    "another owner": ("pod", {"metadata": {"ownerReferences": OTHER_OWNER}}),
    "no template hash": relabelled("pod", template_hash=None),
    "another template hash": relabelled("pod", template_hash="another"),
    "less CPU": ("pod/resize", {"spec": {"containers": [{"name": "server", "resources": {"requests": {"cpu": "2m"}}}]}}),
}


@pytest.mark.parametrize("patch", SPECS.values(), ids=SPECS)
def test_nobody_changes_the_spec_or_the_owner_of_a_pod(serving: Serving, granted: tuple[str, ...], patch: Patch) -> None:
    for who in ((), granted, as_node(), as_master(SCHEDULER), as_master(OPERATOR), as_master(DEPLOYMENT_CONTROLLER)):
        refused(serving.patch(*patch, who), "pods")
    allowed(serving.break_glass(*patch))


def test_the_refusal_of_a_resize_says_what_to_change_instead(serving: Serving) -> None:
    refused(
        serving.patch(*SPECS["less CPU"]), "pods", "spec.template.resources of the ModelDeployment", "VerticalPodAutoscaler"
    )


@pytest.mark.parametrize("user", [REPLICASET_CONTROLLER, COLLECTOR, EVERY_CONTROLLER])
def test_kubernetes_controllers_adopt_and_orphan_pods(serving: Serving, user: str) -> None:
    for owners in (None, OTHER_OWNER):
        allowed(serving.patch("pod", {"metadata": {"ownerReferences": owners}}, as_master(user)))


def test_who_holds_a_pod_back_by_a_scheduling_gate_places_it_and_lets_it_go(
    api: Installation, owner: ModelDeployment, granted: tuple[str, ...]
) -> None:
    """As Kueue does, which admits pods of Deployments too."""
    gates = [{"name": "kueue.x-k8s.io/admission"}]
    name = make_pod(api, make_replica_set(api, owner), schedulingGates=gates)["metadata"]["name"]
    place = {"nodeSelector": SNAPSHOT_NODES | {"pool": "gpu"}, "schedulingGates": None}
    where = ("-n", owner.namespace, *granted)
    words = ("patch", "pod", name, *where, "--type=merge", "--patch")
    refused(api.kubectl(*words, json.dumps({"spec": place | {"activeDeadlineSeconds": 3}}), check=False), "pods")
    refused(api.kubectl("set", "image", f"pod/{name}", "server=registry.example.com/other", *where, check=False), "pods")
    allowed(api.kubectl(*words, json.dumps({"spec": place}), check=False))


SNAPSHOT_NODES: dict[str, str] = manifests.pod_spec(SNAPSHOT)["nodeSelector"]


# --- pods: what is told of them -----------------------------------------------------------------------------------------


def condition(kind: str, status: str) -> Object:
    return {"type": kind, "status": status}


READY = [condition(kind, "True") for kind in ("PodScheduled", "Ready", "ContainersReady")]
NOT_READY = [condition("PodScheduled", "True"), condition("Ready", "False"), condition("ContainersReady", "True")]
TOLD: dict[str, Patch] = {
    "its address": ("pod/status", {"status": {"podIP": "10.88.0.99", "podIPs": [{"ip": "10.88.0.99"}]}}),
    "one more address": ("pod/status", {"status": {"podIPs": [{"ip": "10.88.0.7"}, {"ip": "fd00::7"}]}}),
    "its node's address": ("pod/status", {"status": {"hostIP": "10.88.0.99", "hostIPs": [{"ip": "10.88.0.99"}]}}),
    "its phase": ("pod/status", {"status": {"phase": "Failed"}}),
    "what it runs": ("pod/status", {"status": {"containerStatuses": [{"name": "server", "imageID": "another"}]}}),
    "its readiness": ("pod/status", {"status": {"conditions": NOT_READY}}),
}
MARKS: dict[str, Patch] = {
    "no revision": relabelled("pod/status", revision=None),
    "another revision": relabelled("pod/status", revision="another"),
    "no owner's label": relabelled("pod/status", owner=None),
    "another template hash": relabelled("pod/status", template_hash="another"),
}


@pytest.mark.parametrize("patch", TOLD.values(), ids=TOLD)
def test_only_its_node_tells_where_a_pod_is_and_what_it_runs(serving: Serving, granted: tuple[str, ...], patch: Patch) -> None:
    impostor = ("--as", "system:node:impostor", "--as-group", "system:masters")
    member = ("--as", "somebody", "--as-group", "system:nodes", "--as-group", "system:masters")
    for who in ((), granted, impostor, member, as_master(SCHEDULER), as_master(OPERATOR), as_master(REPLICASET_CONTROLLER)):
        refused(serving.patch(*patch, who), "pods", "guards.kubelets")
    for who in (as_node(), as_master(VIRTUAL_KUBELET)):
        said = serving.patch(*patch, who)
        assert "ValidatingAdmissionPolicy" not in said.error, said
    assert "ValidatingAdmissionPolicy" not in serving.break_glass(*patch).error


@pytest.mark.parametrize("patch", MARKS.values(), ids=MARKS)
def test_nobody_relabels_a_pod_through_its_status(serving: Serving, granted: tuple[str, ...], patch: Patch) -> None:
    others = (SCHEDULER, EVERY_CONTROLLER, OPERATOR, controller("node-controller"))
    for who in ((), granted, as_node(), *(as_master(user) for user in others)):
        refused(serving.patch(*patch, who), "pods")
    allowed(serving.break_glass(*patch))


REPORTS: dict[str, tuple[str, Object]] = {
    "the scheduler, that it found no room": (SCHEDULER, {"conditions": [condition("PodScheduled", "False"), *READY[1:]]}),
    "a scheduler of one's own": (
        "system:serviceaccount:volcano:scheduler",
        {"conditions": [condition("PodScheduled", "False"), *READY[1:]]},
    ),
    "the scheduler, that it preempts": (SCHEDULER, {"conditions": [*READY, condition("DisruptionTarget", "True")]}),
    "the node controller, that the node is gone": (controller("node-controller"), {"conditions": NOT_READY}),
    "the pod garbage collector, that it failed": (controller("pod-garbage-collector"), {"phase": "Failed"}),
    "the taint controller, that it goes": (
        controller("taint-eviction-controller"),
        {"conditions": [*READY, condition("DisruptionTarget", "True")]},
    ),
    "the disruption controller, that it stays": (
        controller("disruption-controller"),
        {"conditions": [*READY, condition("DisruptionTarget", "False")]},
    ),
    "all controllers as one": (EVERY_CONTROLLER, {"conditions": NOT_READY, "phase": "Failed"}),
    "a load balancer, that its gate is open": (
        "granted",
        {"conditions": [*READY, condition("target-health.elbv2.k8s.aws/iris", "True")]},
    ),
}


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_others_report_what_is_theirs_to_report(serving: Serving, report: tuple[str, Object]) -> None:
    user, status = report
    allowed(serving.patch("pod/status", {"status": status}, as_master(user)))


def test_the_scheduler_nominates_a_node(api: Installation, owner: ModelDeployment) -> None:
    name = make_pod(api, make_replica_set(api, owner))["metadata"]["name"]
    patch = json.dumps({"status": {"nominatedNodeName": "node-2", "conditions": [condition("PodScheduled", "False")]}})
    words = ("patch", "pod", name, "-n", owner.namespace, "--subresource=status", "--type=merge", "--patch", patch)
    allowed(api.kubectl(*words, *as_master(SCHEDULER), check=False))


# --- bindings -----------------------------------------------------------------------------------------------------------


def bind(api: Installation, path: str, marks: Mapping[str, str], who: tuple[str, ...], user: str = ADMIN) -> Any:
    metadata = {"name": "own", "namespace": path.split("/")[4], "labels": dict(marks)}
    body = {"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": {"kind": "Node", "name": "node-1"}}
    words = ("create", "--raw", path, "-f", "-", *who)
    return api.kubectl(*words, user=user, stdin=json.dumps(body), check=False)


RESERVED: dict[str, dict[str, str]] = {
    "the revision": {labels.REVISION: SNAPSHOT.revision},
    "the owner": {labels.MODEL_DEPLOYMENT: "iris"},
    "the template hash": {"pod-template-hash": "6d4cf56db6"},
}


@pytest.mark.parametrize("marks", RESERVED.values(), ids=RESERVED)
def test_no_binding_brings_a_pod_into_the_endpoints(
    api: Installation, team: str, granted: tuple[str, ...], marks: dict[str, str]
) -> None:
    spec: dict[str, Any] = {"containers": [{"name": "c", "image": "registry.example.com/own"}]}
    metadata = {"name": "own", "namespace": team}
    allowed(create(api, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}))
    path = f"/api/v1/namespaces/{team}"
    for which in (f"{path}/pods/own/binding", f"{path}/bindings"):
        for who in ((), granted, as_master(SCHEDULER), as_node(), as_master(OPERATOR)):
            refused(bind(api, which, marks, who), "bindings")
    # What the guard is for: this API server lets a Binding's labels overwrite the pod's.
    allowed(bind(api, f"{path}/pods/own/binding", marks, (), user=BREAK_GLASS))
    assert marks.items() <= api.get("pod", "own", team)["metadata"].get("labels", {}).items()


def test_schedulers_bind_and_bring_labels_of_the_topology(api: Installation, owner: ModelDeployment) -> None:
    name = make_pod(api, make_replica_set(api, owner))["metadata"]["name"]
    marks = {"topology.kubernetes.io/zone": "a"}
    path = f"/api/v1/namespaces/{owner.namespace}/pods/{name}/binding"
    body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name, "labels": marks}}
    words = ("create", "--raw", path, "-f", "-", *as_master(SCHEDULER))
    api.kubectl(*words, stdin=json.dumps(body | {"target": {"kind": "Node", "name": "node-1"}}))
    assert api.get("pod", name, owner.namespace)["spec"]["nodeName"] == "node-1"
