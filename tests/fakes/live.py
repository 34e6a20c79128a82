"""Objects as the API server returns them: what a manifest becomes once it is stored, defaults and all."""

import copy
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from lockstep.api.modeldeployment import ModelDeployment
from lockstep.api.podtemplate import PodTemplate
from lockstep.api.server import Server
from lockstep.rollout.objects import labels, manifests
from lockstep.rollout.objects.revision import Snapshot
from lockstep.rollout.observed.observed import Observed
from tests.fakes.builders import DIGEST, REPOSITORY, RUN

Object = dict[str, Any]


def snapshot(**changes: Any) -> Snapshot:
    """Return the snapshot of a revision."""
    parts: dict[str, Any] = {
        "name": "iris",
        "model": "iris",
        "version": "3",
        "run_id": RUN,
        "image": f"{REPOSITORY}@{DIGEST}",
        "architecture": "amd64",
        "server": Server.model_validate({"port": 8080, "mlflow": {}}),
        "template": PodTemplate(),
        "pre_stop_sleep_seconds": 10,
    }
    return Snapshot(**(parts | changes))


def _stored(body: Object, uid: str) -> Object:
    found = copy.deepcopy(body)
    found["metadata"] |= {
        "uid": uid,
        "resourceVersion": "100",
        "creationTimestamp": "2026-11-20T11:00:00Z",
        "managedFields": [],
    }
    return found


def _defaulted_container(container: Object) -> None:
    container.setdefault("imagePullPolicy", "IfNotPresent")
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    resources = container.setdefault("resources", {})
    for kind in ("limits", "requests"):
        if kind in resources:
            resources[kind] = {name: _canonical(value) for name, value in resources[kind].items()}
    if "limits" in resources:
        resources["requests"] = resources["limits"] | resources.get("requests", {})
    for port in container.get("ports", []):
        port.setdefault("protocol", "TCP")
    for variable in container.get("env", []):
        # `value` has omitempty: the API server returns an empty one as none.
        if variable.get("value") == "":
            del variable["value"]
    for probe in (container[key] for key in ("readinessProbe", "livenessProbe", "startupProbe") if key in container):
        for key, value in (("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)):
            probe.setdefault(key, value)
        probe["httpGet"].setdefault("scheme", "HTTP")


def _canonical(quantity: str) -> str:
    """Write fractions in milli, as the API server does; other quantities of the tests are canonical already."""
    return f"{int(Decimal(quantity) * 1000)}m" if "." in quantity and quantity[-1].isdigit() else quantity


def defaulted_pod_spec(spec: Object) -> Object:
    """Return a pod spec with the defaults of core/v1."""
    found = copy.deepcopy(spec)
    defaults = {
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "terminationGracePeriodSeconds": 30,
        "securityContext": {},
        "enableServiceLinks": True,
    }
    for key, value in defaults.items():
        found.setdefault(key, value)
    if "serviceAccountName" in found:
        found["serviceAccount"] = found["serviceAccountName"]
    for toleration in found.get("tolerations", []):
        for key in [key for key, value in toleration.items() if value == ""]:
            del toleration[key]
    for container in found["containers"]:
        _defaulted_container(container)
    return found


def deployment(owner: ModelDeployment, of: Snapshot, *, replicas: int = 2, paused: bool = True, ready: int = 2) -> Object:
    """Return a stored Deployment."""
    found = _stored(manifests.deployment(owner, of, replicas=replicas, paused=paused), f"deployment-{of.revision}")
    spec = found["spec"]
    for key, value in (
        ("revisionHistoryLimit", 10),
        ("progressDeadlineSeconds", 600),
        ("replicas", 1),
        ("strategy", {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}),
    ):
        spec.setdefault(key, value)
    spec["template"]["metadata"]["creationTimestamp"] = None
    spec["template"]["spec"] = defaulted_pod_spec(spec["template"]["spec"])
    found["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": "1"}
    found["status"] = {"replicas": replicas, "readyReplicas": ready}
    return found


def _controlled(kind: str, controller: Object) -> list[Object]:
    metadata = controller["metadata"]
    return [{"kind": kind, "name": metadata["name"], "uid": metadata["uid"], "controller": True}]


def replica_set(of: Object, name: str = "", *, replicas: int | None = None) -> Object:
    """Return the ReplicaSet that the Deployment controller makes of a Deployment."""
    name = name or f"{of['metadata']['name']}-6d4cf56db6"
    template = copy.deepcopy(of["spec"]["template"])
    template["metadata"]["labels"]["pod-template-hash"] = "6d4cf56db6"
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "resourceVersion": "101",
            "labels": dict(template["metadata"]["labels"]),
            "ownerReferences": _controlled("Deployment", of),
        },
        "spec": {"replicas": of["spec"]["replicas"] if replicas is None else replicas, "template": template},
    }


def pod(of: Object, name: str = "") -> Object:
    """Return a running pod of a ReplicaSet, with what admission adds to every pod."""
    name = name or f"{of['metadata']['name']}-x7k2p"
    spec = copy.deepcopy(of["spec"]["template"]["spec"])
    mount = {"name": "kube-api-access", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True}
    spec["containers"][0].setdefault("volumeMounts", []).append(mount)
    spec.setdefault("volumes", []).append({"name": "kube-api-access", "projected": {}})
    spec |= {"nodeName": "node-1", "preemptionPolicy": "Never"}
    image = spec["containers"][0]["image"]
    running = {"name": "server", "restartCount": 0, "imageID": image, "state": {"running": {}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "resourceVersion": "102",
            "generation": 1,
            "creationTimestamp": "2026-11-20T11:00:00Z",
            "labels": dict(of["spec"]["template"]["metadata"]["labels"]),
            "ownerReferences": _controlled("ReplicaSet", of),
        },
        "spec": spec,
        "status": {
            "phase": "Running",
            "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}],
            "containerStatuses": [running],
        },
    }


def service(owner: ModelDeployment, of: Snapshot) -> Object:
    """Return a stored Service, with the addresses that were allocated for it."""
    found = _stored(manifests.service(owner, of), "service")
    found["spec"] |= {
        "clusterIP": "10.96.0.10",
        "clusterIPs": ["10.96.0.10"],
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "internalTrafficPolicy": "Cluster",
        "sessionAffinity": "None",
    }
    found["status"] = {"loadBalancer": {}}
    return found


def budget(owner: ModelDeployment, of: Snapshot) -> Object:
    """Return a stored PodDisruptionBudget."""
    found = _stored(manifests.disruption_budget(owner, of.revision), "budget")
    found["status"] = {"currentHealthy": 2}
    return found


def controller_revision(owner: ModelDeployment, of: Snapshot) -> Object:
    """Return a stored ControllerRevision."""
    return _stored(manifests.controller_revision(owner, of), f"revision-{of.revision}")


def cluster(
    owner: ModelDeployment,
    *running: Snapshot,
    active: Snapshot | None = None,
    replicas: int = 2,
    change: Callable[[dict[str, Object]], None] = lambda objects: None,
) -> Observed:
    """Return a settled cluster: each running revision with its objects, and the Service in front of the active one.

    `change` may edit the objects of the first running revision, by the keys deployment, replica_set, pod, service, budget.
    """
    deployments, revisions, sets, pods = {}, {}, [], []
    for one in running:
        live = deployment(owner, one, replicas=replicas)
        made = replica_set(live)
        deployments[one.revision] = live
        revisions[one.revision] = controller_revision(owner, one)
        sets.append(made)
        pods += [pod(made, f"{made['metadata']['name']}-{n:05d}") for n in range(replicas)]
    front = {"service": service(owner, active), "budget": budget(owner, active)} if active else {}
    if running:
        first = {"deployment": deployments[running[0].revision], "replica_set": sets[0]} | ({"pod": pods[0]} if pods else {})
        change(first | front)
    return Observed(
        deployments=deployments,
        revisions=revisions,
        replica_sets=sets,
        pods=pods,
        service=front.get("service"),
        budget=front.get("budget"),
    )


def reserved(name: str, revision: str) -> dict[str, str]:
    """Return the labels by which a pod would be selected."""
    return labels.of_revision(name, revision)
