"""What a guarding admission policy says, as a digest: the chart gives the one that it installs, the API server's is compared.

Only what can make a guard weaker counts, and none of what the API server writes out by itself: a newer one that adds a field
with a default of its own changes no digest.
"""

import hashlib
from typing import Any

from lockstep.controller.cluster.ports import Object
from lockstep.formats.canonical import canonical_json

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
