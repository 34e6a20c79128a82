"""What the controller needs from outside, as Protocols; the real ones are beside it, fakes are in `tests/fakes`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from lockstep.api.kinds import ENVIRONMENT_RECORD as ENVIRONMENT_RECORD
from lockstep.api.kinds import LAYER_RECORD as LAYER_RECORD
from lockstep.api.kinds import LINEAGE_PIN as LINEAGE_PIN
from lockstep.api.kinds import LINEAGE_RELEASE as LINEAGE_RELEASE
from lockstep.api.kinds import MODEL_DEPLOYMENT as MODEL_DEPLOYMENT
from lockstep.api.kinds import PROMOTION_POLICY as PROMOTION_POLICY
from lockstep.api.kinds import PROMOTION_RECORD as PROMOTION_RECORD
from lockstep.api.kinds import Kind as Kind
from lockstep.api.kinds import Object as Object

DEPLOYMENT = Kind("apps", "v1", "deployments", "Deployment")
REPLICA_SET = Kind("apps", "v1", "replicasets", "ReplicaSet")
CONTROLLER_REVISION = Kind("apps", "v1", "controllerrevisions", "ControllerRevision")
SERVICE = Kind("", "v1", "services", "Service")
POD = Kind("", "v1", "pods", "Pod")
SECRET = Kind("", "v1", "secrets", "Secret")
SERVICE_ACCOUNT = Kind("", "v1", "serviceaccounts", "ServiceAccount")
NAMESPACE = Kind("", "v1", "namespaces", "Namespace", namespaced=False)
NODE = Kind("", "v1", "nodes", "Node", namespaced=False)
EVENT = Kind("events.k8s.io", "v1", "events", "Event")
POD_DISRUPTION_BUDGET = Kind("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
ENDPOINTS = Kind("", "v1", "endpoints", "Endpoints")
ENDPOINT_SLICE = Kind("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
PRIORITY_CLASS = Kind("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", namespaced=False)
LEASE = Kind("coordination.k8s.io", "v1", "leases", "Lease")
ADMISSION_POLICY = Kind(
    "admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", namespaced=False
)
ADMISSION_POLICY_BINDING = Kind(
    "admissionregistration.k8s.io",
    "v1",
    "validatingadmissionpolicybindings",
    "ValidatingAdmissionPolicyBinding",
    namespaced=False,
)


class ClusterError(Exception):
    """A call to the API server did not succeed; the subclasses say what that means."""


class ConflictError(ClusterError):
    """409: the object changed since it was read, or exists already; read again and decide anew."""


class RejectedError(ClusterError):
    """400, 403, 422: the API server, an admission policy or a quota refuses; the message says why."""


class UnavailableError(ClusterError):
    """No answer, a timeout, 429 or 5xx; `retry_after` in seconds where the server said so."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeposedError(ClusterError):
    """This process is not, or no longer for sure, the leader: it may not write."""


class Cluster(Protocol):
    """The Kubernetes API, narrowed to what the controller does. Raw dicts in and out, a timeout on every call.

    Every writing call raises DeposedError when the lease is not held for sure.
    """

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Object | None:
        """Return an object, or None when there is none."""
        ...

    async def list(self, kind: Kind, namespace: str | None, *, labels: Mapping[str, str] | None = None) -> Sequence[Object]:
        """Return the objects with all the given labels (all namespaces when `namespace` is None)."""
        ...

    async def list_metadata(
        self, kind: Kind, namespace: str | None, *, labels: Mapping[str, str] | None = None
    ) -> Sequence[Object]:
        """Return what `list` does with nothing but metadata, for kinds whose objects are large."""
        ...

    async def create(self, kind: Kind, namespace: str | None, body: Object) -> Object:
        """Create an object. Raises ConflictError when the name is taken."""
        ...

    async def apply(self, kind: Kind, namespace: str | None, body: Object, *, resource_version: str) -> Object:
        """Server-side apply, forced, over the object that was read at `resource_version` (ConflictError when it moved)."""
        ...

    async def replace(self, kind: Kind, namespace: str | None, body: Object, *, resource_version: str) -> Object:
        """Replace a whole object (PUT), which also takes away what others added; ConflictError when it moved."""
        ...

    async def patch_status(
        self, kind: Kind, namespace: str | None, name: str, status: Object, *, resource_version: str
    ) -> Object:
        """Replace the status subresource of the object read at `resource_version`."""
        ...

    async def scale(self, kind: Kind, namespace: str, name: str, replicas: int) -> None:
        """Set `spec.replicas` through the scale subresource."""
        ...

    async def add_ephemeral_container(self, namespace: str, pod: Object, container: Object) -> None:
        """Add an ephemeral container to a pod, the one with the same uid; it can't be taken away again.

        Raises:
            RejectedError: it is refused, or the pod is gone or another one.
        """
        ...

    async def read_log(self, namespace: str, pod: str, container: str, limit: int) -> bytes:
        """Return the first `limit` bytes of what a container of a pod has printed.

        Raises:
            RejectedError: there is no such log.
        """
        ...

    async def delete(self, kind: Kind, namespace: str | None, name: str, *, uid: str | None = None) -> None:
        """Delete an object (only the one with this uid, when given), dependents in the background; gone is fine."""
        ...


class Clock(Protocol):
    """The time; a fake one makes deadlines instant in tests."""

    def now(self) -> datetime:
        """Return the present time, UTC and aware."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back and count suspended time too (CLOCK_BOOTTIME)."""
        ...


class Events(Protocol):
    """Posts Kubernetes events."""

    async def post(self, regarding: Object, *, type_: str, reason: str, action: str, note: str, key: str) -> None:
        """Post one events.k8s.io/v1 event about an object, named after `key` so that a repeat after a crash is none.

        `type_` is Normal or Warning, `action` a verb (Promote, Check, Correct), `note` at most 1 024 characters.
        Never raises: an event that can't be posted is logged.
        """
        ...
