"""Whether the Service leads to what was promoted and nowhere else, and how it is put right."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from lockstep.rollout.objects import labels, manifests
from lockstep.rollout.objects.service import replacement, service_drift
from tests.fakes import builders as build
from tests.fakes import live

OWNER, OF = build.owner(), live.snapshot()
DESIRED = manifests.service(OWNER, OF)
Service = dict[str, Any]

SPECS: dict[str, Service] = {
    "of another type": {"type": "LoadBalancer"},
    "with another selector": {"selector": {"app": "mine"}},
    "without a selector": {"selector": None},
    "at further addresses": {"externalIPs": ["203.0.113.7"]},
    "a name for another host": {"type": "ExternalName", "externalName": "elsewhere.example.com"},
    "with pods that are not ready": {"publishNotReadyAddresses": True},
    "that keeps clients with a pod": {"sessionAffinity": "ClientIP"},
    "that keeps clients for a time": {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86400}}},
    "on the client's node alone": {"internalTrafficPolicy": "Local"},
    "on the balancer's node alone": {"externalTrafficPolicy": "Local"},
    "of the nearest pods": {"trafficDistribution": "PreferClose"},
    "of two families": {"ipFamilyPolicy": "PreferDualStack"},
    "at a balancer's address": {"loadBalancerIP": "203.0.113.7"},
    "of another balancer": {"loadBalancerClass": "example.com/internal"},
    "for some clients": {"loadBalancerSourceRanges": ["192.0.2.0/24"]},
    "without an address": {"clusterIP": "None", "clusterIPs": ["None"]},
}
LABELS = {
    "service.kubernetes.io/service-proxy-name": "none",
    "service.kubernetes.io/headless": "",
    "endpointslice.kubernetes.io/managed-by": "byp",
    "endpointslice.kubernetes.io/skip-mirror": "true",
    "endpoints.kubernetes.io/managed-by": "byp",
}
ANNOTATIONS = {
    "service.kubernetes.io/topology-mode": "Auto",
    "service.kubernetes.io/topology-aware-hints": "auto",
    "service.alpha.kubernetes.io/tolerate-unready-endpoints": "true",
    "service.cilium.io/global": "true",
    "io.cilium/global-service": "true",
}
HARMLESS = {"cloud.google.com/neg": "{}", "argocd.argoproj.io/tracking-id": "x", "linkerd.io/inject": "enabled", "team": "a"}


def edited(**spec: Any) -> Service:
    found = live.service(OWNER, OF)
    found["spec"] |= spec
    return found


def noted(part: str, **notes: str) -> Service:
    found = live.service(OWNER, OF)
    found["metadata"][part] = (found["metadata"].get(part) or {}) | notes
    return found


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_every_part_that_decides_who_is_reached_is_compared(spec: Service) -> None:
    where = service_drift(DESIRED, edited(**spec))
    assert where is not None
    assert where.removeprefix("spec.").split(".")[0] in spec


@pytest.mark.parametrize("key", LABELS)
def test_a_label_that_takes_the_service_from_its_proxy_is_seen(key: str) -> None:
    assert service_drift(DESIRED, noted("labels", **{key: LABELS[key]})) == f"metadata.labels[{key}]"


@pytest.mark.parametrize("key", ANNOTATIONS)
def test_an_annotation_that_leads_the_traffic_elsewhere_is_seen(key: str) -> None:
    assert service_drift(DESIRED, noted("annotations", **{key: ANNOTATIONS[key]})) == f"metadata.annotations[{key}]"


@pytest.mark.parametrize("part", ["labels", "annotations"])
def test_what_clouds_and_meshes_note_down_is_left_alone(part: str) -> None:
    assert service_drift(DESIRED, noted(part, **HARMLESS)) is None


def test_a_field_that_a_newer_api_server_writes_out_is_nobodys_change() -> None:
    assert service_drift(DESIRED, edited(novelty="Default")) is None


def test_a_service_is_put_right_and_keeps_its_address_and_what_is_harmless() -> None:
    wrong = edited(**{key: value for spec in SPECS.values() for key, value in spec.items() if "clusterIP" not in key})
    wrong["spec"] |= {"clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10", "fd00::10"], "ipFamilies": ["IPv4", "IPv6"]}
    wrong["metadata"]["labels"] |= LABELS | HARMLESS
    wrong["metadata"]["annotations"] = ANNOTATIONS | HARMLESS
    before = copy.deepcopy(wrong)
    right = replacement(DESIRED, wrong)
    assert wrong == before
    assert service_drift(DESIRED, right) is None
    assert right["spec"] == DESIRED["spec"] | {"clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"], "ipFamilies": ["IPv4"]}
    assert right["metadata"]["labels"] == DESIRED["metadata"]["labels"] | HARMLESS
    assert right["metadata"]["annotations"] == HARMLESS
    assert right["metadata"]["uid"] == wrong["metadata"]["uid"]


def test_a_service_that_has_no_address_gets_one_with_its_type() -> None:
    """ExternalName: its address was given back when somebody changed its type."""
    wrong = edited(type="ExternalName", externalName="elsewhere.example.com")
    for key in ("clusterIP", "clusterIPs", "ipFamilies"):
        del wrong["spec"][key]
    assert replacement(DESIRED, wrong)["spec"] == DESIRED["spec"]


# --- whether it works ---------------------------------------------------------------------------------------------------


def relabelled(found: Service) -> None:
    found["metadata"]["labels"]["service.kubernetes.io/service-proxy-name"] = "none"


def unlabelled(found: Service) -> None:
    del found["metadata"]["labels"][labels.MODEL_DEPLOYMENT]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (relabelled, "metadata.labels[service.kubernetes.io/service-proxy-name]"),
        (unlabelled, f"metadata.labels[{labels.MODEL_DEPLOYMENT}]"),
        (lambda found: found["spec"].update(clusterIP="None"), "spec.clusterIP"),
        (lambda found: found["spec"].update(selector={"app": "mine"}), "spec.selector"),
    ],
)
def test_a_service_that_does_not_lead_to_what_was_promoted_says_where(change: Callable[[Service], Any], where: str) -> None:
    found = live.service(OWNER, OF)
    assert service_drift(DESIRED, found) is None
    change(found)
    assert (service_drift(DESIRED, found) or "").startswith(where)
