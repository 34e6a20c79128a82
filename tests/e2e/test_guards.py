"""Nobody but Lockstep changes what was promoted: refused by the guards, and put right where they are passed."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from examples.demo import kube, platform
from tests.cluster.wait import until
from tests.e2e import policies
from tests.e2e.conftest import BREAK_GLASS, Served
from tests.e2e.models import Models
from tests.e2e.stage import Stage
from tests.e2e.traffic import Traffic

Act = Callable[[Stage, tuple[str, ...]], object]
_EDITOR = ("--as=e2e-editor",)
_PAST_THE_GUARDS = ("--as=e2e-somebody", f"--as-group={BREAK_GLASS}", "--as-group=system:masters")


@pytest.fixture
def serving(stage: Stage, models: Models, first: Served) -> Stage:
    """A namespace where a revision serves, and where e2e-editor has edit rights."""
    model = models.register("guarded", first.document)
    resources = {"requests": {"cpu": "50m"}, "limits": {"cpu": "500m"}}
    stage.deploy("guarded", model.version, first.reference, template={"resources": resources})
    stage.kubectl("create", "rolebinding", "editor", "--clusterrole=admin", "--user=e2e-editor")
    stage.promoted()
    return stage


@pytest.fixture
def denying(platform_images: platform.PlatformImages) -> Iterator[str]:
    """Make a policy that lets nobody into pods."""
    with policies.applied(pods={"exec": "Deny"}) as name:
        yield name


def _deployment(stage: Stage) -> str:
    return f"model-{stage.status()['active']['revision']}"


def _labels(stage: Stage) -> dict[str, str]:
    return {"lockstep.dev/model-deployment": "model", "lockstep.dev/revision": stage.status()["active"]["revision"]}


def _selector(stage: Stage, who: tuple[str, ...]) -> None:
    patch = json.dumps({"spec": {"selector": {"lockstep.dev/revision": "another"}}})
    stage.kubectl("patch", "service", "model", "--type=merge", "-p", patch, *who)


def _image(stage: Stage, who: tuple[str, ...]) -> None:
    stage.kubectl("set", "image", f"deployment/{_deployment(stage)}", "server=example.com/other:1", *who)


def _status(stage: Stage, who: tuple[str, ...]) -> None:
    patch = json.dumps({"status": {"active": {"revision": "forged", "record": "forged"}}})
    stage.kubectl("patch", "mdep", "model", "--subresource=status", "--type=merge", "-p", patch, *who)


def _pod_body(stage: Stage) -> dict[str, Any]:
    containers = [{"name": "server", "image": "example.com/stranger:1"}]
    metadata = {"name": "stranger", "namespace": stage.namespace, "labels": _labels(stage)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers}}


def _pod(stage: Stage, who: tuple[str, ...]) -> None:
    kube.kubectl("create", "-f", "-", *who, stdin=json.dumps(_pod_body(stage)))


def _replica_set(stage: Stage, who: tuple[str, ...]) -> None:
    pod = _pod_body(stage)
    body = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": pod["metadata"],
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": _labels(stage)},
            "template": {"metadata": {"labels": _labels(stage)}, "spec": pod["spec"]},
        },
    }
    kube.kubectl("create", "-f", "-", *who, stdin=json.dumps(body))


def _pod_image(stage: Stage, who: tuple[str, ...]) -> None:
    pod = stage.pods()[0]["metadata"]["name"]
    stage.kubectl("set", "image", f"pod/{pod}", "server=example.com/other:1", *who)


def _slice(stage: Stage, who: tuple[str, ...], address: str = "10.88.1.250") -> None:
    body = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "addressType": "IPv4",
        "metadata": {"name": "stranger", "namespace": stage.namespace, "labels": {"kubernetes.io/service-name": "model"}},
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
    }
    kube.kubectl("create", "-f", "-", *who, stdin=json.dumps(body))


def _patch_pod(stage: Stage, who: tuple[str, ...], patch: object, *words: str) -> None:
    stage.kubectl("patch", "pod", stage.pods()[0]["metadata"]["name"], *words, "-p", json.dumps(patch), *who)


def _deadline(stage: Stage, who: tuple[str, ...]) -> None:
    _patch_pod(stage, who, {"spec": {"activeDeadlineSeconds": 1}}, "--type=merge")


def _address(stage: Stage, who: tuple[str, ...]) -> None:
    addresses = {"podIP": "10.88.1.250", "podIPs": [{"ip": "10.88.1.250"}]}
    _patch_pod(stage, who, {"status": addresses}, "--type=merge", "--subresource=status")


def _resize(stage: Stage, who: tuple[str, ...]) -> None:
    containers = [{"name": "server", "resources": {"requests": {"cpu": "1m"}, "limits": {"cpu": "2m"}}}]
    _patch_pod(stage, who, {"spec": {"containers": containers}}, "--type=strategic", "--subresource=resize")


def _unlabelled(stage: Stage, who: tuple[str, ...], resource: str, name: str) -> None:
    patch = json.dumps({"metadata": {"labels": {"lockstep.dev/model-deployment": None}}})
    stage.kubectl("patch", resource, name, "--subresource=status", "--type=merge", "-p", patch, *who)


def _unlabelled_pod(stage: Stage, who: tuple[str, ...]) -> None:
    _unlabelled(stage, who, "pod", stage.pods()[0]["metadata"]["name"])


def _unlabelled_replica_set(stage: Stage, who: tuple[str, ...]) -> None:
    [made] = kube.items("replicasets.apps", stage.namespace)
    _unlabelled(stage, who, "replicaset", made["metadata"]["name"])


def _unlabelled_service(stage: Stage, who: tuple[str, ...]) -> None:
    _unlabelled(stage, who, "service", "model")


def _unlabelled_budget(stage: Stage, who: tuple[str, ...]) -> None:
    _unlabelled(stage, who, "poddisruptionbudget", "model")


_ACTS: dict[str, Act] = {
    "the Service's selector": _selector,
    "the Deployment's image": _image,
    "the status": _status,
    "a Pod with the active revision's labels": _pod,
    "a ReplicaSet with the active revision's labels": _replica_set,
    "an owned Pod's image": _pod_image,
    "an EndpointSlice of the Service": _slice,
}
_REFUSED: dict[str, Act] = {
    **_ACTS,
    "an owned Pod's deadline": _deadline,
    "an owned Pod's address": _address,
    "an owned Pod's resources": _resize,
    "an owned Pod's labels, by its status": _unlabelled_pod,
    "the ReplicaSet's labels, by its status": _unlabelled_replica_set,
    "the Service's labels, by its status": _unlabelled_service,
    "the budget's labels, by its status": _unlabelled_budget,
}
_TOLD = {"the status": "StatusCorrected", "an EndpointSlice of the Service": "ForeignEndpoints"}


def _state(stage: Stage) -> dict[str, Any]:
    """Return what has to be as before: who gets the traffic, what runs, what the status says."""
    service = kube.get("service", "model", stage.namespace) or {}
    deployments = kube.items("deployments.apps", stage.namespace)
    images = [d["spec"]["template"]["spec"]["containers"][0]["image"] for d in deployments]
    sets = {rs["metadata"]["name"] for rs in kube.items("replicasets.apps", stage.namespace)}
    pods = stage.pods()
    return {
        "selector": service["spec"]["selector"],
        "images": images,
        "sets": sets,
        "stranger's slice": kube.get("endpointslice", "stranger", stage.namespace),
        "pods": sorted(p["spec"]["containers"][0]["image"] for p in pods if "deletionTimestamp" not in p["metadata"]),
        "ready": stage.status().get("readyReplicas"),
        "active": stage.status().get("active"),
    }


def test_edit_rights_are_not_enough_to_change_what_was_promoted(serving: Stage) -> None:
    before = _state(serving)
    for what, act in _REFUSED.items():
        with pytest.raises(kube.CommandFailedError) as refused:
            act(serving, _EDITOR)
        said = str(refused.value)
        assert "ValidatingAdmissionPolicy" in said or "forbidden" in said, what
    for what, act in _REFUSED.items():
        with pytest.raises(kube.CommandFailedError, match="ValidatingAdmissionPolicy"):
            act(serving, ())
        assert what
    assert _state(serving) == before
    assert serving.events("DriftCorrected") == []


@pytest.mark.parametrize("what", _ACTS)
def test_what_was_changed_past_the_guards_is_put_right_and_told(serving: Stage, what: str) -> None:
    before = _state(serving)
    _ACTS[what](serving, _PAST_THE_GUARDS)
    reason = _TOLD.get(what, "DriftCorrected")
    until(lambda: serving.events(reason), 30, f"{reason} is told")
    until(lambda: _state(serving) == before, 60, f"{what} is put right")


def _stranger(stage: Stage, image: Served) -> str:
    """Start a pod that answers otherwise and that is nobody's, and return its address."""
    pod = {"spec": {"containers": [{"name": "stranger", "image": image.reference}]}}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stranger", "namespace": stage.namespace}, **pod}
    kube.kubectl("create", "-f", "-", stdin=json.dumps(body))

    def address() -> str | None:
        status = (kube.get("pod", "stranger", stage.namespace) or {}).get("status") or {}
        return str(status["podIP"]) if status.get("phase") == "Running" and status.get("podIP") else None

    return until(address, 60, "the stranger has an address") or ""


def test_a_stranger_who_got_into_the_endpoints_past_the_guards_is_out_of_them_at_once(serving: Stage, second: Served) -> None:
    address = _stranger(serving, second)
    with Traffic(str(serving.service_address())) as traffic:
        _slice(serving, _PAST_THE_GUARDS, address)
        until(lambda: kube.get("endpointslice", "stranger", serving.namespace) is None, 5, "the slice is gone", every=0.1)
        until(lambda: serving.events("ForeignEndpoints"), 10, "ForeignEndpoints is told")
        # The node's proxy follows the slices within a moment of its own, which is no business of Lockstep's.
        until(lambda: traffic.answers_without('{"predictions": ["second"]}') >= 100, 30, "a hundred answers are none of his")
    assert serving.condition("Ready")["status"] == "True"


def test_nobody_gets_into_a_serving_pod_where_the_policy_denies_it(
    stage: Stage, models: Models, first: Served, denying: str
) -> None:
    kube.kubectl("label", "namespace", stage.namespace, f"lockstep.dev/policy={denying}")
    model = models.register("guarded", first.document)
    stage.deploy("guarded", model.version, first.reference)
    stage.promoted()
    pod = stage.pods()[0]["metadata"]["name"]
    for words in (("exec", pod, "--", "true"), ("port-forward", pod, ":8080"), ("attach", pod)):
        with pytest.raises(kube.CommandFailedError, match=r"pods\.exec: Deny"):
            stage.kubectl(*words)
