"""What is desired equals what the API server returns: else everything that is settled would look like drift for ever."""

import json
from typing import Any

import pytest

from lockstep.api.modeldeployment import ModelDeployment
from lockstep.api.podtemplate import PodTemplate, Resources
from lockstep.api.server import Server
from lockstep.controller.cluster import ports
from lockstep.controller.cluster.client import KubernetesCluster
from lockstep.controller.cluster.ports import Object
from lockstep.rollout.objects import manifests
from lockstep.rollout.objects.drift import budget_drift, deployment_drift, difference
from lockstep.rollout.objects.revision import Snapshot
from lockstep.rollout.objects.service import service_drift
from tests.api.installation import BREAK_GLASS, Installation
from tests.fakes import live

pytestmark = pytest.mark.api

EVERYTHING = {
    "labels": {"team": "fraud"},
    "env": [{"name": "WORKERS", "value": "2"}, {"name": "EMPTY", "value": ""}],
    "resources": {
        "requests": {"cpu": "0.5", "memory": "1Gi"},
        "limits": {"cpu": 2, "memory": "2Gi", "example.com/gpu": "1"},
    },
    "serviceAccountName": "server",
    "imagePullSecrets": ["pull"],
    "nodeSelector": {"pool": "models"},
    "tolerations": [
        {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "", "operator": "Exists", "value": "", "effect": "NoExecute", "tolerationSeconds": 30},
    ],
    "priorityClassName": "system-node-critical",
    "terminationGracePeriodSeconds": 90,
}
ODD = Resources(requests={"memory": "1e9", "cpu": "1.0"}, limits={"memory": "2048Mi", "cpu": "1.50"})
SNAPSHOTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "everything": {"template": PodTemplate.model_validate(EVERYTHING)},
    "without a drain": {"pre_stop_sleep_seconds": 0},
    "read-only": {"tmp_size_limit": "2Gi"},
    "read-only, with byte code of its own": {"tmp_size_limit": "2Gi", "fresh_bytecode": True},
    "limits only": {"template": PodTemplate.model_validate({"resources": {"limits": {"memory": "1Gi", "cpu": "100m"}}})},
    "odd quantities": {"template": PodTemplate(resources=ODD)},
    "open inference": {"server": Server.model_validate({"port": 9000, "openInferenceV2": {"modelName": "iris"}})},
    "custom": {"server": Server.model_validate({"port": 80, "custom": {"readyPath": "/ready"}})},
}


@pytest.fixture(params=list(SNAPSHOTS.values()), ids=list(SNAPSHOTS))
def snapshot(request: pytest.FixtureRequest) -> Snapshot:
    return live.snapshot(**request.param)


@pytest.mark.parametrize("paused", [False, True])
async def test_a_deployment_comes_back_without_drift_and_as_the_fakes_have_it(
    cluster: KubernetesCluster, owner: ModelDeployment, snapshot: Snapshot, paused: bool
) -> None:
    desired = manifests.deployment(owner, snapshot, replicas=2, paused=paused)
    await cluster.create(ports.DEPLOYMENT, owner.namespace, desired)
    found = await cluster.get(ports.DEPLOYMENT, owner.namespace, snapshot.object_name)
    assert found is not None
    assert deployment_drift(desired, found) is None
    fake = spec_of(live.deployment(owner, snapshot, paused=paused))
    assert difference(fake, found["spec"], "spec") is None
    if snapshot.template.resources != ODD:
        # Of these the fakes don't know the API server's way of writing.
        assert found["spec"] == fake


async def test_a_deployment_that_is_paused_by_apply_stays_without_drift(
    cluster: KubernetesCluster, owner: ModelDeployment, snapshot: Snapshot
) -> None:
    made = await cluster.create(
        ports.DEPLOYMENT, owner.namespace, manifests.deployment(owner, snapshot, replicas=2, paused=False)
    )
    desired = manifests.deployment(owner, snapshot, replicas=2, paused=True)
    await cluster.apply(ports.DEPLOYMENT, owner.namespace, desired, resource_version=made["metadata"]["resourceVersion"])
    found = await cluster.get(ports.DEPLOYMENT, owner.namespace, snapshot.object_name)
    assert found is not None
    assert found["spec"]["paused"] is True
    assert deployment_drift(desired, found) is None
    assert found["spec"] == made["spec"] | {"paused": True}


async def test_a_service_comes_back_without_drift_and_as_the_fakes_have_it(
    cluster: KubernetesCluster, owner: ModelDeployment, snapshot: Snapshot
) -> None:
    desired = manifests.service(owner, snapshot)
    await cluster.create(ports.SERVICE, owner.namespace, desired)
    found = await cluster.get(ports.SERVICE, owner.namespace, owner.name)
    assert found is not None
    assert service_drift(desired, found) is None
    addresses = {key: found["spec"][key] for key in ("clusterIP", "clusterIPs")}
    assert found["spec"] == live.service(owner, snapshot)["spec"] | addresses


async def test_a_budget_comes_back_without_drift_and_as_the_fakes_have_it(
    cluster: KubernetesCluster, owner: ModelDeployment, snapshot: Snapshot
) -> None:
    desired = manifests.disruption_budget(owner, snapshot.revision)
    await cluster.create(ports.POD_DISRUPTION_BUDGET, owner.namespace, desired)
    found = await cluster.get(ports.POD_DISRUPTION_BUDGET, owner.namespace, owner.name)
    assert found is not None
    assert budget_drift(desired, found) is None
    assert found["spec"] == live.budget(owner, snapshot)["spec"]


async def test_a_snapshot_comes_back_as_it_was_kept_and_never_changes(
    cluster: KubernetesCluster, owner: ModelDeployment, snapshot: Snapshot
) -> None:
    desired = manifests.controller_revision(owner, snapshot)
    await cluster.create(ports.CONTROLLER_REVISION, owner.namespace, desired)
    found = await cluster.get(ports.CONTROLLER_REVISION, owner.namespace, snapshot.object_name)
    assert found is not None
    assert found["data"] == desired["data"]
    assert Snapshot.parse(json.loads(found["data"]["snapshot"])).revision == snapshot.revision
    relabelled = found | {"metadata": found["metadata"] | {"labels": {**found["metadata"]["labels"], "a": "b"}}}
    version = found["metadata"]["resourceVersion"]
    made = await cluster.replace(ports.CONTROLLER_REVISION, owner.namespace, relabelled, resource_version=version)
    assert made["metadata"]["labels"]["a"] == "b"
    changed = found | {"data": {"snapshot": "{}"}}
    with pytest.raises(ports.RejectedError, match="immutable"):
        await cluster.replace(
            ports.CONTROLLER_REVISION, owner.namespace, changed, resource_version=made["metadata"]["resourceVersion"]
        )


UGLY = "a&b<c>\u2028 \u00e9 \U0001f600 \"quoted\" back\\slash \x7f tab\t {{json: [1, 2]}} 'x' #no: comment"


@pytest.mark.parametrize("kind", ["strategic-merge-patch", "merge-patch", "json-patch"])
async def test_a_snapshot_can_be_left_by_its_owner_whatever_it_holds(
    api: Installation, cluster: KubernetesCluster, owner: ModelDeployment, kind: str
) -> None:
    env = [{"name": f"A{number}", "value": value} for number, value in enumerate([UGLY, UGLY[::-1], "\n", "1e5", "~", "null"])]
    kept = live.snapshot(template=PodTemplate.model_validate({"env": env}))
    desired = manifests.controller_revision(owner, kept)
    made = await cluster.create(ports.CONTROLLER_REVISION, owner.namespace, desired)
    assert made["data"] == desired["data"]
    # What the garbage collector sends for --cascade=orphan (pkg/controller/garbagecollector/patch.go), and what people could.
    patches: dict[str, Any] = {
        "strategic-merge-patch": {
            "metadata": {"ownerReferences": [{"$patch": "delete", "uid": owner.uid}], "uid": made["metadata"]["uid"]}
        },
        "merge-patch": {"metadata": {"ownerReferences": None}},
        "json-patch": [{"op": "remove", "path": "/metadata/ownerReferences"}],
    }
    words = ("patch", "controllerrevision", kept.object_name, "--namespace", owner.namespace)
    types = {"strategic-merge-patch": "strategic", "merge-patch": "merge", "json-patch": "json"}
    api.kubectl(*words, f"--type={types[kind]}", "--patch", json.dumps(patches[kind]), user=BREAK_GLASS)
    after = await cluster.get(ports.CONTROLLER_REVISION, owner.namespace, kept.object_name)
    assert after is not None
    assert not after["metadata"].get("ownerReferences")
    assert Snapshot.parse(json.loads(after["data"]["snapshot"])) == kept
    api.kubectl("label", "controllerrevision", kept.object_name, "a=b", "--namespace", owner.namespace, user=BREAK_GLASS)


def spec_of(stored: Object) -> Object:
    """Return a fake's spec without what JSON leaves out."""
    spec: Object = stored["spec"]
    spec["template"]["metadata"].pop("creationTimestamp")
    return spec
