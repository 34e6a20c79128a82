"""The owned Service: whether it leads to the pods that were promoted and nowhere else, and how it is put right.

Our whole Service is known. What others add to it is left alone, clouds and meshes note down a lot, but for the few things
that decide who gets the traffic.
"""

import copy
from typing import Any

from lockstep.api.kinds import Object
from lockstep.rollout.objects.drift import difference, label_drift

# Parts of the spec that decide who is reached (core/v1, ServiceSpec); not all that there are, so that a default that a newer
# API server adds is nobody's change. Addresses are allocated, and a port of the node is a matter of the type.
_DECIDING = (
    "type", "selector", "externalIPs", "externalName", "publishNotReadyAddresses", "sessionAffinity", "sessionAffinityConfig",
    "internalTrafficPolicy", "externalTrafficPolicy", "trafficDistribution", "ipFamilyPolicy", "loadBalancerIP",
    "loadBalancerClass", "loadBalancerSourceRanges", "allocateLoadBalancerNodePorts", "healthCheckNodePort",
)  # fmt: skip
_ALLOCATED = ("clusterIP", "clusterIPs", "ipFamilies")
# kube-proxy passes Services with these labels by (k8s.io/kubernetes, cmd/kube-proxy); the slices inherit them.
_LABELS = ("service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless")
_LABEL_PREFIXES = ("endpointslice.kubernetes.io/", "endpoints.kubernetes.io/")
_ANNOTATIONS = (
    "service.kubernetes.io/topology-mode",
    "service.kubernetes.io/topology-aware-hints",
    "service.alpha.kubernetes.io/tolerate-unready-endpoints",
    # Endpoints of the Service of the same name in other clusters (Cilium, ClusterMesh).
    "service.cilium.io/global",
    "io.cilium/global-service",
)


def service_drift(desired: Object, live: Object) -> str | None:
    """Return where a Service differs in what decides who gets the traffic; None when nowhere."""
    wanted, spec = desired["spec"], live.get("spec", {})
    for key in _DECIDING:
        if where := difference(wanted.get(key), spec.get(key), f"spec.{key}"):
            return where
    if is_headless(live):
        return "spec.clusterIP"
    ports = [{k: v for k, v in port.items() if k != "nodePort"} for port in spec.get("ports") or []]
    return difference(wanted["ports"], ports, "spec.ports") or _foreign_metadata(live) or label_drift(desired, live)


def is_headless(live: Object) -> bool:
    """Return whether a Service has no address of its own, which no update can give it any more."""
    return bool(live.get("spec", {}).get("clusterIP") == "None")


def replacement(desired: Object, live: Object) -> Object:
    """Return the live Service with our whole spec in it; what was allocated stays, and metadata that decides nothing."""
    metadata = copy.deepcopy(live["metadata"])
    metadata.pop("managedFields", None)
    metadata["labels"] = {k: v for k, v in _map(live, "labels").items() if not _decides(k)} | desired["metadata"]["labels"]
    metadata["annotations"] = {k: v for k, v in _map(live, "annotations").items() if k not in _ANNOTATIONS}
    metadata["ownerReferences"] = desired["metadata"]["ownerReferences"]
    allocated = {key: copy.deepcopy(live["spec"][key]) for key in _ALLOCATED if key in live["spec"]}
    # One family, of which there is one address.
    one = {key: value[:1] if isinstance(value, list) else value for key, value in allocated.items()}
    kind = {key: live[key] for key in ("apiVersion", "kind") if key in live}
    return kind | {"metadata": metadata, "spec": one | copy.deepcopy(desired["spec"])}


def _foreign_metadata(live: Object) -> str | None:
    marks = [f"metadata.labels[{key}]" for key in sorted(_map(live, "labels")) if _decides(key)]
    notes = [f"metadata.annotations[{key}]" for key in sorted(_map(live, "annotations")) if key in _ANNOTATIONS]
    return next(iter(marks + notes), None)


def _decides(label: str) -> bool:
    return label in _LABELS or label.startswith(_LABEL_PREFIXES)


def _map(live: Object, part: str) -> dict[str, Any]:
    found: dict[str, Any] = live["metadata"].get(part) or {}
    return found
