"""Every trigger: what is watched, and which ModelDeployment an event is about. Level-triggered: an event only wakes a key."""

from collections.abc import Callable, Mapping
from typing import Any

import kopf

from lockstep.api.kinds import MODEL_DEPLOYMENT, PROMOTION_POLICY, Kind
from lockstep.controller.cluster import ports
from lockstep.controller.lanes import Key, Lane
from lockstep.rollout.objects import endpoints, labels

_OWNED = (
    ports.DEPLOYMENT,
    ports.REPLICA_SET,
    ports.POD,
    ports.SERVICE,
    # They bear the labels of their Service.
    ports.ENDPOINTS,
    ports.POD_DISRUPTION_BUDGET,
)
# All that anybody but Kubernetes' own controller writes: a busy cluster has thousands of the others, which change all the time.
_FOREIGN_SLICES = f"{endpoints.SERVICE_NAME},{endpoints.MANAGED_BY}!={endpoints.CONTROLLER}"


def registry(wake: Callable[[Key, Lane], None], wake_all: Callable[[], None]) -> kopf.OperatorRegistry:
    """Return kopf's registry with all handlers: `wake` for one ModelDeployment, `wake_all` when a policy changed."""
    found = kopf.OperatorRegistry()
    known: set[Key] = set()

    @kopf.on.login(registry=found)
    def login(**arguments: Any) -> kopf.ConnectionInfo | None:
        # A registry of our own brings no login of kopf's along.
        return kopf.login_via_client(**arguments)

    @kopf.on.event(*_resource(MODEL_DEPLOYMENT), registry=found)
    async def model_deployment(*, event: Mapping[str, Any], namespace: str | None, name: str, **_: Any) -> None:
        key = (namespace or "", name)
        if event["type"] == "DELETED":
            known.discard(key)
        else:
            known.add(key)
        wake(key, Lane.DECIDE)

    @kopf.on.event(*_resource(PROMOTION_POLICY), registry=found)
    async def promotion_policy(**_: Any) -> None:
        wake_all()

    @kopf.on.event(*_resource(ports.ENDPOINT_SLICE), labels={endpoints.SERVICE_NAME: kopf.PRESENT}, registry=found)
    async def endpoint_slice(*, namespace: str | None, labels: Mapping[str, str], **_: Any) -> None:
        # One of another Service wakes nobody; what was there before its ModelDeployment is found when that is first reconciled.
        key = (namespace or "", labels[endpoints.SERVICE_NAME])
        if key in known:
            wake(key, Lane.UPKEEP)

    for kind in _OWNED:

        @kopf.on.event(*_resource(kind), labels={labels.MODEL_DEPLOYMENT: kopf.PRESENT}, registry=found, id=kind.plural)
        async def owned(*, namespace: str | None, labels: Mapping[str, str], **_: Any) -> None:
            wake((namespace or "", labels[_LABEL]), Lane.UPKEEP)

    return found


_LABEL = labels.MODEL_DEPLOYMENT


def settings(identity: str) -> kopf.OperatorSettings:
    """Return kopf's settings: it watches and nothing else, and writes neither annotations, finalizers nor events."""
    chosen = kopf.OperatorSettings()
    chosen.peering.standalone = True
    chosen.scanning.disabled = True
    chosen.posting.enabled = False
    chosen.posting.reporting_component = "lockstep"
    chosen.posting.reporting_instance = identity
    chosen.watching.chunk_size = 500
    chosen.watching.connect_timeout = 5
    chosen.networking.request_timeout = 30
    chosen.networking.connect_timeout = 5
    # A watch that can't be had for long is retried for as long as the Lease is held; the pod goes when it is lost.
    chosen.networking.error_backoffs = (1, 1, 2, 3, 5, 8, 13, 21, 30, 30, 30)
    chosen.process.ultimate_exiting_timeout = 20
    for kind in _OWNED:
        chosen.watching.label_selectors[_resource(kind)] = labels.MODEL_DEPLOYMENT
    chosen.watching.label_selectors[_resource(ports.ENDPOINT_SLICE)] = _FOREIGN_SLICES
    return chosen


def _resource(kind: Kind) -> tuple[str, str, str]:
    return kind.group, kind.version, kind.plural
