"""The Deployment and ReplicaSet controllers, the kubelet and the garbage collector, one step at a time."""

import copy
from enum import StrEnum

from lockstep.controller.cluster import ports
from lockstep.controller.cluster.ports import ConflictError, Kind, Object, RejectedError
from lockstep.formats.canonical import canonical_json, sha256_of
from lockstep.observer.report import Report, notice_of
from lockstep.rollout.objects.observer import OBSERVER
from lockstep.rollout.observed.pods import controlled_by
from tests.fakes import live
from tests.fakes.cluster import FakeCluster

_HASH = "pod-template-hash"


class Fate(StrEnum):
    """What becomes of a pod."""

    READY = "ready"
    STARTING = "starting"
    CRASHING = "crashing"
    WRITING = "writing to its root file system"
    UNSCHEDULABLE = "unschedulable"
    PULL_FAILS = "pull fails"


class FakeWorkloads:
    """Does in `step` what the controllers of a cluster would do next with Deployments and their pods."""

    def __init__(self, cluster: FakeCluster) -> None:
        self._cluster = cluster
        self.fates: dict[str, Fate] = {}
        """By image; pods of all other images become ready."""
        self.quota: str | None = None
        """Why no pod may be created any more."""
        self.names: dict[str, str] = {}
        """By image, what the node reports to run (imageID) where that is not what the pod asks for."""
        self.reports: dict[str, Report | Object] = {}
        """By image, what the observer reports of its pods, or the state that its container stays in; none starts otherwise."""
        self._addresses = 1

    def step(self) -> None:
        self._cluster.reap()
        while self._cluster.collect():
            pass
        for deployment in self._cluster.all(ports.DEPLOYMENT):
            self._deploy(deployment)
        for replica_set in self._cluster.all(ports.REPLICA_SET):
            self._replicate(replica_set)
        for pod in self._cluster.all(ports.POD):
            self._run(pod)
        for kind in (ports.REPLICA_SET, ports.DEPLOYMENT):
            for obj in self._cluster.all(kind):
                self._report(kind, obj)

    # --- Deployments → ReplicaSets ---------------------------------------------------------------------------------

    def _deploy(self, deployment: Object) -> None:
        namespace, spec = deployment["metadata"]["namespace"], deployment["spec"]
        self._claim(deployment, ports.REPLICA_SET, spec["selector"]["matchLabels"])
        hashed = sha256_of(canonical_json(spec["template"]))[-10:]
        owned = self._owned(ports.REPLICA_SET, deployment)
        current = next((rs for rs in owned if rs["metadata"]["labels"].get(_HASH) == hashed), None)
        if spec.get("paused"):
            # Scaling works while a Deployment is paused, and nothing else does.
            biggest = max(owned, key=lambda rs: int(rs["spec"]["replicas"]), default=None)
            if biggest is not None:
                self._set_replicas(biggest, spec["replicas"])
            return
        if current is None:
            self._cluster.add(ports.REPLICA_SET, self._replica_set(deployment, hashed), namespace)
        for replica_set in owned:
            self._set_replicas(replica_set, spec["replicas"] if replica_set is current else 0)

    def _replica_set(self, deployment: Object, hashed: str) -> Object:
        template = copy.deepcopy(deployment["spec"]["template"])
        template["metadata"]["labels"][_HASH] = hashed
        return {
            "metadata": {
                "name": f"{deployment['metadata']['name']}-{hashed}",
                "labels": dict(template["metadata"]["labels"]),
                "ownerReferences": [_reference("Deployment", deployment)],
            },
            "spec": {
                "replicas": deployment["spec"]["replicas"],
                "selector": {"matchLabels": deployment["spec"]["selector"]["matchLabels"] | {_HASH: hashed}},
                "template": template,
            },
        }

    def _set_replicas(self, replica_set: Object, replicas: int) -> None:
        metadata = replica_set["metadata"]
        self._cluster.edit(
            ports.REPLICA_SET, metadata["namespace"], metadata["name"], lambda rs: rs["spec"].update(replicas=replicas)
        )

    def _claim(self, owner: Object, kind: Kind, selector: Object) -> None:
        """Let go of what no longer bears the labels, and adopt what bears them and is nobody's (controller_ref_manager.go)."""
        for obj in self._cluster.all(kind, owner["metadata"]["namespace"]):
            metadata = obj["metadata"]
            fits = all((metadata.get("labels") or {}).get(key) == value for key, value in selector.items())
            references = metadata.get("ownerReferences") or []
            if controlled_by(obj, owner["metadata"]["uid"]) and not fits:
                references = [one for one in references if not one.get("controller")]
            elif fits and not any(one.get("controller") for one in references):
                references = [*references, _reference(owner["kind"], owner)]
            self._own(kind, obj, references)

    def _own(self, kind: Kind, obj: Object, references: list[Object]) -> None:
        metadata = obj["metadata"]
        if references != (metadata.get("ownerReferences") or []):
            self._cluster.edit(
                kind, metadata["namespace"], metadata["name"], lambda o: o["metadata"].update(ownerReferences=references)
            )

    # --- ReplicaSets → Pods ----------------------------------------------------------------------------------------

    def _replicate(self, replica_set: Object) -> None:
        namespace, selector = replica_set["metadata"]["namespace"], replica_set["spec"].get("selector") or {}
        if selector:
            self._claim(replica_set, ports.POD, selector["matchLabels"])
        pods = [pod for pod in self._owned(ports.POD, replica_set) if "deletionTimestamp" not in pod["metadata"]]
        wanted = replica_set["spec"]["replicas"]
        for pod in pods[wanted:]:
            self._cluster.edit(
                ports.POD, namespace, pod["metadata"]["name"], lambda p: p["metadata"].update(deletionTimestamp="now")
            )
        for _ in range(wanted - len(pods)):
            if self.quota is None:
                self._add_pod(namespace, replica_set)

    def _add_pod(self, namespace: str, replica_set: Object) -> None:
        self._addresses += 1
        pod = live.pod(replica_set, f"{replica_set['metadata']['name']}-{self._addresses:05d}")
        for key in ("uid", "resourceVersion", "generation", "creationTimestamp"):
            del pod["metadata"][key]
        pod["metadata"]["ownerReferences"] = [_reference("ReplicaSet", replica_set)]
        pod["status"] = {"phase": "Pending"}
        try:
            self._cluster.add(ports.POD, pod, namespace)
        except (ConflictError, RejectedError) as error:
            self.quota = str(error)

    # --- the kubelet -----------------------------------------------------------------------------------------------

    def _run(self, pod: Object) -> None:
        metadata = pod["metadata"]
        if "deletionTimestamp" in metadata or not metadata.get("ownerReferences"):
            return
        image = pod["spec"]["containers"][0]["image"]
        fate = self.fates.get(image, Fate.READY)
        status = _STATUS[fate](pod, image)
        if "podIP" not in pod["status"] and fate is not Fate.UNSCHEDULABLE:
            status["podIP"] = f"10.88.1.{metadata['name'][-5:].lstrip('0')}"
        for container in status.get("containerStatuses") or []:
            container["imageID"] = container["imageID"] and self.names.get(image, container["imageID"])
        merged = pod["status"] | status | self._observe(pod, image)
        self._cluster.edit(ports.POD, metadata["namespace"], metadata["name"], lambda p: p.update(status=merged))

    def _observe(self, pod: Object, image: str) -> Object:
        """Run the observer, where one was added."""
        report, metadata = self.reports.get(image), pod["metadata"]
        if report is None or not any(one["name"] == OBSERVER for one in pod["spec"].get("ephemeralContainers") or []):
            return {}
        state = report
        if isinstance(report, Report):
            self._cluster.logs[metadata["namespace"], metadata["name"], OBSERVER] = report.dump() + b"\n"
            state = {"terminated": {"exitCode": 0, "reason": "Completed", "message": notice_of(report.dump())}}
        return {"ephemeralContainerStatuses": [{"name": OBSERVER, "state": state}]}

    # --- status ----------------------------------------------------------------------------------------------------

    def _report(self, kind: Kind, obj: Object) -> None:
        children = ports.POD if kind is ports.REPLICA_SET else ports.REPLICA_SET
        owned = self._owned(children, obj)
        if kind is ports.REPLICA_SET:
            alive = [pod for pod in owned if "deletionTimestamp" not in pod["metadata"]]
            replicas, ready = len(alive), sum(_ready(pod) for pod in alive)
        else:
            replicas = sum((rs.get("status") or {}).get("replicas", 0) for rs in owned)
            ready = sum((rs.get("status") or {}).get("readyReplicas", 0) for rs in owned)
        status: Object = {"observedGeneration": obj["metadata"]["generation"]}
        # Both have omitempty: none is told by absence.
        status |= {key: count for key, count in (("replicas", replicas), ("readyReplicas", ready)) if count}
        if self.quota is not None and replicas < obj["spec"]["replicas"]:
            failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": self.quota}
            status["conditions"] = [failure]
        metadata = obj["metadata"]
        self._cluster.edit(kind, metadata["namespace"], metadata["name"], lambda o: o.update(status=status))

    def _owned(self, kind: Kind, owner: Object) -> list[Object]:
        uid = owner["metadata"]["uid"]
        return [obj for obj in self._cluster.all(kind, owner["metadata"]["namespace"]) if controlled_by(obj, uid)]


def _reference(kind: str, owner: Object) -> Object:
    metadata = owner["metadata"]
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _conditions(*, scheduled: bool = True, ready: bool = False, message: str | None = None) -> list[Object]:
    placed: Object = {"type": "PodScheduled", "status": str(scheduled)}
    if message is not None:
        placed |= {"reason": "Unschedulable", "message": message}
    return [placed, {"type": "Ready", "status": str(ready)}]


def _container(image: str, state: Object, **more: object) -> list[Object]:
    return [{"name": "server", "image": image, "restartCount": 0, "imageID": image, "state": state, **more}]


def _serving(pod: Object, image: str) -> Object:
    return {
        "phase": "Running",
        "conditions": _conditions(ready=True),
        "containerStatuses": _container(image, {"running": {}}),
    }


def _starting(pod: Object, image: str) -> Object:
    return {"phase": "Running", "conditions": _conditions(), "containerStatuses": _container(image, {"running": {}})}


def _crashing(pod: Object, image: str) -> Object:
    before = (pod["status"].get("containerStatuses") or [{}])[0]
    ended = {"terminated": {"reason": "Error", "exitCode": 1, "message": "ImportError: libgomp.so.1"}}
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}}
    count = before.get("restartCount", 0) + 1
    return {
        "phase": "Running",
        "conditions": _conditions(),
        "containerStatuses": _container(image, waiting, restartCount=min(count, 5), lastState=ended),
    }


def _writing(pod: Object, image: str) -> Object:
    """Serve where the root file system is writable, else crash as Python does."""
    if not pod["spec"]["containers"][0]["securityContext"].get("readOnlyRootFilesystem"):
        return _serving(pod, image)
    status = _crashing(pod, image)
    (container,) = status["containerStatuses"]
    container["lastState"]["terminated"]["message"] = "OSError: [Errno 30] Read-only file system: '/data'"
    return status


def _unschedulable(pod: Object, image: str) -> Object:
    return {"phase": "Pending", "conditions": _conditions(scheduled=False, message="0/1 nodes: insufficient memory")[:1]}


def _pull_fails(pod: Object, image: str) -> Object:
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "403 Forbidden"}}
    return {
        "phase": "Pending",
        "conditions": _conditions(),
        "containerStatuses": _container(image, waiting, imageID=""),
    }


_STATUS = {
    Fate.READY: _serving,
    Fate.STARTING: _starting,
    Fate.CRASHING: _crashing,
    Fate.WRITING: _writing,
    Fate.UNSCHEDULABLE: _unschedulable,
    Fate.PULL_FAILS: _pull_fails,
}
