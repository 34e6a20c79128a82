"""Who gets the traffic of the owned Service besides the pods that it selects: what others wrote into its endpoints."""

from collections.abc import Iterable, Sequence

from lockstep.api.kinds import Object

SERVICE_NAME = "kubernetes.io/service-name"
"""Label of an EndpointSlice: whose traffic its addresses get (discovery/v1)."""
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
CONTROLLER = "endpointslice-controller.k8s.io"
"""What Kubernetes' controller calls itself. It puts right within a second what claims to be its own."""


def foreign_slices(slices: Sequence[Object]) -> list[Object]:
    """Return the EndpointSlices of a Service with a selector that are not the endpoint slice controller's."""
    return [one for one in slices if (one["metadata"].get("labels") or {}).get(MANAGED_BY) != CONTROLLER]


def addresses_of(endpoint_slice: Object) -> list[str]:
    """Return the addresses of an EndpointSlice."""
    return [str(address) for endpoint in endpoint_slice.get("endpoints") or [] for address in endpoint.get("addresses") or []]


def foreign_addresses(endpoints: Object, pods: Iterable[Object]) -> list[str]:
    """Return the addresses of an Endpoints object that no pod has."""
    ours = {str(one.get("ip")) for pod in pods for one in _addresses_of_pod(pod)}
    subsets = endpoints.get("subsets") or []
    found = [str(one.get("ip")) for subset in subsets for one in subset.get("addresses") or []]
    return [address for address in found if address not in ours]


def _addresses_of_pod(pod: Object) -> list[Object]:
    status = pod.get("status") or {}
    return [{"ip": status.get("podIP")}, *(status.get("podIPs") or [])]
