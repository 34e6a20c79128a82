"""Why the API server makes no pods, in its own words: each sentence has the reason that is said of it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from kubernetes.aio import config

from lockstep.api.reasons import Reason
from lockstep.controller.cluster import ports
from lockstep.controller.cluster.client import KubernetesCluster
from lockstep.controller.cluster.ports import ClusterError, Object
from lockstep.gates.rules.refusal import refusal
from tests.api.installation import ADMIN, Installation, model_deployment
from tests.cluster.apiserver import ApiServer
from tests.cluster.wait import until
from tests.fakes import builders as build

pytestmark = pytest.mark.api


def pod(*, resources: Object | None = None, **spec: Any) -> Object:
    server = {"name": "server", "image": f"{build.REPOSITORY}@{build.DIGEST}", "resources": resources or {}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "iris-1"}, "spec": {"containers": [server], **spec}}


def deployment(*, resources: Object | None = None, env: int = 0) -> Object:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod(resources=resources)["spec"]}
    template["spec"]["containers"][0]["env"] = [{"name": f"A{number}", "value": "x" * 4000} for number in range(env)]
    return {"metadata": {"name": "iris-1"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}


async def said(api: Installation, team: str, body: Object, kind: ports.Kind = ports.POD) -> str:
    """Return why an object is refused."""
    async with api.cluster(ADMIN) as admin:
        with pytest.raises(ClusterError) as refused:
            await admin.create(kind, team, body)
    return str(refused.value)


def quota(api: Installation, team: str, **hard: str) -> None:
    """Make a quota, and count for its controller, which does not run here."""
    name, limits = "tight", {key.replace("_", "."): value for key, value in hard.items()}
    api.apply(
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name, "namespace": team}, "spec": {"hard": limits}}
    )
    status = json.dumps({"status": {"hard": limits, "used": dict.fromkeys(limits, "0")}})
    api.kubectl("patch", "quota", name, "--namespace", team, "--subresource=status", "--type=merge", "--patch", status)


async def test_a_quota_that_is_used_up(api: Installation, team: str) -> None:
    quota(api, team, pods="0")
    message = await said(api, team, pod())
    assert "exceeded quota: tight" in message
    assert refusal(message)[0] is Reason.QUOTA_EXCEEDED


async def test_a_quota_that_wants_resources_to_be_named_does_not_get_better_by_waiting(api: Installation, team: str) -> None:
    quota(api, team, limits_cpu="1")
    message = await said(api, team, pod())
    assert "must specify limits.cpu" in message
    assert refusal(message)[0] is Reason.PODS_FORBIDDEN


async def test_a_limit_range(api: Installation, team: str) -> None:
    limits = [{"type": "Container", "max": {"cpu": "1"}}]
    api.apply(
        {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l", "namespace": team}, "spec": {"limits": limits}}
    )
    message = await said(api, team, pod(resources={"limits": {"cpu": "2"}}))
    assert "maximum cpu usage per Container is 1" in message
    assert refusal(message)[0] is Reason.PODS_FORBIDDEN


async def test_pod_security(api: Installation, team: str) -> None:
    api.kubectl("label", "namespace", team, "pod-security.kubernetes.io/enforce=restricted")
    message = await said(api, team, pod())
    assert 'violates PodSecurity "restricted:latest"' in message
    assert refusal(message)[0] is Reason.PODS_FORBIDDEN


async def test_classes_that_do_not_exist(api: Installation, team: str) -> None:
    for body in (pod(priorityClassName="nope"), pod(runtimeClassName="nope")):
        assert refusal(await said(api, team, body))[0] is Reason.PODS_FORBIDDEN


async def test_an_admission_policy(api: Installation, team: str) -> None:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}
    head = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": f"deny-{team}"}}
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": team}}}
    api.apply(
        {
            **head,
            "kind": "ValidatingAdmissionPolicy",
            "spec": {"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": "false", "message": "no"}]},
        },
        {
            **head,
            "kind": "ValidatingAdmissionPolicyBinding",
            "spec": {"policyName": f"deny-{team}", "validationActions": ["Deny"], "matchResources": here},
        },
    )
    dry = ("create", "-f", "-", "--dry-run=server", "--namespace", team)
    until(lambda: api.kubectl(*dry, stdin=yaml.safe_dump(pod()), check=False).code, 20, "the policy denies")
    message = await said(api, team, pod())
    assert "denied request: no" in message
    assert refusal(message)[0] is Reason.PODS_FORBIDDEN


async def test_a_webhook_that_does_not_answer_is_nobodys_fault_here(api: Installation, team: str) -> None:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    webhook = {
        "name": "down.example.com",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": 1,
        "clientConfig": {"url": "https://127.0.0.1:9/x"},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": team}},
        "rules": [rule],
    }
    head = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    api.apply({**head, "metadata": {"name": f"down-{team}"}, "webhooks": [webhook]})
    dry = ("create", "-f", "-", "--dry-run=server", "--namespace", team)
    until(lambda: api.kubectl(*dry, stdin=yaml.safe_dump(pod()), check=False).code, 20, "the webhook is asked")
    message = await said(api, team, pod())
    assert "failed calling webhook" in message
    assert refusal(message)[0] is Reason.CLUSTER_FAILED


async def test_pods_that_the_api_server_does_not_understand(api: Installation, team: str) -> None:
    message = await said(api, team, deployment(resources={"limits": {"foo": "1"}}), ports.DEPLOYMENT)
    assert "must be a standard resource" in message
    assert refusal(message)[0] is Reason.PODS_INVALID


@pytest.mark.parametrize("variables", [400, 800], ids=["for etcd", "for the API server"])
async def test_what_is_too_large(api: Installation, team: str, variables: int) -> None:
    assert refusal(await said(api, team, deployment(env=variables), ports.DEPLOYMENT))[0] is Reason.SPEC_TOO_LARGE


@pytest.fixture(scope="module")
def strict() -> Iterator[ApiServer]:
    """An API server that asks for service accounts, as every cluster does."""
    with ApiServer(service_accounts=True) as server:
        yield server


async def test_a_service_account_that_does_not_exist(strict: ApiServer) -> None:
    client = await config.new_client_from_config(config_file=str(strict.kubeconfig))  # type: ignore[no-untyped-call]
    async with client:
        cluster = KubernetesCluster(client, lambda: 60.0)
        with pytest.raises(ClusterError) as refused:
            await cluster.create(ports.POD, "default", pod(serviceAccountName="nope"))
    assert 'error looking up service account default/nope: serviceaccount "nope" not found' in str(refused.value)
    assert refusal(str(refused.value))[0] is Reason.SERVICE_ACCOUNT_MISSING


# --- what the schema bounds, and what the API server vouches for -----------------------------------------------------------


def test_variables_that_no_cluster_could_store_are_refused_at_once(api: Installation, team: str) -> None:
    def applied(characters: int) -> str:
        env = [{"name": f"A{number:02d}", "value": "x" * 4093} for number in range(characters // 4096)]
        body = model_deployment(template={"env": env}) | {"metadata": {"name": "iris", "namespace": team}}
        return api.apply(body, check=False).error

    assert applied(16 * 4096) == ""
    assert "the environment variables have more than 65536 characters together" in applied(17 * 4096)


async def test_the_api_server_counts_each_change_of_a_pods_spec_and_lets_nobody_else_count(
    api: Installation, team: str
) -> None:
    """`PodFact.unchanged` believes it."""
    async with api.cluster(ADMIN) as admin:
        claimed = pod() | {"metadata": {"name": "iris-1", "generation": 5}}
        assert (await admin.create(ports.POD, team, claimed))["metadata"]["generation"] == 1

        def patch(words: str, body: Object) -> None:
            api.kubectl("patch", "pod", "iris-1", "--namespace", team, *words.split(), "--patch", json.dumps(body))

        async def generation() -> int:
            found = await admin.get(ports.POD, team, "iris-1")
            assert found is not None
            return int(found["metadata"]["generation"])

        api.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"node-{team}"}})
        binding = {"metadata": {"name": "iris-1"}, "target": {"apiVersion": "v1", "kind": "Node", "name": f"node-{team}"}}
        bound = ports.Kind("", "v1", "pods/iris-1/binding", "Binding")
        await admin.create(bound, team, {"apiVersion": "v1", "kind": "Binding", **binding})
        patch("--type=merge", {"metadata": {"labels": {"a": "b"}}})
        patch("--type=merge --subresource=status", {"metadata": {"generation": 7}, "status": {"podIP": "10.1.1.1"}})
        assert await generation() == 1, "a node, labels and a status are no change of the spec"
        patch("--type=strategic", {"spec": {"containers": [{"name": "server", "image": "evil"}]}})
        patch("--type=strategic", {"spec": {"containers": [{"name": "server", "image": f"{build.REPOSITORY}@{build.DIGEST}"}]}})
        assert await generation() == 3, "there and back again are two"
        patch("--type=merge", {"metadata": {"generation": 1}})
        assert await generation() == 3
