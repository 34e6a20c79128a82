"""Objects and subresources beside the guarded ones, by cluster administrators or who holds a single right."""

import json

from examples.demo import kube
from tests.bypass.attempt import Attempts, Outcome, Result, held
from tests.bypass.objects import watched
from tests.bypass.scene import CLUSTER_ADMIN, Scene

attempts = Attempts()


def _patched(scene: Scene, what: str, name: str, subresource: str, patch: object) -> str | None:
    words = ("patch", what, name, f"--subresource={subresource}", "--type=merge", "-p", json.dumps(patch))
    return scene.refusal(*words, *CLUSTER_ADMIN)


@attempts.attempt("D23", "cluster admin", "an EndpointSlice of the Service with a stranger's address")
def slice_of_a_stranger(scene: Scene) -> Result:
    scene.serving()
    body = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "addressType": "IPv4",
        "metadata": {
            "name": "bypass",
            "labels": {"kubernetes.io/service-name": "model", "endpointslice.kubernetes.io/managed-by": "bypass"},
        },
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": [scene.world.stranger], "conditions": {"ready": True}}],
    }
    return watched(scene, lambda: scene.applied(body, who=CLUSTER_ADMIN), lost=100)


@attempts.attempt("D24", "cluster admin", "pods/status: another address for the active pod")
def address(scene: Scene) -> Result:
    scene.serving()
    ip = scene.world.stranger
    patch = {"status": {"podIP": ip, "podIPs": [{"ip": ip}]}}
    return watched(scene, lambda: _patched(scene, "pod", scene.pod(), "status", patch))


@attempts.attempt("D27", "cluster admin", "replicasets/status: the label is removed from the active ReplicaSet")
def label_of_the_replica_set(scene: Scene) -> Result:
    scene.serving()
    found = kube.items("replicasets", scene.namespace, f"lockstep.dev/revision={scene.revision()}")
    patch = {"metadata": {"labels": {"lockstep.dev/model-deployment": None}}}
    name = str(found[0]["metadata"]["name"])
    return watched(scene, lambda: _patched(scene, "replicaset", name, "status", patch), seconds=30)


@attempts.attempt("D29", "cluster admin", "pods/resize to 2m CPU")
def resize(scene: Scene) -> Result:
    scene.deploy(template={"resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "500m"}}})
    scene.settled()
    small = {"requests": {"cpu": "2m"}, "limits": {"cpu": "2m"}}
    patch = {"spec": {"containers": [{"name": "server", "resources": small}]}}
    words = ("patch", "pod", scene.pod(), "--subresource=resize", "--type=strategic", "-p", json.dumps(patch))
    refused = scene.refusal(*words, *CLUSTER_ADMIN)
    return held(refused) if refused is not None else Result(Outcome.DEGRADED, "resized")


@attempts.attempt("D30", "who may write namespaces/status", "the namespace's policy label through its status")
def policy_label(scene: Scene) -> Result:
    who = f"bypass-{scene.namespace}"
    kube.kubectl("create", "clusterrole", who, "--verb=get,patch,update", "--resource=namespaces/status,namespaces")
    kube.kubectl("create", "clusterrolebinding", who, f"--clusterrole={who}", f"--user={who}")
    try:
        patch = json.dumps({"metadata": {"labels": {"lockstep.dev/policy": "starter"}}})
        words = ("patch", "namespace", scene.namespace, "--subresource=status", "--type=merge", "-p", patch, f"--as={who}")
        try:
            kube.kubectl(*words)
        except kube.CommandFailedError as error:
            return held(str(error))
        return Result(Outcome.BYPASSED, "the label was changed")
    finally:
        kube.kubectl("delete", "clusterrole,clusterrolebinding", who, "--ignore-not-found")


@attempts.attempt("D32", "cluster admin", "a PromotionRecord of one's own")
def record(scene: Scene) -> Result:
    scene.serving()
    name = scene.stage.status()["active"]["record"]
    found = kube.get("promotionrecord", name, "lockstep-system") or {}
    body = {**found, "metadata": {"name": f"{name}-forged", "namespace": "lockstep-system"}}
    try:
        kube.apply(json.dumps(body))
    except kube.CommandFailedError as error:
        return held(str(error))
    return Result(Outcome.BYPASSED, "it was taken")
