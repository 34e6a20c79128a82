"""The chart's guards in a real API server: the operator may do all that it does, nobody else may do it in its place.

Everybody who is refused here holds every permission that RBAC can give, so that it is the guards that refuse.
"""

import json
from typing import Any

import pytest
import yaml

from lockstep.api.modeldeployment import ModelDeployment
from lockstep.controller import ports
from lockstep.controller.cluster import KubernetesCluster
from lockstep.controller.ports import Object
from lockstep.rollout import labels, manifests
from lockstep.rollout.revision import Snapshot
from tests.api.installation import ADMIN, BREAK_GLASS, OPERATOR, SYSTEM, Installation, Said, model_deployment
from tests.fakes import live

pytestmark = pytest.mark.api

SNAPSHOT: Snapshot = live.snapshot()
DEPLOYMENT_CONTROLLER = "system:serviceaccount:kube-system:deployment-controller"
REPLICASET_CONTROLLER = "system:serviceaccount:kube-system:replicaset-controller"
COLLECTOR = "system:serviceaccount:kube-system:generic-garbage-collector"
NAMESPACE_CONTROLLER = "system:serviceaccount:kube-system:namespace-controller"
TENANT = "tenant"
"""Administers namespaces and nothing else."""


@pytest.fixture
async def owner(api: Installation, cluster: KubernetesCluster, team: str) -> ModelDeployment:
    api.apply(model_deployment() | {"metadata": {"name": "iris", "namespace": team}})
    found = await cluster.get(ports.MODEL_DEPLOYMENT, team, "iris")
    assert found is not None
    return ModelDeployment.from_object(found)


def owned(owner: ModelDeployment) -> list[Object]:
    """Return all that the operator creates in a namespace."""
    return [
        manifests.controller_revision(owner, SNAPSHOT),
        manifests.deployment(owner, SNAPSHOT, replicas=2, paused=False),
        manifests.service(owner, SNAPSHOT),
        manifests.disruption_budget(owner, SNAPSHOT.revision),
    ]


KINDS = (ports.CONTROLLER_REVISION, ports.DEPLOYMENT, ports.SERVICE, ports.POD_DISRUPTION_BUDGET)
RESOURCES = ("controllerrevision", "deployment", "service", "poddisruptionbudget")


def acting_as(user: str) -> tuple[str, ...]:
    """Return what lets the administrator act as somebody else, with an administrator's rights where RBAC is not meant."""
    return ("--as", user)


def as_master(user: str) -> tuple[str, ...]:
    return ("--as", user, "--as-group", "system:masters")


def create(api: Installation, body: Object, *words: str, user: str = ADMIN) -> Said:
    return api.kubectl("create", "-f", "-", *words, user=user, stdin=yaml.safe_dump(body), check=False)


def refused(said: Said, guard: str) -> None:
    assert said.code != 0
    assert f"ValidatingAdmissionPolicy 'lockstep-{guard}'" in said.error, said


# --- the operator ----------------------------------------------------------------------------------------------------


async def test_the_operator_may_do_everything_that_it_does(
    api: Installation, cluster: KubernetesCluster, owner: ModelDeployment
) -> None:
    team = owner.namespace
    for kind, body in zip(KINDS, owned(owner), strict=True):
        made = await cluster.create(kind, team, body)
        name = made["metadata"]["name"]
        assert await cluster.list(kind, team, labels={labels.MODEL_DEPLOYMENT: owner.name})
        if kind is ports.CONTROLLER_REVISION:
            continue
        made = await cluster.apply(kind, team, body, resource_version=made["metadata"]["resourceVersion"])
        await cluster.replace(kind, team, made, resource_version=made["metadata"]["resourceVersion"])
        if kind is ports.DEPLOYMENT:
            await cluster.scale(kind, team, name, 0)
    raw = await cluster.get(ports.MODEL_DEPLOYMENT, team, owner.name)
    assert raw is not None
    await cluster.patch_status(
        ports.MODEL_DEPLOYMENT, team, owner.name, {"observedGeneration": 1}, resource_version=raw["metadata"]["resourceVersion"]
    )
    assert await cluster.get(ports.NAMESPACE, None, team)
    assert await cluster.list(ports.PROMOTION_POLICY, None)
    assert await cluster.list(ports.NODE, None) == []
    for binding in api.guard_bindings.split(","):
        assert await cluster.get(ports.ADMISSION_POLICY_BINDING, None, binding)
    for kind, resource in zip(KINDS, RESOURCES, strict=True):
        found = api.find(resource, team)
        await cluster.delete(kind, team, found[0]["metadata"]["name"], uid=found[0]["metadata"]["uid"])
        assert api.find(resource, team) == []


async def test_the_operator_puts_replica_sets_right_and_deletes_pods(
    api: Installation, cluster: KubernetesCluster, owner: ModelDeployment
) -> None:
    team = owner.namespace
    replica_set = make_replica_set(api, owner)
    found = await cluster.get(ports.REPLICA_SET, team, replica_set["metadata"]["name"])
    assert found is not None
    found["spec"]["template"]["spec"]["containers"][0]["image"] = SNAPSHOT.image
    await cluster.replace(ports.REPLICA_SET, team, found, resource_version=found["metadata"]["resourceVersion"])
    pod = make_pod(api, replica_set)
    await cluster.delete(ports.POD, team, pod["metadata"]["name"], uid=pod["metadata"]["uid"])
    await cluster.delete(ports.REPLICA_SET, team, found["metadata"]["name"], uid=found["metadata"]["uid"])


async def test_the_operator_keeps_records_in_its_own_namespace_alone(cluster: KubernetesCluster, team: str) -> None:
    pin = _pin("pin-guards")
    made = await cluster.create(ports.LINEAGE_PIN, SYSTEM, pin)
    assert await cluster.get(ports.LINEAGE_PIN, SYSTEM, "pin-guards") is not None
    with pytest.raises(ports.RejectedError, match="cannot create"):
        await cluster.create(ports.LINEAGE_PIN, team, pin)
    with pytest.raises(ports.RejectedError, match="cannot update"):
        await cluster.replace(ports.LINEAGE_PIN, SYSTEM, made, resource_version=made["metadata"]["resourceVersion"])
    await cluster.delete(ports.LINEAGE_PIN, SYSTEM, "pin-guards")


async def test_the_operator_can_not_do_what_it_has_no_business_with(cluster: KubernetesCluster, team: str) -> None:
    for kind in (ports.SECRET, ports.SERVICE_ACCOUNT):
        with pytest.raises(ports.RejectedError, match="cannot list"):
            await cluster.list(kind, team)
    with pytest.raises(ports.RejectedError, match="cannot create"):
        await cluster.create(ports.POD, team, {"metadata": {"name": "pod"}})
    with pytest.raises(ports.RejectedError, match="cannot create"):
        await cluster.create(ports.MODEL_DEPLOYMENT, team, model_deployment())
    with pytest.raises(ports.RejectedError, match="cannot delete"):
        await cluster.delete(ports.ADMISSION_POLICY_BINDING, None, "lockstep-pods")


# --- owned objects ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("position", range(4), ids=RESOURCES)
async def test_nobody_else_writes_what_lockstep_owns(
    api: Installation, cluster: KubernetesCluster, owner: ModelDeployment, position: int
) -> None:
    body, kind, resource = owned(owner)[position], KINDS[position], RESOURCES[position]
    guard = "deployments" if resource == "deployment" else "owned"
    name, where = body["metadata"]["name"], ("--namespace", owner.namespace)
    for user in (ADMIN, "system:kube-controller-manager", DEPLOYMENT_CONTROLLER, COLLECTOR):
        refused(create(api, body, *as_master(user)), guard)
    made = await cluster.create(kind, owner.namespace, body)
    async with api.cluster(ADMIN) as admin:
        for changed in ({**made["metadata"]["labels"], "a": "b"}, {}):
            edited = {**made, "metadata": {**made["metadata"], "labels": changed}}
            with pytest.raises(ports.RejectedError, match=f"'lockstep-{guard}'"):
                await admin.replace(kind, owner.namespace, edited, resource_version=made["metadata"]["resourceVersion"])
    refused(api.kubectl("delete", resource, name, *where, check=False), guard)
    for user in (COLLECTOR, NAMESPACE_CONTROLLER):
        words = ("delete", resource, name, *where, "--dry-run=server", *as_master(user))
        assert api.kubectl(*words, check=False).code == 0
    api.kubectl("delete", resource, name, *where, "--wait=false", user=BREAK_GLASS)


async def test_a_stranger_of_ones_own_is_left_alone(api: Installation, owner: ModelDeployment) -> None:
    body = manifests.service(owner, SNAPSHOT)
    body["metadata"] = {"name": "own", "namespace": owner.namespace}
    assert create(api, body).code == 0, "a Service that bears no reserved label is nobody's business"
    refused(
        api.kubectl("label", "service", "own", f"{labels.MODEL_DEPLOYMENT}=iris", "-n", owner.namespace, check=False), "owned"
    )


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


# --- ReplicaSets and pods --------------------------------------------------------------------------------------------


def make_replica_set(api: Installation, owner: ModelDeployment) -> Object:
    desired = manifests.deployment(owner, SNAPSHOT, replicas=2, paused=False)
    body = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": desired["metadata"] | {"ownerReferences": []},
        "spec": {key: desired["spec"][key] for key in ("replicas", "selector", "template")},
    }
    refused(create(api, body), "replicasets")
    refused(create(api, body, *as_master(REPLICASET_CONTROLLER)), "replicasets")
    made = create(api, body, *acting_as(DEPLOYMENT_CONTROLLER), "-o", "json")
    assert made.code == 0, made
    return made.object


def make_pod(api: Installation, replica_set: Object) -> Object:
    template = replica_set["spec"]["template"]
    where = {"name": "iris-pod", "namespace": replica_set["metadata"]["namespace"]}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"] | where, "spec": template["spec"]}
    for user in (ADMIN, DEPLOYMENT_CONTROLLER, OPERATOR):
        refused(create(api, body, *as_master(user)), "pods")
    made = create(api, body, *acting_as(REPLICASET_CONTROLLER), "-o", "json")
    assert made.code == 0, made
    return made.object


def test_replica_sets_come_from_the_deployment_controller_alone(api: Installation, owner: ModelDeployment) -> None:
    name = make_replica_set(api, owner)["metadata"]["name"]
    where = ("-n", owner.namespace)
    refused(api.kubectl("set", "image", f"rs/{name}", "server=registry.example.com/other", *where, check=False), "replicasets")
    refused(api.kubectl("label", "rs", name, f"{labels.REVISION}-", *where, check=False), "replicasets")
    refused(api.kubectl("delete", "rs", name, *where, check=False), "replicasets")


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
    api.kubectl(*image, user=BREAK_GLASS)
    api.kubectl("delete", "pod", name, "--wait=false", *where)


def test_nobody_gives_the_label_to_a_pod_of_their_own(api: Installation, owner: ModelDeployment) -> None:
    spec: dict[str, Any] = {"containers": [{"name": "c", "image": "registry.example.com/own"}]}
    metadata = {"name": "own", "namespace": owner.namespace}
    assert create(api, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}).code == 0
    for user in (ADMIN, REPLICASET_CONTROLLER, OPERATOR):
        words = ("label", "pod", "own", f"{labels.REVISION}={SNAPSHOT.revision}", "-n", owner.namespace, *as_master(user))
        refused(api.kubectl(*words, check=False), "pods")


# --- status, records, namespaces -------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", [ADMIN, DEPLOYMENT_CONTROLLER, f"system:serviceaccount:{SYSTEM}:other", "lockstep"])
def test_nobody_else_writes_the_status(api: Installation, owner: ModelDeployment, user: str) -> None:
    patch = ("--subresource=status", "--type=merge", "--patch", '{"status": {"observedGeneration": 1}}')
    words = ("patch", "mdep", owner.name, "-n", owner.namespace, *patch)
    refused(api.kubectl(*words, *as_master(user), check=False), "status")
    api.kubectl(*words, "--dry-run=server", *acting_as(OPERATOR))
    api.kubectl(*words, "--dry-run=server", user=BREAK_GLASS)


@pytest.mark.parametrize("user", [ADMIN, f"system:serviceaccount:{SYSTEM}:other"])
async def test_nobody_else_writes_the_status_of_a_policy(api: Installation, cluster: KubernetesCluster, user: str) -> None:
    api.policy("judged", "http://mlflow:5000")
    lie = '{"status": {"conditions": []}}'
    words = ("patch", "ppol", "judged", "--subresource=status", "--type=merge", "--patch", lie)
    refused(api.kubectl(*words, *as_master(user), check=False), "status")
    raw = await cluster.get(ports.PROMOTION_POLICY, None, "judged")
    assert raw is not None
    version = raw["metadata"]["resourceVersion"]
    await cluster.patch_status(ports.PROMOTION_POLICY, None, "judged", {"observedGeneration": 1}, resource_version=version)
    assert api.get("ppol", "judged")["status"] == {"observedGeneration": 1}
    api.kubectl("delete", "ppol", "judged")


def test_a_status_can_not_be_smuggled_in_with_the_spec(api: Installation, owner: ModelDeployment) -> None:
    manifest = model_deployment() | {"metadata": {"name": "smuggler", "namespace": owner.namespace}}
    assert create(api, manifest | {"status": {"observedGeneration": 7}}).code == 0
    assert "status" not in api.get("mdep", "smuggler", owner.namespace)


async def test_nobody_else_writes_records(api: Installation, cluster: KubernetesCluster) -> None:
    refused(create(api, _pin("pin-evidence"), "-n", SYSTEM), "records")
    await cluster.create(ports.LINEAGE_PIN, SYSTEM, _pin("pin-evidence"))
    where = ("-n", SYSTEM)
    refused(api.kubectl("annotate", "lineagepin", "pin-evidence", "a=b", *where, check=False), "records")
    refused(api.kubectl("delete", "lineagepin", "pin-evidence", *where, check=False), "records")
    api.kubectl("delete", "lineagepin", "pin-evidence", "--dry-run=server", *where, *as_master(NAMESPACE_CONTROLLER))
    await cluster.delete(ports.LINEAGE_PIN, SYSTEM, "pin-evidence")


@pytest.fixture
def tenant(api: Installation) -> tuple[str, ...]:
    """Somebody who administers namespaces and may use the policy `starter`."""
    head = {"apiVersion": "rbac.authorization.k8s.io/v1"}
    rules = [
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["*"]},
        {"apiGroups": ["lockstep.dev"], "resources": ["promotionpolicies"], "resourceNames": ["starter"], "verbs": ["use"]},
    ]
    to = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": TENANT}
    subjects = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": TENANT}]
    role = head | {"kind": "ClusterRole", "metadata": {"name": TENANT}, "rules": rules}
    binding = head | {"kind": "ClusterRoleBinding", "metadata": {"name": TENANT}, "roleRef": to, "subjects": subjects}
    api.apply(role, binding)
    return ("--as", TENANT)


def test_a_policy_is_given_by_those_who_may_use_it(api: Installation, team: str, tenant: tuple[str, ...]) -> None:
    def label(value: str) -> Said:
        return api.kubectl("label", "namespace", team, f"lockstep.dev/policy{value}", "--overwrite", *tenant, check=False)

    said = label("=strict")
    refused(said, "namespaces")
    assert "verb use on the PromotionPolicy strict, which tenant does not" in said.error
    assert label("=starter").code == 0
    refused(label("=strict"), "namespaces")
    api.kubectl("label", "namespace", team, "lockstep.dev/policy=strict", "--overwrite")
    refused(label("-"), "namespaces")
    assert api.kubectl("label", "namespace", team, "other=label", *tenant, check=False).code == 0


def test_a_namespace_is_not_created_with_a_policy_that_is_not_ones_own(api: Installation, tenant: tuple[str, ...]) -> None:
    metadata = {"name": "born-lax", "labels": {"lockstep.dev/policy": "standard"}}
    refused(create(api, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}, *tenant), "namespaces")


@pytest.mark.parametrize("value", ["", "starter"])
def test_leaving_a_policy_takes_the_right_to_it(api: Installation, team: str, tenant: tuple[str, ...], value: str) -> None:
    """Strict can't be left by naming another policy, or none."""
    api.kubectl("label", "namespace", team, "lockstep.dev/policy=strict")
    words = ("label", "namespace", team, f"lockstep.dev/policy={value}", "--overwrite", *tenant)
    refused(api.kubectl(*words, check=False), "namespaces")


def _pin(name: str) -> Object:
    spec = {"trackingURI": "http://m", "model": "iris", "version": "3", "firstSeen": "2026-11-20T12:00:00Z"}
    return {"apiVersion": "lockstep.dev/v1alpha1", "kind": "LineagePin", "metadata": {"name": name}, "spec": spec}
