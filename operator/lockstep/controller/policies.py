"""Finds the PromotionPolicy that governs a namespace, and whether the guards are installed."""

from pydantic import ValidationError

from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.api.reasons import Reason
from lockstep.controller import ports
from lockstep.controller.ports import Clock, Cluster
from lockstep.gates.evidence import Fact, Unknown
from lockstep.rollout import labels
from lockstep.rollout.policystatus import marked_default, policy_problem

_GUARDS_SECONDS = 15.0


async def policy_for(cluster: Cluster, namespace: str) -> Fact[PromotionPolicy]:
    """Return the policy that the namespace's label names, else the one marked default; else why there is none."""
    named = await cluster.get(ports.NAMESPACE, None, namespace)
    wanted = ((named or {}).get("metadata", {}).get("labels") or {}).get(labels.POLICY)
    if wanted:
        raw = await cluster.get(ports.PROMOTION_POLICY, None, wanted)
        if raw is None:
            message = f"the namespace's label {labels.POLICY} names the PromotionPolicy {wanted}, which does not exist"
            return Unknown(Reason.POLICY_MISSING, message, retry=False)
        return _read(raw)
    policies = await cluster.list(ports.PROMOTION_POLICY, None)
    marked = marked_default(policies)
    if not marked:
        message = f"no PromotionPolicy is marked default and the namespace has no label {labels.POLICY}"
        return Unknown(Reason.POLICY_MISSING, message, retry=False)
    if len(marked) > 1:
        message = f"more than one PromotionPolicy is marked default: {', '.join(marked)}"
        return Unknown(Reason.POLICY_INVALID, message, retry=False)
    return _read(next(raw for raw in policies if raw["metadata"]["name"] == marked[0]))


async def is_ending(cluster: Cluster, namespace: str) -> bool:
    """Tell whether a namespace is being deleted: nothing can be made in it any more, and nothing has to."""
    named = await cluster.get(ports.NAMESPACE, None, namespace)
    return named is None or "deletionTimestamp" in named["metadata"]


def _read(raw: ports.Object) -> Fact[PromotionPolicy]:
    try:
        return PromotionPolicy.from_object(raw)
    except ValidationError as error:
        message = f"PromotionPolicy {raw['metadata']['name']}: {policy_problem(error)}"
        return Unknown(Reason.POLICY_INVALID, message, retry=False)


class Guards:
    """Tells whether the bindings of the guarding admission policies exist; asked at most every few seconds."""

    def __init__(self, cluster: Cluster, clock: Clock, bindings: tuple[str, ...]) -> None:
        self._cluster = cluster
        self._clock = clock
        self._bindings = bindings
        self._known: tuple[float, tuple[str, ...]] | None = None

    async def missing(self) -> tuple[str, ...]:
        """Return the names of the bindings that do not exist or do not deny; empty when all guards stand."""
        now = self._clock.monotonic()
        if self._known is not None and now - self._known[0] < _GUARDS_SECONDS:
            return self._known[1]
        absent = []
        for name in self._bindings:
            binding = await self._cluster.get(ports.ADMISSION_POLICY_BINDING, None, name)
            if binding is None or "Deny" not in ((binding.get("spec") or {}).get("validationActions") or []):
                absent.append(name)
        # Without a list of guards nothing is known to be guarded.
        missing = tuple(absent) if self._bindings else ("none configured",)
        self._known = (now, missing)
        return missing
