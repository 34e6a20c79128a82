"""Nobody but Lockstep changes what was promoted: refused by the guards, and put right where they are passed."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from examples.demo import kube
from tests.cluster.wait import until
from tests.e2e.conftest import BREAK_GLASS, Served
from tests.e2e.models import Models
from tests.e2e.stage import Stage

Act = Callable[[Stage, tuple[str, ...]], object]
_EDITOR = ("--as=e2e-editor",)
_PAST_THE_GUARDS = ("--as=e2e-somebody", f"--as-group={BREAK_GLASS}", "--as-group=system:masters")


@pytest.fixture
def serving(stage: Stage, models: Models, first: Served) -> Stage:
    """A namespace where a revision serves, and where e2e-editor has edit rights."""
    model = models.register("guarded", first.document)
    stage.deploy("guarded", model.version, first.reference)
    stage.kubectl("create", "rolebinding", "editor", "--clusterrole=admin", "--user=e2e-editor")
    stage.promoted()
    return stage


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


_ACTS: dict[str, Act] = {
    "the Service's selector": _selector,
    "the Deployment's image": _image,
    "the status": _status,
    "a Pod with the active revision's labels": _pod,
    "a ReplicaSet with the active revision's labels": _replica_set,
    "an owned Pod's image": _pod_image,
}


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
        "pods": sorted(p["spec"]["containers"][0]["image"] for p in pods if "deletionTimestamp" not in p["metadata"]),
        "ready": stage.status().get("readyReplicas"),
        "active": stage.status().get("active"),
    }


def test_edit_rights_are_not_enough_to_change_what_was_promoted(serving: Stage) -> None:
    before = _state(serving)
    for what, act in _ACTS.items():
        with pytest.raises(kube.CommandFailedError) as refused:
            act(serving, _EDITOR)
        said = str(refused.value)
        assert "ValidatingAdmissionPolicy" in said or "forbidden" in said, what
    for what, act in _ACTS.items():
        with pytest.raises(kube.CommandFailedError, match="ValidatingAdmissionPolicy"):
            act(serving, ())
        assert what
    assert _state(serving) == before
    assert serving.events("DriftCorrected") == []


@pytest.mark.parametrize("what", _ACTS)
def test_what_was_changed_past_the_guards_is_put_right_and_told(serving: Stage, what: str) -> None:
    before = _state(serving)
    _ACTS[what](serving, _PAST_THE_GUARDS)
    reason = "StatusCorrected" if what == "the status" else "DriftCorrected"
    until(lambda: serving.events(reason), 30, f"{reason} is told")
    until(lambda: _state(serving) == before, 60, f"{what} is put right")
