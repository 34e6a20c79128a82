"""Finds the PromotionPolicy that governs a namespace, and whether the guards stand as they were installed."""

from collections.abc import Mapping

from pydantic import ValidationError

from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.api.reasons import Reason
from lockstep.controller.cluster import ports
from lockstep.controller.cluster.guardspec import guard_digest
from lockstep.controller.cluster.ports import Clock, Cluster, Object
from lockstep.formats.faults import first_fault
from lockstep.gates.evidence import Fact, Unknown
from lockstep.rollout.objects import labels
from lockstep.rollout.status.policystatus import marked_default

_GUARDS_SECONDS = 15.0


async def policy_for(cluster: Cluster, namespace: str) -> Fact[PromotionPolicy]:
    """Return the policy that the namespace's label names, else the one marked default; else why there is none.

    Raises:
        ClusterError: the API server did not answer.
    """
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
    """Return whether a namespace is being deleted: nothing can be made in it any more, and nothing has to.

    Raises:
        ClusterError: the API server did not answer.
    """
    named = await cluster.get(ports.NAMESPACE, None, namespace)
    return named is None or "deletionTimestamp" in named["metadata"]


def _read(raw: ports.Object) -> Fact[PromotionPolicy]:
    try:
        return PromotionPolicy.from_object(raw)
    except ValidationError as error:
        message = f"PromotionPolicy {raw['metadata']['name']}: {first_fault(error)}"
        return Unknown(Reason.POLICY_INVALID, message, retry=False)


class Guards:
    """Checks whether the guarding admission policies stand as the chart installs them; asked at most every few seconds."""

    def __init__(
        self, cluster: Cluster, clock: Clock, bindings: tuple[str, ...], digests: Mapping[str, str] | None = None
    ) -> None:
        """Take the names of the bindings, and by name what each guard has to say (see `guard_digest`), where that is known."""
        self._cluster = cluster
        self._clock = clock
        self._bindings = bindings
        self._digests = digests or {}
        self._known: tuple[float, tuple[str, ...]] | None = None

    async def missing(self) -> tuple[str, ...]:
        """Return the names of the guards that do not stand, each with what is wrong; empty when all do."""
        now = self._clock.monotonic()
        if self._known is not None and now - self._known[0] < _GUARDS_SECONDS:
            return self._known[1]
        wrong = [f"{name} {why}" for name in self._bindings if (why := await self._fault(name))]
        # Without a list of guards nothing is known to be guarded.
        missing = tuple(wrong) if self._bindings else ("none configured",)
        self._known = (now, missing)
        return missing

    async def _fault(self, name: str) -> str | None:
        binding = await self._cluster.get(ports.ADMISSION_POLICY_BINDING, None, name)
        if binding is None:
            return "is not bound"
        if "Deny" not in (_spec(binding).get("validationActions") or []):
            return "does not deny"
        policy = await self._cluster.get(ports.ADMISSION_POLICY, None, str(_spec(binding).get("policyName") or name))
        if policy is None:
            return "is missing"
        expected = self._digests.get(name)
        return "was changed" if expected is not None and guard_digest(policy, binding) != expected else None


def _spec(obj: Object) -> Object:
    found: Object = obj.get("spec") or {}
    return found
