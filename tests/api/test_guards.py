"""The chart's guards in a real API server: the operator may do all that it does, nobody else may do it in its place.

Everybody who is refused here holds every permission that RBAC can give, so that it is the guards that refuse.
"""

import json

import pytest

from lockstep.api.modeldeployment import CandidateStatus, ModelDeployment
from lockstep.api.records import RecordOutcome
from lockstep.controller.cluster import ports
from lockstep.controller.cluster.client import KubernetesCluster
from lockstep.controller.cluster.guards import Guards
from lockstep.controller.cluster.ports import Object
from lockstep.controller.records.store import Records, pin_name
from lockstep.controller.settings import Settings
from lockstep.gates.chain import evaluate
from lockstep.rollout.objects import labels, manifests
from tests.api.guarded import (
    COLLECTOR,
    DEPLOYMENT_CONTROLLER,
    EVERY_CONTROLLER,
    KINDS,
    NAMESPACE_CONTROLLER,
    RESOURCES,
    SNAPSHOT,
    Serving,
    acting_as,
    allowed,
    as_master,
    controller,
    create,
    make_pod,
    make_replica_set,
    owned,
    refused,
)
from tests.api.installation import ADMIN, BREAK_GLASS, OPERATOR, SYSTEM, Installation, Said, model_deployment
from tests.fakes import builders as build
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster

pytestmark = pytest.mark.api

TENANT = "tenant"
"""Administers namespaces, by whichever subresource, and nothing else."""


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
    await cluster.list(ports.NODE, None)
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


# --- the guards themselves -------------------------------------------------------------------------------------------


async def guards(api: Installation, cluster: KubernetesCluster) -> tuple[str, ...]:
    settings = Settings.from_environment(api.settings)
    assert settings.guard_digests.keys() == set(settings.guard_bindings)
    return await Guards(cluster, FakeClock(), settings.guard_bindings, settings.guard_digests).missing()


async def test_what_the_chart_installs_is_what_the_api_server_holds(api: Installation, cluster: KubernetesCluster) -> None:
    assert await guards(api, cluster) == ()


WEAKER: dict[str, tuple[str, Object]] = {
    "another expression": ("validatingadmissionpolicy", {"spec": {"validations": [{"expression": "true"}]}}),
    "one more condition": (
        "validatingadmissionpolicy",
        {"spec": {"matchConditions": [{"name": "never", "expression": "false"}]}},
    ),
    "failures ignored": ("validatingadmissionpolicy", {"spec": {"failurePolicy": "Ignore"}}),
    "a namespace left out": (
        "validatingadmissionpolicy",
        {"spec": {"matchConstraints": {"namespaceSelector": {"matchLabels": {"guarded": "yes"}}}}},
    ),
    "a namespace not bound": (
        "validatingadmissionpolicybinding",
        {"spec": {"matchResources": {"namespaceSelector": {"matchLabels": {"guarded": "yes"}}}}},
    ),
    "a warning only": ("validatingadmissionpolicybinding", {"spec": {"validationActions": ["Warn"]}}),
}


@pytest.mark.parametrize("change", WEAKER.values(), ids=WEAKER)
async def test_a_guard_that_was_made_weaker_is_seen(
    api: Installation, cluster: KubernetesCluster, change: tuple[str, Object]
) -> None:
    resource, patch = change
    before = api.get(resource, "lockstep-records")
    try:
        api.kubectl("patch", resource, "lockstep-records", "--type=merge", "--patch", json.dumps(patch))
        [said] = await guards(api, cluster)
        assert said in ("lockstep-records was changed", "lockstep-records does not deny")
    finally:
        del before["metadata"]["resourceVersion"]
        api.kubectl("replace", "-f", "-", stdin=json.dumps(before))
    assert await guards(api, cluster) == ()


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


METADATA: dict[str, Object] = {
    "no owner's label": {"labels": {labels.MODEL_DEPLOYMENT: None}},
    "another proxy": {"labels": {"service.kubernetes.io/service-proxy-name": "none"}},
    "another topology": {"annotations": {"service.kubernetes.io/topology-mode": "Auto"}},
    "no owner": {"ownerReferences": None},
}


@pytest.mark.parametrize("metadata", METADATA.values(), ids=METADATA)
@pytest.mark.parametrize("resource", ["service", "poddisruptionbudget"])
def test_nobody_changes_what_lockstep_owns_through_its_status(
    serving: Serving, granted: tuple[str, ...], resource: str, metadata: Object
) -> None:
    everybody = (EVERY_CONTROLLER, controller("service-controller"), controller("disruption-controller"), "system:apiserver")
    for who in ((), granted, *(as_master(user) for user in everybody)):
        refused(serving.patch(f"{resource}/status", {"metadata": metadata}, who), "owned")
    allowed(serving.break_glass(f"{resource}/status", {"metadata": metadata}))


def test_the_clouds_controllers_report_of_a_service_and_keep_their_finalizer(serving: Serving) -> None:
    kept = {"metadata": {"finalizers": ["service.kubernetes.io/load-balancer-cleanup"]}}
    reported = {"status": {"conditions": [PROGRAMMED]}}
    for user in (controller("service-controller"), "system:serviceaccount:metallb-system:controller", EVERY_CONTROLLER):
        for patch in (kept, reported):
            allowed(serving.patch("service/status", patch, as_master(user)))


PROGRAMMED = {
    "type": "example.com/Programmed",
    "status": "True",
    "reason": "Done",
    "message": "",
    "lastTransitionTime": "2026-11-20T12:00:00Z",
}
COUNTED = {"status": {"disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2}}


def test_only_the_disruption_controller_counts_a_budget_up(serving: Serving, granted: tuple[str, ...]) -> None:
    for who in ((), granted, as_master(DEPLOYMENT_CONTROLLER)):
        refused(serving.patch("poddisruptionbudget/status", COUNTED, who), "owned")
    for user in (controller("disruption-controller"), EVERY_CONTROLLER):
        allowed(serving.patch("poddisruptionbudget/status", COUNTED, as_master(user)))


def test_pods_are_evicted_within_their_budget(serving: Serving) -> None:
    """The API server counts the budget down itself, and marks the pod (as `kubectl drain` has it do)."""
    budget = serving.api.get("poddisruptionbudget", "iris", serving.namespace)
    counted = {"status": COUNTED["status"] | {"observedGeneration": budget["metadata"]["generation"]}}
    words = ("patch", "poddisruptionbudget", "iris", "-n", serving.namespace, "--subresource=status", "--type=merge")
    serving.api.kubectl(*words, "--patch", json.dumps(counted), *as_master(controller("disruption-controller")))
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": serving.pod}}
    path = f"/api/v1/namespaces/{serving.namespace}/pods/{serving.pod}/eviction"
    serving.api.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    evicted = serving.api.get("pod", serving.pod, serving.namespace)
    assert "deletionTimestamp" in evicted["metadata"]
    assert "DisruptionTarget" in [one["type"] for one in evicted["status"]["conditions"]]
    assert serving.api.get("poddisruptionbudget", "iris", serving.namespace)["status"]["disruptionsAllowed"] == 0


async def test_a_stranger_of_ones_own_is_left_alone(api: Installation, owner: ModelDeployment) -> None:
    body = manifests.service(owner, SNAPSHOT)
    body["metadata"] = {"name": "own", "namespace": owner.namespace}
    assert create(api, body).code == 0, "a Service that bears no reserved label is nobody's business"
    refused(
        api.kubectl("label", "service", "own", f"{labels.MODEL_DEPLOYMENT}=iris", "-n", owner.namespace, check=False), "owned"
    )


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


def test_who_lifts_a_pin_says_so_by_their_own_name_and_for_good(api: Installation) -> None:
    def release(name: str, by: str) -> Object:
        reason = "the model was deleted and trained anew"
        head = {
            "apiVersion": "lockstep.dev/v1alpha1",
            "kind": "LineageRelease",
            "metadata": {"name": name, "namespace": SYSTEM},
        }
        return head | {"spec": {"by": by, "reason": reason}}

    lead, where, pin = as_master("platform-lead"), ("-n", SYSTEM), pin_name("http://mlflow:5000", "iris", "1")
    refused(create(api, release(pin, "somebody-else"), *lead), "releases")
    allowed(create(api, release(pin, "platform-lead"), *lead))
    for who in ((), lead):
        refused(api.kubectl("annotate", "lineagerelease", pin, "a=b", *where, *who, check=False), "releases")
        refused(api.kubectl("delete", "lineagerelease", pin, *where, *who, check=False), "releases")
    api.kubectl("delete", "lineagerelease", pin, "--dry-run=server", *where, *as_master(NAMESPACE_CONTROLLER))


@pytest.mark.parametrize("outcome", list(RecordOutcome))
async def test_nobody_forges_a_record_of_a_promotion(
    api: Installation, owner: ModelDeployment, granted: tuple[str, ...], outcome: RecordOutcome
) -> None:
    """A complete record, so that it is not the schema that refuses."""
    elsewhere = FakeCluster(FakeClock())
    await Records(elsewhere, SYSTEM).write_verdict(
        owner,
        candidate=CandidateStatus(revision=SNAPSHOT.revision, start_time=build.NOW),
        snapshot=SNAPSHOT,
        verdict=evaluate(build.evidence()),
        policy=build.policy(),
        document_digest=None,
        outcome=outcome,
    )
    [record] = elsewhere.all(ports.PROMOTION_RECORD)
    for allocated in ("uid", "resourceVersion", "generation", "creationTimestamp"):
        del record["metadata"][allocated]
    admin = ("--as", "namespace-admin")
    group = "rbac.authorization.k8s.io"
    head = {"apiVersion": f"{group}/v1", "metadata": {"name": "forger", "namespace": SYSTEM}}
    rules = [{"apiGroups": ["lockstep.dev"], "resources": ["promotionrecords"], "verbs": ["*"]}]
    to = {"apiGroup": group, "kind": "Role", "name": "forger"}
    subjects = [{"apiGroup": group, "kind": "User", "name": "namespace-admin"}]
    api.apply(head | {"kind": "Role", "rules": rules}, head | {"kind": "RoleBinding", "roleRef": to, "subjects": subjects})
    for who in (admin, granted, ()):
        refused(create(api, record, "--dry-run=server", *who), "records")
    allowed(create(api, record, "--dry-run=server", *acting_as(OPERATOR)))


@pytest.fixture
def tenant(api: Installation) -> tuple[str, ...]:
    """Somebody who administers namespaces and may use the policy `starter`."""
    head = {"apiVersion": "rbac.authorization.k8s.io/v1"}
    rules = [
        {"apiGroups": [""], "resources": ["namespaces", "namespaces/status", "namespaces/finalize"], "verbs": ["*"]},
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


@pytest.mark.parametrize("policy", ["starter", "strict"])
def test_a_policy_is_not_given_through_the_status_of_a_namespace_either(
    api: Installation, team: str, tenant: tuple[str, ...], policy: str
) -> None:
    """Only `starter` is the tenant's to use."""
    labelled = json.dumps({"metadata": {"labels": {"lockstep.dev/policy": policy}}})
    words = ("patch", "namespace", team, "--subresource=status", "--type=merge", "--patch", labelled, "--dry-run=server")
    said = [api.kubectl(*words, *tenant, check=False)]
    namespace = api.get("namespace", team)
    namespace["metadata"]["labels"]["lockstep.dev/policy"] = policy
    path = f"/api/v1/namespaces/{team}/finalize?dryRun=All"
    said.append(api.kubectl("replace", "--raw", path, "-f", "-", *tenant, stdin=json.dumps(namespace), check=False))
    for one in said:
        if policy == "strict":
            refused(one, "namespaces", "verb use on the PromotionPolicy strict, which tenant does not")
        else:
            allowed(one)


def test_a_policy_is_not_left_through_the_status_of_a_namespace(api: Installation, team: str, tenant: tuple[str, ...]) -> None:
    api.kubectl("label", "namespace", team, "lockstep.dev/policy=strict")
    left = json.dumps({"metadata": {"labels": {"lockstep.dev/policy": None}}})
    words = ("patch", "namespace", team, "--subresource=status", "--type=merge", "--patch", left)
    refused(api.kubectl(*words, *tenant, check=False), "namespaces")


def test_a_policy_is_not_left_through_the_finalizers_of_a_namespace(
    api: Installation, team: str, tenant: tuple[str, ...]
) -> None:
    api.kubectl("label", "namespace", team, "lockstep.dev/policy=strict")
    namespace = api.get("namespace", team)
    del namespace["metadata"]["labels"]["lockstep.dev/policy"]
    words = ("replace", "--raw", f"/api/v1/namespaces/{team}/finalize?dryRun=All", "-f", "-")
    refused(api.kubectl(*words, *tenant, stdin=json.dumps(namespace), check=False), "namespaces")


def test_the_namespace_controller_ends_namespaces(api: Installation, team: str) -> None:
    """Whatever their policy, which it has no right to."""
    api.kubectl("label", "namespace", team, "lockstep.dev/policy=strict")
    namespace = api.get("namespace", team)
    namespace["spec"]["finalizers"] = []
    path, who = f"/api/v1/namespaces/{team}", as_master(NAMESPACE_CONTROLLER)
    for subresource in ("finalize", "status"):
        words = ("replace", "--raw", f"{path}/{subresource}?dryRun=All", "-f", "-")
        allowed(api.kubectl(*words, *who, stdin=json.dumps(namespace), check=False))


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
