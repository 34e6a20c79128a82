"""Who gets a Service's traffic is written by Kubernetes' endpoint controllers alone, and nobody takes a Service's name."""

import json
import time
from functools import partial
from typing import Any

import pytest
import yaml

from lockstep.api.modeldeployment import ModelDeployment
from lockstep.controller.cluster import ports
from lockstep.controller.cluster.client import KubernetesCluster
from lockstep.controller.cluster.ports import Object
from lockstep.rollout.objects import manifests
from tests.api.guarded import (
    COLLECTOR,
    EVERY_CONTROLLER,
    NAMESPACE_CONTROLLER,
    REPLICASET_CONTROLLER,
    SNAPSHOT,
    Serving,
    allowed,
    as_master,
    as_node,
    controller,
    create,
    refused,
)
from tests.api.installation import BREAK_GLASS, OPERATOR, Installation, model_deployment, rendered
from tests.cluster.apiserver import ApiServer
from tests.cluster.wait import until

pytestmark = pytest.mark.api

SERVICE_NAME, MANAGED_BY = "kubernetes.io/service-name", "endpointslice.kubernetes.io/managed-by"
WRITERS = ("endpointslice-controller", "endpointslicemirroring-controller", "endpoint-controller")


def endpoint_slice(namespace: str, name: str = "stranger", **marks: str) -> Object:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": namespace, "labels": {_MARKS[key]: value for key, value in marks.items()}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["10.88.0.66"], "conditions": {"ready": True}}],
    }


_MARKS = {"of": SERVICE_NAME, "by": MANAGED_BY}


def endpoints(namespace: str, name: str = "iris") -> Object:
    subsets = [{"addresses": [{"ip": "10.88.0.66"}], "ports": [{"name": "http", "port": 8080}]}]
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": subsets}


# --- EndpointSlices and Endpoints ---------------------------------------------------------------------------------------

STRANGERS = {
    "nobody's": {"of": "iris"},
    "somebody's": {"of": "iris", "by": "byp"},
    "one that claims to be the controller's": {"of": "iris", "by": "endpointslice-controller.k8s.io"},
    "one that claims to be mirrored": {"of": "iris", "by": "endpointslicemirroring-controller.k8s.io"},
}


@pytest.mark.parametrize("marks", STRANGERS.values(), ids=STRANGERS)
def test_nobody_leads_the_traffic_elsewhere(serving: Serving, granted: tuple[str, ...], marks: dict[str, str]) -> None:
    body = endpoint_slice(serving.namespace, **marks)
    others = (COLLECTOR, NAMESPACE_CONTROLLER, REPLICASET_CONTROLLER, controller("service-controller"))
    for who in ((), granted, as_node(), *(as_master(user) for user in others)):
        refused(create(serving.api, body, *who), "endpoints", "change the ModelDeployment instead")
        generated = body | {"metadata": body["metadata"] | {"generateName": "iris-"}}
        del generated["metadata"]["name"]
        refused(create(serving.api, generated, *who), "endpoints")
    allowed(create(serving.api, body, "--dry-run=server", user=BREAK_GLASS))


def test_nobody_writes_endpoints_under_the_name(serving: Serving, granted: tuple[str, ...]) -> None:
    for who in ((), granted, as_node(), as_master(COLLECTOR)):
        refused(create(serving.api, endpoints(serving.namespace), *who), "endpoints")
    allowed(create(serving.api, endpoints(serving.namespace, "other"), "--dry-run=server"))
    allowed(create(serving.api, endpoints(serving.namespace), "--dry-run=server", user=BREAK_GLASS))


@pytest.mark.parametrize("user", [*(controller(name) for name in WRITERS), EVERY_CONTROLLER])
def test_the_endpoint_controllers_write_and_delete_them(serving: Serving, granted: tuple[str, ...], user: str) -> None:
    made = (endpoint_slice(serving.namespace, "iris-abc", of="iris"), endpoints(serving.namespace))
    where = ("-n", serving.namespace)
    for body, resource in zip(made, ("endpointslice", "endpoints"), strict=True):
        name = body["metadata"]["name"]
        allowed(create(serving.api, body, *as_master(user)))
        annotate = ("annotate", resource, name, "a=b", *where)
        delete = ("delete", resource, name, *where)
        relabel = ("label", resource, name, f"{SERVICE_NAME}-", *where)
        for words in (annotate, delete, *((relabel,) if resource == "endpointslice" else ())):
            for who in ((), granted):
                refused(serving.api.kubectl(*words, *who, check=False), "endpoints")
        allowed(serving.api.kubectl(*annotate, *as_master(user), check=False))
        for deleter in (OPERATOR, COLLECTOR, NAMESPACE_CONTROLLER):
            allowed(serving.api.kubectl(*delete, "--dry-run=server", *as_master(deleter), check=False))
        allowed(serving.api.kubectl(*delete, *as_master(user), check=False))


def test_the_operator_may_take_them_away_and_write_none(serving: Serving) -> None:
    allowed(create(serving.api, endpoint_slice(serving.namespace, of="iris"), user=BREAK_GLASS))
    where = ("-n", serving.namespace, "--as", OPERATOR)
    annotated = serving.api.kubectl("annotate", "endpointslice", "stranger", "a=b", *where, check=False)
    assert "cannot patch resource" in annotated.error
    allowed(serving.api.kubectl("delete", "endpointslice", "stranger", *where, check=False))


def test_a_slice_does_not_get_the_name_later(serving: Serving, granted: tuple[str, ...]) -> None:
    allowed(create(serving.api, endpoint_slice(serving.namespace, of="other", by="byp"), *granted))
    where = ("-n", serving.namespace, *granted)
    words = ("label", "endpointslice", "stranger", f"{SERVICE_NAME}=iris", "--overwrite", *where)
    refused(serving.api.kubectl(*words, check=False), "endpoints")


def test_slices_of_other_services_are_nobodys_business(serving: Serving, granted: tuple[str, ...]) -> None:
    """Among them what others copy from a Service under labels of their own, as networks with several layers do."""
    own: dict[str, Any] = endpoint_slice(serving.namespace, "copied")
    service = serving.api.get("service", "iris", serving.namespace)
    own["metadata"]["labels"] = {"k8s.ovn.org/service-name": "iris"}
    reference = {"apiVersion": "v1", "kind": "Service", "name": "iris", "uid": service["metadata"]["uid"]}
    own["metadata"]["ownerReferences"] = [reference]
    for body in (own, endpoint_slice(serving.namespace, "plain"), endpoint_slice(serving.namespace, "other", of="other")):
        allowed(create(serving.api, body, *granted))
        name = body["metadata"]["name"]
        allowed(serving.api.kubectl("delete", "endpointslice", name, "-n", serving.namespace, *granted, check=False))


def test_another_namespace_s_model_deployment_guards_no_slices_here(
    serving: Serving, api: Installation, granted: tuple[str, ...]
) -> None:
    elsewhere = api.namespace()
    allowed(create(api, endpoint_slice(elsewhere, of="iris"), *granted))


def test_a_huge_slice_gets_by_no_more_than_a_small_one(serving: Serving) -> None:
    """An expression that costs too much, or fails, would let everything by."""
    body = endpoint_slice(serving.namespace, of="iris")
    reference = {"apiVersion": "v1", "kind": "Service"}
    body["metadata"]["ownerReferences"] = [reference | {"name": f"n{n}", "uid": f"u{n}"} for n in range(2000)]
    body["metadata"]["labels"] |= {f"label-{n}": "x" for n in range(2000)}
    body["endpoints"] = [{"addresses": [f"10.88.{n // 250}.{n % 250 + 1}"]} for n in range(1000)]
    said = serving.api.kubectl("create", "-f", "-", stdin=json.dumps(body), check=False)
    refused(said, "endpoints")


def _is_refused(api: Installation, body: Object, who: tuple[str, ...]) -> bool:
    return create(api, body, "--dry-run=server", *who).code != 0


def test_three_hundred_model_deployments_guard_their_slices(api: Installation, team: str, granted: tuple[str, ...]) -> None:
    many = [model_deployment(f"m{number}") for number in range(300)]
    api.kubectl("create", "-n", team, "-f", "-", stdin=yaml.safe_dump_all(many))
    for number in (0, 150, 299):
        body = endpoint_slice(team, of=f"m{number}")
        until(partial(_is_refused, api, body, granted), 10, "the API server knows them all")
        refused(create(api, body, *granted), "endpoints")
    started = time.monotonic()
    allowed(create(api, endpoint_slice(team, of="other"), *granted))
    assert time.monotonic() - started < 5
    for user in (controller(name) for name in WRITERS):
        allowed(create(api, endpoint_slice(team, "m150-abc", of="m150"), "--dry-run=server", *as_master(user)))


# --- the names of Services ----------------------------------------------------------------------------------------------


def stranger(kind: ports.Kind, namespace: str, name: str = "iris") -> Object:
    spec = {"ports": [{"port": 80}]} if kind is ports.SERVICE else {"maxUnavailable": 1}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": spec}


NAMED = (ports.SERVICE, ports.POD_DISRUPTION_BUDGET)


@pytest.mark.parametrize("kind", NAMED, ids=lambda kind: kind.kind)
async def test_nobody_takes_the_name_of_what_lockstep_makes(
    api: Installation, cluster: KubernetesCluster, owner: ModelDeployment, granted: tuple[str, ...], kind: ports.Kind
) -> None:
    body = stranger(kind, owner.namespace)
    forged = body | {"metadata": body["metadata"] | {"ownerReferences": [manifests.owner_reference(owner)]}}
    for who in ((), granted, as_node(), as_master(REPLICASET_CONTROLLER)):
        for one in (body, forged):
            refused(create(api, one, *who), "names", "choose another name")
    allowed(create(api, stranger(kind, owner.namespace, "other"), *granted))
    allowed(create(api, body, "--dry-run=server", user=BREAK_GLASS))
    made = manifests.service(owner, SNAPSHOT)
    await cluster.create(ports.SERVICE, owner.namespace, made)


@pytest.mark.parametrize("kind", NAMED, ids=lambda kind: kind.kind)
def test_what_had_the_name_before_is_its_owners_to_change_and_delete(
    api: Installation, team: str, granted: tuple[str, ...], kind: ports.Kind
) -> None:
    allowed(create(api, stranger(kind, team), *granted))
    api.apply(model_deployment() | {"metadata": {"name": "iris", "namespace": team}})
    until(lambda: create(api, endpoint_slice(team, of="iris"), "--dry-run=server").code != 0, 10, "the API server knows it")
    for words in (("annotate", kind.kind, "iris", "a=b"), ("delete", kind.kind, "iris")):
        allowed(api.kubectl(*words, "-n", team, *granted, check=False))


# --- without the CRDs ---------------------------------------------------------------------------------------------------


def test_a_cluster_that_does_not_know_model_deployments_is_not_harmed() -> None:
    """The guards that are asked of each ModelDeployment, or of each policy, let by what they can't judge: else every slice of
    the cluster would be refused, whoever writes it, for as long as the CRDs are missing and for seconds after.
    """
    documents = rendered()
    definitions = [one for one in documents if one["kind"] == "CustomResourceDefinition"]
    guards = [one for one in documents if one["kind"].startswith("ValidatingAdmissionPolicy")]
    with ApiServer() as server:
        api = Installation(server)
        web = endpoint_slice("default", "web", of="web")
        unknown = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web", "namespace": "default"}}

        def harmless() -> bool:
            written = [
                create(api, body, "--dry-run=server") for body in (web, unknown, stranger(ports.SERVICE, "default", "web"))
            ]
            path = "/api/v1/namespaces/default/pods/iris-0123456789-6d4cf56db6-x7k2p/exec?command=id"
            written.append(api.kubectl("create", "--raw", path, "-f", "-", stdin="{}", check=False))
            return not any("ValidatingAdmissionPolicy" in said.error for said in written)

        def standing() -> bool:
            reserved = {"metadata": {"name": "own", "namespace": "default", "labels": {"lockstep.dev/revision": "a"}}}
            said = create(api, stranger(ports.SERVICE, "default", "web") | reserved, "--dry-run=server")
            return "ValidatingAdmissionPolicy 'lockstep-owned'" in said.error

        api.apply(*guards)
        until(standing, 30, "the guards without params stand")
        assert harmless()
        api.apply(*definitions)
        api.kubectl(
            "wait", "--for=condition=Established", "--timeout=30s", *(f"crd/{d['metadata']['name']}" for d in definitions)
        )
        assert harmless()
        api.apply(model_deployment() | {"metadata": {"name": "iris", "namespace": "default"}})

        def guarded() -> bool:
            assert harmless()
            return create(api, endpoint_slice("default", of="iris"), "--dry-run=server").code != 0

        until(guarded, 60, "the guards with params stand too", every=0.5)
        api.kubectl("delete", "crd", "--wait=false", *(one["metadata"]["name"] for one in definitions))
        assert harmless()
        until(
            lambda: create(api, endpoint_slice("default", of="iris"), "--dry-run=server").code == 0,
            30,
            "nothing is left to guard",
        )
        assert harmless()
