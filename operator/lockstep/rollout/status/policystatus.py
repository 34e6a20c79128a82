"""The status of a PromotionPolicy: whether it is understood, and whether it leaves open where images come from."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from lockstep.api.kinds import Object
from lockstep.api.promotionpolicy import PromotionPolicy, PromotionPolicyStatus
from lockstep.api.reasons import PolicyConditionType, Reason
from lockstep.formats.faults import first_fault
from lockstep.gates.chain import unknown_gates
from lockstep.gates.gate import Gate
from lockstep.gates.table import GATES
from lockstep.rollout.status.conditions import Conditions


def marked_default(policies: Collection[Object]) -> list[str]:
    """Return the names of the policies that say that they apply where a namespace names none; there should be one at most."""
    return sorted(str(raw["metadata"]["name"]) for raw in policies if (raw.get("spec") or {}).get("default") is True)


def next_policy_status(
    raw: Object, defaults: Collection[str], now: datetime, gates: Sequence[Gate] = GATES
) -> PromotionPolicyStatus:
    """Compose the status. Equal policies give equal statuses, so that nothing is written when nothing changed.

    Args:
        raw: the policy as the API server has it.
        defaults: names of all policies that are marked default.
        now: the present time.
        gates: all that this version has.
    """
    generation = raw["metadata"].get("generation", 0)
    conditions = Conditions(_present(raw), generation=generation, now=now)
    try:
        policy = PromotionPolicy.from_object(raw)
    except ValidationError as error:
        conditions.set(PolicyConditionType.ACCEPTED, "False", Reason.POLICY_INVALID, first_fault(error))
        conditions.drop(PolicyConditionType.REPOSITORIES_RESTRICTED)
        return PromotionPolicyStatus(observed_generation=generation, conditions=conditions.list())
    strangers = unknown_gates(policy, gates)
    if policy.spec.default and len(defaults) > 1:
        message = f"more than one PromotionPolicy is marked default: {', '.join(sorted(defaults))}"
        conditions.set(PolicyConditionType.ACCEPTED, "False", Reason.POLICY_INVALID, message)
    elif strangers:
        message = f"this version of Lockstep does not have the gates: {', '.join(strangers)}"
        conditions.set(PolicyConditionType.ACCEPTED, "False", Reason.GATE_UNKNOWN, message)
    else:
        conditions.set(PolicyConditionType.ACCEPTED, "True", Reason.POLICY_UNDERSTOOD, Reason.POLICY_UNDERSTOOD.sentence)
    _set_repositories(conditions, policy)
    return PromotionPolicyStatus(observed_generation=generation, conditions=conditions.list())


def _set_repositories(conditions: Conditions, policy: PromotionPolicy) -> None:
    patterns = policy.spec.images.repositories
    everything = [pattern for pattern in patterns if set(pattern) <= set("*?/")]
    if everything:
        message = (
            f"images.repositories has {everything[0]}: images may come from everywhere; list your registries, "
            "such as registry.example.com/ml/*"
        )
        conditions.set(PolicyConditionType.REPOSITORIES_RESTRICTED, "False", Reason.ALL_REPOSITORIES_ALLOWED, message)
    else:
        message = f"images may come from {', '.join(patterns) or 'nowhere'}"
        conditions.set(PolicyConditionType.REPOSITORIES_RESTRICTED, "True", Reason.REPOSITORIES_LISTED, message)


def _present(raw: Object) -> list[Any]:
    try:
        return PromotionPolicyStatus.model_validate(raw.get("status") or {}).conditions
    except ValidationError:
        # Not ours: it is replaced.
        return []
