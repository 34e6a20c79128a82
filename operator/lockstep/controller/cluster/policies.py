"""Finds the PromotionPolicy that governs a namespace."""

from pydantic import ValidationError

from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.api.reasons import Reason
from lockstep.controller.cluster import ports
from lockstep.controller.cluster.ports import Cluster
from lockstep.formats.faults import first_fault
from lockstep.gates.evidence import Fact, Unknown
from lockstep.rollout.objects import labels
from lockstep.rollout.status.policystatus import marked_default


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


def _read(raw: ports.Object) -> Fact[PromotionPolicy]:
    try:
        return PromotionPolicy.from_object(raw)
    except ValidationError as error:
        message = f"PromotionPolicy {raw['metadata']['name']}: {first_fault(error)}"
        return Unknown(Reason.POLICY_INVALID, message, retry=False)
