"""Who gets into pods that serve: the policy of the namespace decides, whichever way in is taken."""

import pytest
import yaml

from lockstep.api.modeldeployment import ModelDeployment
from lockstep.controller.cluster import ports
from lockstep.controller.cluster.client import KubernetesCluster
from tests.api.guarded import Serving, as_node, refused, serve
from tests.api.installation import ADMIN, BREAK_GLASS, OPERATOR, Installation, Said, model_deployment
from tests.cluster.wait import until

pytestmark = pytest.mark.api

GUARD = "ValidatingAdmissionPolicy 'lockstep-exec'"
POD = "iris-0123456789-6d4cf56db6-x7k2p"
WAYS = ("exec?command=id", "attach?stdin=true", "portforward?ports=8080", "proxy/")


def connect(api: Installation, namespace: str, pod: str, way: str, *who: str, user: str = ADMIN, verb: str = "create") -> Said:
    """Ask for a way into a pod as a client does that upgrades the connection: with POST, or GET for web sockets."""
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/{way}"
    words = ("get", "--raw", path) if verb == "get" else ("create", "--raw", path, "-f", "-")
    return api.kubectl(*words, *who, user=user, stdin="{}", check=False)


@pytest.fixture
def strict(api: Installation) -> str:
    """A namespace that the chart's policy `strict` governs."""
    name = api.namespace(policy="strict")
    until(lambda: GUARD in connect(api, name, POD, "exec?command=id").error, 30, "the API server knows the policies")
    return name


@pytest.fixture
async def guarded(api: Installation, cluster: KubernetesCluster, strict: str) -> Serving:
    api.apply(model_deployment() | {"metadata": {"name": "iris", "namespace": strict}})
    found = await cluster.get(ports.MODEL_DEPLOYMENT, strict, "iris")
    assert found is not None
    return await serve(api, cluster, ModelDeployment.from_object(found))


@pytest.mark.parametrize("verb", ["create", "get"])
@pytest.mark.parametrize("way", WAYS)
def test_strict_lets_nobody_into_a_pod_that_serves(guarded: Serving, granted: tuple[str, ...], way: str, verb: str) -> None:
    for who in ((), granted, as_node(), ("--as", OPERATOR, "--as-group", "system:masters")):
        said = connect(guarded.api, guarded.namespace, guarded.pod, way, *who, verb=verb)
        refused(said, "exec", "PromotionPolicy strict", "pods.exec: Deny", f"kubectl debug {guarded.pod} --copy-to")
    assert GUARD not in connect(guarded.api, guarded.namespace, guarded.pod, way, user=BREAK_GLASS, verb=verb).error


def test_kubectl_itself_is_refused_whichever_protocol_it_takes(guarded: Serving) -> None:
    pod, where = guarded.pod, ("-n", guarded.namespace)
    for words in (("exec", pod, *where, "--", "id"), ("attach", pod, *where), ("port-forward", pod, ":8080", *where)):
        for sockets in ("true", "false"):
            environment = {f"KUBECTL_{name}_WEBSOCKETS": sockets for name in ("REMOTE_COMMAND", "PORT_FORWARD")}
            said = guarded.api.kubectl(*words, check=False, environment=environment)
            assert said.code != 0
            assert GUARD in said.error, (words, environment, said)


@pytest.mark.parametrize("named", [":8080", "https:{}:8443", "http:{}:"])
def test_the_proxy_is_refused_under_each_of_its_names(guarded: Serving, named: str) -> None:
    name = named.format(guarded.pod) if "{}" in named else guarded.pod + named
    refused(connect(guarded.api, guarded.namespace, name, "proxy/metrics", verb="get"), "exec")


def test_standard_lets_in_whom_rbac_lets_in(serving: Serving) -> None:
    for way in WAYS:
        said = connect(serving.api, serving.namespace, serving.pod, way)
        assert "ValidatingAdmissionPolicy" not in said.error, said


def test_other_pods_of_the_namespace_are_nobodys_business(api: Installation, strict: str) -> None:
    """Pods of Deployments, StatefulSets, Jobs and of nobody, and one with a long name."""
    for pod in (
        "web-6d4cf56db6-x7k2p",
        "fraud-detector-5c9f8d7b64-zq5wv",
        "db-0",
        "train-28561020-kx7lm",
        "own",
        "iris-0123456789-6d4cf56db6",
        "iris-0123456789-x7k2p",
        "IRIS-0123456789-6d4cf56db6-x7k2p",
        "an-application-with-a-very-long-name-that-is-cut-5c9f8d7bx7k2p",
    ):
        for way in WAYS:
            assert GUARD not in connect(api, strict, pod, way).error, pod


@pytest.mark.parametrize("length", [1, 34, 35, 36, 40, 45, 46, 47, 48, 50, 52])
def test_a_long_name_does_not_open_a_pod(api: Installation, strict: str, length: int) -> None:
    """The API server cuts what it generates names from after 58 characters."""
    for digest in ("6d4cf56db6", "99"):
        base = f"{'m' * length}-0a1b2c3d4e-{digest}-"
        refused(connect(api, strict, base[:58] + "x7k2p", "exec?command=id"), "exec")


def test_the_generated_name_is_the_one_that_is_known(api: Installation, strict: str) -> None:
    """For the longest names, as the API server makes them."""
    spec = {"containers": [{"name": "c", "image": "registry.example.com/own"}]}
    for length in (30, 40, 47, 52):
        metadata = {"generateName": f"{'m' * length}-0a1b2c3d4e-6d4cf56db6-", "namespace": strict}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        made = api.kubectl("create", "-f", "-", "-o", "json", stdin=yaml.safe_dump(body)).object
        refused(connect(api, strict, made["metadata"]["name"], "exec?command=id"), "exec")


def test_the_policy_marked_default_governs_namespaces_that_name_none(api: Installation, team: str, strict: str) -> None:
    """And a policy that is changed counts at once."""
    assert GUARD not in connect(api, team, POD, "exec?command=id").error
    denying = '{"spec": {"pods": {"exec": "Deny"}}}'
    api.kubectl("patch", "ppol", "standard", "--type=merge", "--patch", denying)
    try:
        until(lambda: GUARD in connect(api, team, POD, "exec?command=id").error, 10, "the policy counts")
        starter = api.namespace(policy="starter")
        assert GUARD not in connect(api, starter, POD, "exec?command=id").error
    finally:
        api.kubectl("patch", "ppol", "standard", "--type=merge", "--patch", '{"spec": {"pods": {"exec": "Allow"}}}')
    until(lambda: GUARD not in connect(api, team, POD, "exec?command=id").error, 10, "the policy counts")


def test_a_policy_says_allow_or_deny(api: Installation) -> None:
    said = api.kubectl(
        "patch", "ppol", "standard", "--type=merge", "--patch", '{"spec": {"pods": {"exec": "Never"}}}', check=False
    )
    assert 'supported values: "Allow", "Deny"' in said.error
