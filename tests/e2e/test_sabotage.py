"""What tenants, injectors and administrators do to pods, names and priorities: what serves goes on, and the status says it."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from examples.demo import kube, platform
from lockstep.formats.canonical import sha256_of
from tests.cluster import images
from tests.cluster.paths import NODE_NAME
from tests.cluster.wait import until
from tests.e2e import policies
from tests.e2e.conftest import BREAK_GLASS, Served
from tests.e2e.models import Models
from tests.e2e.stage import Stage
from tests.e2e.traffic import Traffic

_PAST_THE_GUARDS = ("--as=e2e-somebody", f"--as-group={BREAK_GLASS}", "--as-group=system:masters")
_MANIFEST = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
_VARIABLE = {"name": "AWS_ROLE_ARN", "value": "arn:x"}


@pytest.fixture(scope="module")
def hasty(platform_images: platform.PlatformImages) -> Iterator[str]:
    """Make a policy whose pods drain at once."""
    with policies.applied(readiness={"deadlineSeconds": 60}, rollout=policies.HASTE) as name:
        yield name


@pytest.fixture
def here(stage: Stage, hasty: str) -> Stage:
    """A namespace that the hasty policy governs."""
    kube.kubectl("label", "namespace", stage.namespace, f"lockstep.dev/policy={hasty}")
    return stage


def live_pods(stage: Stage, revision: str | None = None) -> list[dict[str, Any]]:
    return [pod for pod in stage.pods(revision) if "deletionTimestamp" not in pod["metadata"]]


def uids(stage: Stage) -> set[str]:
    return {pod["metadata"]["uid"] for pod in live_pods(stage)}


def ready_reason(stage: Stage, reason: str) -> dict[str, Any]:
    """Wait until Ready is False for a reason and return the condition."""

    def said() -> dict[str, Any] | None:
        found = stage.condition("Ready")
        return found if (found.get("status"), found.get("reason")) == ("False", reason) else None

    return until(said, 60, f"Ready says {reason}") or {}


# --- an injector at admission -------------------------------------------------------------------------------------------


@contextmanager
def injector(stage: Stage) -> Iterator[None]:
    """Add a variable to every pod that is made in the namespace, as injectors of cloud identities do."""
    name = f"inject-{stage.namespace}"
    added = "Object.spec.containers{name: 'server', env: [Object.spec.containers.env{name: 'AWS_ROLE_ARN', value: 'arn:x'}]}"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}
    head = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    policy = {
        **head,
        "kind": "MutatingAdmissionPolicy",
        "spec": {
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "matchConstraints": {"resourceRules": [rule]},
            "mutations": [
                {
                    "patchType": "ApplyConfiguration",
                    "applyConfiguration": {"expression": f"Object{{spec: Object.spec{{containers: [{added}]}}}}"},
                }
            ],
        },
    }
    where = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": stage.namespace}}}
    binding = {
        **head,
        "kind": "MutatingAdmissionPolicyBinding",
        "spec": {"policyName": name, "matchResources": where},
    }
    kube.apply(json.dumps(policy))
    kube.apply(json.dumps(binding))
    try:
        until(lambda: _injected(stage, _dry_pod(stage)), 30, "the injector injects")
        yield
    finally:
        kube.kubectl("delete", "mutatingadmissionpolicybinding", name, "--ignore-not-found")
        kube.kubectl("delete", "mutatingadmissionpolicy", name, "--ignore-not-found")
        until(lambda: not _injected(stage, _dry_pod(stage)), 30, "the injector injects no more")


def _dry_pod(stage: Stage) -> dict[str, Any]:
    containers = [{"name": "server", "image": "example.com/none:1"}]
    metadata = {"name": "dry", "namespace": stage.namespace}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers}}
    made: dict[str, Any] = json.loads(
        kube.kubectl("create", "-f", "-", "--dry-run=server", "-o", "json", stdin=json.dumps(body))
    )
    return made


def _injected(stage: Stage, pod: dict[str, Any]) -> bool:
    return _VARIABLE in (pod["spec"]["containers"][0].get("env") or [])


def test_a_candidate_whose_pods_are_changed_at_admission_is_refused_by_name_and_its_pods_are_not_made_without_end(
    here: Stage, models: Models, first: Served, second: Served
) -> None:
    version = models.register("sabotage-inject", first.document).version
    here.deploy("sabotage-inject", version, first.reference)
    before = here.promoted()
    serving = uids(here)
    with Traffic(str(here.service_address())) as traffic, injector(here):
        here.deploy("sabotage-inject", version, second.reference)
        message = here.refused("readiness", "PodTampered")
        until(lambda: uids(here) == serving, 30, "the candidate's pods are gone")
    assert "AWS_ROLE_ARN" in message
    assert here.status()["candidate"]["final"] is True
    assert here.status()["active"] == before
    assert here.events("DriftCorrected") == []
    made = [e for e in kube.items("events.v1.events.k8s.io", here.namespace) if e["reason"] == "SuccessfulCreate"]
    pods = [e for e in made if e["regarding"]["kind"] == "ReplicaSet"]
    assert len(pods) <= 3, "one of the first revision, one or two of the candidate"
    assert traffic.failures == []


def test_a_promoted_revision_goes_on_answering_with_a_pod_that_admission_changed_and_says_so(
    here: Stage, models: Models, first: Served
) -> None:
    version = models.register("sabotage-serving", first.document).version
    here.deploy("sabotage-serving", version, first.reference)
    before = here.promoted()
    with injector(here):
        here.kubectl("delete", "pod", live_pods(here)[0]["metadata"]["name"], "--wait=false")
        until(lambda: any(_injected(here, pod) for pod in live_pods(here)), 30, "the pod was made anew, with the variable")
        condition = ready_reason(here, "ActivePodTampered")
        assert "AWS_ROLE_ARN" in condition["message"]
        assert here.condition("Available")["status"] == "True"
        stays = uids(here)
        with Traffic(str(here.service_address())) as traffic:
            until(lambda: sum(traffic.answers.values()) > 400, 40, "predictions")
        assert traffic.failures == []
        assert uids(here) == stays, "it is not deleted in a loop"
        assert here.events("ActiveDegraded") != []
    here.kubectl("delete", "pod", live_pods(here)[0]["metadata"]["name"], "--wait=false")
    assert here.promoted()["revision"] == before["revision"]


# --- lost labels ------------------------------------------------------------------------------------------------------------


def test_an_active_replica_set_that_loses_its_label_keeps_its_pods_and_gets_the_label_back(
    here: Stage, models: Models, first: Served
) -> None:
    version = models.register("sabotage-label", first.document).version
    here.deploy("sabotage-label", version, first.reference, replicas=2)
    here.promoted()
    before = uids(here)
    [made] = kube.items("replicasets.apps", here.namespace, "lockstep.dev/model-deployment")
    patch = json.dumps({"metadata": {"labels": {"lockstep.dev/model-deployment": None}}})
    words = ("patch", "replicaset", made["metadata"]["name"], "--subresource=status", "--type=merge", "-p", patch)
    with Traffic(str(here.service_address())) as traffic:
        here.kubectl(*words, *_PAST_THE_GUARDS)

        def restored() -> bool:
            [found] = kube.items("replicasets.apps", here.namespace)
            marks, owners = found["metadata"].get("labels") or {}, found["metadata"].get("ownerReferences")
            return marks.get("lockstep.dev/model-deployment") == "model" and bool(owners)

        until(restored, 30, "the label is back and the Deployment has taken it back")
        seen = sum(traffic.answers.values())
        until(lambda: sum(traffic.answers.values()) > seen + 300, 40, "more predictions")
    assert uids(here) == before
    assert traffic.failures == []
    until(lambda: here.condition("Ready").get("status") == "True", 30, "Ready is True")
    assert here.events("DriftCorrected") != []


# --- names and priorities -----------------------------------------------------------------------------------------------------


def test_a_stranger_under_a_blocked_candidates_name_keeps_nothing_that_serves_from_being_kept_up(
    here: Stage, models: Models, first: Served, other: Served
) -> None:
    version = models.register("sabotage-name", first.document).version
    here.deploy("sabotage-name", version, first.reference)
    active = here.promoted()
    here.deploy("sabotage-name", version, other.reference)
    here.refused("environment", "EnvironmentMismatch")
    candidate = here.status()["candidate"]["revision"]
    here.kubectl("create", "deployment", f"model-{candidate}", "--image=example.com/none:1", "--replicas=0")
    with Traffic(str(here.service_address())) as traffic:
        here.kubectl("scale", "deployment", f"model-{active['revision']}", "--replicas=0")

        def scaled() -> bool:
            found = kube.get("deployment", f"model-{active['revision']}", here.namespace) or {}
            return bool(found["spec"]["replicas"] == 1 and found.get("status", {}).get("readyReplicas") == 1)

        until(scaled, 60, "the active revision is scaled back")
        seen = sum(traffic.answers.values())
        until(lambda: sum(traffic.answers.values()) > seen + 100, 30, "more predictions")
    assert here.condition("Ready")["reason"] == "EnvironmentMismatch"


@contextmanager
def slots(stage: Stage, count: int) -> Iterator[str]:
    """Give the node an extended resource, so that pods push one another away in this namespace alone."""
    name = f"e2e.lockstep.dev/{stage.namespace}"
    path = f"/status/capacity/{name.replace('/', '~1')}"
    words = ("patch", "node", NODE_NAME, "--subresource=status", "--type=json", "-p")
    kube.kubectl(*words, json.dumps([{"op": "add", "path": path, "value": str(count)}]))

    def allocatable() -> bool:
        node = kube.get("node", NODE_NAME) or {}
        return bool((node.get("status") or {}).get("allocatable", {}).get(name) == str(count))

    try:
        until(allocatable, 60, "the node has the resource")
        yield name
    finally:
        kube.kubectl(*words, json.dumps([{"op": "remove", "path": path}]))


@contextmanager
def priority_class(stage: Stage, value: int) -> Iterator[str]:
    name = f"high-{stage.namespace}"
    kube.kubectl("create", "priorityclass", name, f"--value={value}")
    try:
        yield name
    finally:
        kube.kubectl("delete", "priorityclass", name)


def test_a_candidate_of_higher_priority_pushes_no_serving_pod_off_the_node(
    here: Stage, models: Models, first: Served, second: Served
) -> None:
    version = models.register("sabotage-priority", first.document).version
    with slots(here, 1) as slot, priority_class(here, 1000) as high:
        template: dict[str, Any] = {"resources": {"limits": {slot: "1"}}}
        here.deploy("sabotage-priority", version, first.reference, template=template)
        before = here.promoted()
        serving = uids(here)
        with Traffic(str(here.service_address())) as traffic:
            never = template | {"priorityClassName": high}
            here.deploy("sabotage-priority", version, second.reference, template=never)
            condition = ready_reason(here, "PriorityNotAllowed")
            seen = sum(traffic.answers.values())
            until(lambda: sum(traffic.answers.values()) > seen + 300, 40, "more predictions")
        assert "pods.priorityClasses" in condition["message"]
        assert traffic.failures == []
        assert uids(here) == serving
        assert here.status()["active"] == before


# --- another tenant's name for the image --------------------------------------------------------------------------------------


def _registry(method: str, path: str, body: bytes | None = None, kind: str = "") -> bytes:
    headers = {"Accept": _MANIFEST} | ({"Content-Type": kind} if kind else {})
    url = path if path.startswith("http") else f"http://{images.registry()}{path}"
    with urllib.request.urlopen(urllib.request.Request(url, data=body, method=method, headers=headers), timeout=20) as answer:
        content: bytes = answer.read()
        return content


def republished(image: Served, repository: str) -> str:
    """Push an image's own layers and configuration under another manifest to another repository; return its reference."""
    name = image.reference.partition("/")[2].rpartition(":")[0]
    manifest = json.loads(_registry("GET", f"/v2/{name}/manifests/{image.digest}"))
    for blob in (*manifest["layers"], manifest["config"]):
        _registry("POST", f"/v2/{repository}/blobs/uploads/?mount={blob['digest']}&from={name}", b"")
    body = json.dumps(manifest, indent=1).encode()
    _registry("PUT", f"/v2/{repository}/manifests/x", body, manifest["mediaType"])
    digest = sha256_of(body)
    assert digest != image.digest
    return f"{images.registry()}/{repository}@{digest}"


def test_the_same_image_under_another_name_on_the_node_refuses_nobodys_candidate(
    here: Stage, models: Models, first: Served, second: Served
) -> None:
    version = models.register("sabotage-twin", second.document).version
    # A name that sorts before the real one: containerd reports the first of an image's names.
    twin = republished(second, f"aaa/{here.namespace}")
    here.kubectl("run", "twin", f"--image={twin}", "--restart=Never")
    until(
        lambda: (kube.get("pod", "twin", here.namespace) or {}).get("status", {}).get("phase") == "Running", 60, "it ran once"
    )
    here.kubectl("delete", "pod", "twin", "--grace-period=1")
    # What everybody may read of that repository is gone: only the node knows the name now.
    _registry("DELETE", f"/v2/aaa/{here.namespace}/manifests/{twin.partition('@')[2]}")
    here.deploy("sabotage-twin", version, second.reference)
    active = here.promoted()
    [pod] = live_pods(here, active["revision"])
    named = pod["status"]["containerStatuses"][0]["imageID"]
    assert named.partition("@")[2] != second.digest, f"the node names it {named}: this test would prove nothing"


# --- deletion -----------------------------------------------------------------------------------------------------------------


def test_what_is_being_deleted_and_kept_by_somebodys_finalizer_does_not_claim_to_serve(
    here: Stage, models: Models, first: Served
) -> None:
    version = models.register("sabotage-finalizer", first.document).version
    here.deploy("sabotage-finalizer", version, first.reference)
    active = here.promoted()
    here.kubectl("patch", "mdep", "model", "--type=merge", "-p", '{"metadata": {"finalizers": ["e2e.lockstep.dev/mine"]}}')
    try:
        here.kubectl("delete", "mdep", "model", "--wait=false")
        ready_reason(here, "Deleting")
        here.kubectl("scale", "deployment", f"model-{active['revision']}", "--replicas=0")
        until(lambda: here.condition("Available").get("status") == "False", 60, "Available is False")
        assert here.condition("Available")["reason"] == "PodsNotReady"
    finally:
        here.kubectl("patch", "mdep", "model", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    until(lambda: here.object() == {}, 30, "it is gone")


def test_a_deletion_that_leaves_the_dependents_ends_and_they_go_on_answering(
    here: Stage, models: Models, first: Served
) -> None:
    version = models.register("sabotage-orphan", first.document).version
    here.deploy("sabotage-orphan", version, first.reference)
    active = here.promoted()
    here.kubectl("delete", "mdep", "model", "--cascade=orphan", "--timeout=60s")
    assert here.object() == {}
    name = f"model-{active['revision']}"
    for kind in ("controllerrevision", "deployment"):
        found = kube.get(kind, name, here.namespace)
        assert found is not None
        assert not found["metadata"].get("ownerReferences")
    with Traffic(str(here.service_address())) as traffic:
        until(lambda: sum(traffic.answers.values()) > 40, 20, "predictions")
    assert traffic.failures == []
