"""Whether the guarding admission policies stand as the chart installs them.

What each of them says is compared as a digest: the chart gives the one that it installs. Only what can make a guard weaker
counts, and none of what the API server writes out by itself: a newer one that adds a field with a default of its own changes no
digest.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from lockstep.controller.cluster import ports
from lockstep.controller.cluster.ports import Clock, Cluster, Object
from lockstep.formats.canonical import canonical_json

_SECONDS = 15.0
"""So long an answer of the API server counts."""
# ValidatingAdmissionPolicySpec and ValidatingAdmissionPolicyBindingSpec of admissionregistration.k8s.io/v1. What a guard does
# when it refuses (validationActions) is checked by itself.
_KNOWN = frozenset({
    "failurePolicy", "paramKind", "apiVersion", "kind", "matchConstraints", "matchResources", "resourceRules",
    "excludeResourceRules", "apiGroups", "apiVersions", "operations", "resources", "resourceNames", "scope",
    "matchPolicy", "namespaceSelector", "objectSelector", "matchLabels", "matchExpressions", "key", "operator",
    "values", "matchConditions", "variables", "validations", "name", "expression", "message", "messageExpression",
    "reason", "policyName", "paramRef", "selector", "namespace", "parameterNotFoundAction",
})  # fmt: skip
_DEFAULTS = {"matchPolicy": "Equivalent", "scope": "*"}
# An empty selector of params selects all, and is no absent one.
_MEANT_EMPTY = ("selector",)


def guard_digest(policy: Object, binding: Object) -> str:
    """Return the digest (64 hexadecimal digits) of the specs of a policy and its binding."""
    said = {"policy": _project(policy.get("spec") or {}), "binding": _project(binding.get("spec") or {})}
    return hashlib.sha256(canonical_json(said)).hexdigest()


def _project(value: Any, key: str = "") -> Any:
    if isinstance(value, list):
        return [_project(item) for item in value]
    if not isinstance(value, dict) or key == "matchLabels":
        return value
    kept = {name: _project(part, name) for name, part in value.items() if name in _KNOWN and _DEFAULTS.get(name) != part}
    return {name: part for name, part in kept.items() if part not in (None, {}, [], "") or name in _MEANT_EMPTY}


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
        if self._known is not None and now - self._known[0] < _SECONDS:
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
