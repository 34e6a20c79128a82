"""The objects that Lockstep owns, rendered as dicts with every default of the API server written out.

Written out, so that drift is a plain comparison: what a live object has beyond this was put there by somebody.
"""

import copy
from dataclasses import replace

from lockstep.api.kinds import MODEL_DEPLOYMENT, Object
from lockstep.api.modeldeployment import ModelDeployment
from lockstep.api.podtemplate import PodTemplate
from lockstep.rollout.objects import labels
from lockstep.rollout.objects.revision import Snapshot

CONTAINER = "server"
_PORT_NAME = "http"
_BYTECODE = "lockstep-bytecode"
_BYTECODE_PATH = "/var/cache/lockstep-bytecode"
_TMP = "lockstep-tmp"
_TMP_PATH = "/tmp"


def owner_reference(owner: ModelDeployment) -> Object:
    """Return the reference that makes the garbage collector clean up after the ModelDeployment."""
    return {
        "apiVersion": MODEL_DEPLOYMENT.api_version,
        "kind": MODEL_DEPLOYMENT.kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def deployment(owner: ModelDeployment, snapshot: Snapshot, *, replicas: int, paused: bool) -> Object:
    """Render a revision's Deployment. A completed one is paused: template edits do nothing then, scaling works."""
    marks = labels.of_revision(snapshot.name, snapshot.revision)
    spec: Object = {
        "replicas": replicas,
        "revisionHistoryLimit": 2,
        "progressDeadlineSeconds": 600,
        "selector": {"matchLabels": labels.selector(snapshot.name, snapshot.revision)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
        "template": {
            "metadata": {"labels": snapshot.template.labels | marks},
            "spec": pod_spec(snapshot),
        },
    }
    if paused:
        spec["paused"] = True
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": snapshot.object_name,
            "namespace": owner.namespace,
            "labels": marks,
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": spec,
    }


def with_pod_spec(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot with its pod spec in it, which is what its pods are from then on."""
    return replace(snapshot, pod=_pod_spec(snapshot))


def pod_spec(snapshot: Snapshot) -> Object:
    """Return the pod spec of a revision: as it was rendered when the revision was made, where that is known."""
    return copy.deepcopy(snapshot.pod) if snapshot.pod is not None else _pod_spec(snapshot)


def _pod_spec(snapshot: Snapshot) -> Object:
    """Render the pod: one container, the pinned image, and the user's closed list of parts."""
    template = snapshot.template
    spec: Object = {
        "containers": [_container(snapshot)],
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        # The drain comes on top of what the user grants the server for ending.
        "terminationGracePeriodSeconds": template.termination_grace_period_seconds + snapshot.pre_stop_sleep_seconds,
        # Services of the namespace would otherwise appear as environment variables of the server.
        "enableServiceLinks": False,
        "automountServiceAccountToken": template.service_account_name is not None,
        "nodeSelector": template.node_selector | {"kubernetes.io/arch": snapshot.architecture, "kubernetes.io/os": "linux"},
    }
    if snapshot.fresh_bytecode:
        spec["volumes"] = [{"name": _BYTECODE, "emptyDir": {"sizeLimit": "2Gi"}}]
    if snapshot.tmp_size_limit is not None:
        spec.setdefault("volumes", []).append({"name": _TMP, "emptyDir": {"sizeLimit": snapshot.tmp_size_limit}})
    if template.service_account_name is not None:
        spec["serviceAccountName"] = template.service_account_name
        spec["serviceAccount"] = template.service_account_name
    if template.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in template.image_pull_secrets]
    if template.tolerations:
        spec["tolerations"] = [toleration.payload() for toleration in template.tolerations]
    if template.priority_class_name is not None:
        spec["priorityClassName"] = template.priority_class_name
    return spec


def _container(snapshot: Snapshot) -> Object:
    template, server = snapshot.template, snapshot.server
    container: Object = {
        "name": CONTAINER,
        "image": snapshot.image,
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": _PORT_NAME, "containerPort": server.port, "protocol": "TCP"}],
        "readinessProbe": {
            "httpGet": {"path": server.ready_path, "port": server.port, "scheme": "HTTP"},
            "periodSeconds": 2,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
            "successThreshold": 1,
        },
        "resources": _resources(template),
        "securityContext": {"allowPrivilegeEscalation": False},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    env = [{"name": var.name, "value": var.value} for var in template.env]
    if snapshot.fresh_bytecode:
        # The interpreter reads and writes caches there alone: what the image has cached is never read.
        env.append({"name": "PYTHONPYCACHEPREFIX", "value": _BYTECODE_PATH})
        container["volumeMounts"] = [{"name": _BYTECODE, "mountPath": _BYTECODE_PATH}]
    if snapshot.tmp_size_limit is not None:
        # Nothing that is served can be written to; the environment gate has seen that nothing of it lies in /tmp.
        container["securityContext"]["readOnlyRootFilesystem"] = True
        container.setdefault("volumeMounts", []).append({"name": _TMP, "mountPath": _TMP_PATH})
    if env:
        container["env"] = env
    if snapshot.pre_stop_sleep_seconds:
        # Connections that were opened before the switch go on being answered while endpoints change everywhere.
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": snapshot.pre_stop_sleep_seconds}}}
    return container


def _resources(template: PodTemplate) -> Object:
    resources: Object = {}
    if template.resources.limits:
        resources["limits"] = template.resources.limits
    # A limit without a request is its own request: the API server writes it out, so we do.
    requests = template.resources.limits | template.resources.requests
    if requests:
        resources["requests"] = requests
    return resources


def service(owner: ModelDeployment, snapshot: Snapshot) -> Object:
    """Render the Service, which has the ModelDeployment's name and selects the pods of one revision."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": owner.name,
            "namespace": owner.namespace,
            "labels": labels.of_object(owner.name),
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": {
            "type": "ClusterIP",
            "selector": labels.selector(owner.name, snapshot.revision),
            "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster",
            "sessionAffinity": "None",
            "ports": [
                {
                    "name": _PORT_NAME,
                    "port": owner.spec.service.port,
                    "targetPort": snapshot.server.port,
                    "protocol": "TCP",
                }
            ],
        },
    }


def disruption_budget(owner: ModelDeployment, revision: str) -> Object:
    """Render the PodDisruptionBudget of the active revision; the candidate's pods do not count."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {
            "name": owner.name,
            "namespace": owner.namespace,
            "labels": labels.of_object(owner.name),
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": labels.selector(owner.name, revision)}},
    }


def controller_revision(owner: ModelDeployment, snapshot: Snapshot) -> Object:
    """Render the ControllerRevision that keeps a snapshot; its data is immutable (apps/v1).

    The data is one text, since the API server compares it byte by byte: what its patches write anew has to come out the same,
    or nobody can change the object's metadata either (the garbage collector, which takes the owner away: --cascade=orphan).
    """
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": snapshot.object_name,
            "namespace": owner.namespace,
            "labels": labels.of_revision(owner.name, snapshot.revision),
            "ownerReferences": [owner_reference(owner)],
        },
        "revision": 1,
        "data": {"snapshot": snapshot.text()},
    }
