"""Structural schemas (apiextensions.k8s.io/v1) of the types, as the API server takes them."""

from dataclasses import dataclass
from typing import Any

from pydantic_core import to_jsonable_python

from lockstep.api.base import ApiModel
from lockstep.crds.resources import RULES, Resource, Schema


def root_schema(resource: Resource) -> Schema:
    """Return the structural schema of a whole object."""
    properties: Schema = {
        "apiVersion": {"type": "string", "description": f"{resource.kind.api_version}."},
        "kind": {"type": "string", "description": f"{resource.kind.kind}."},
        "metadata": {"type": "object"},
        "spec": structural(resource.spec),
    }
    for name, rules in resource.field_rules.items():
        properties["spec"]["properties"][name][RULES] = rules
    if resource.status is not None:
        properties["status"] = structural(resource.status, defaults=False)
    schema: Schema = {"type": "object", "description": resource.description, "required": ["spec"]}
    schema["properties"] = properties
    return schema | ({RULES: resource.rules} if resource.rules else {})


def structural(model: type[ApiModel], *, defaults: bool = True) -> Schema:
    """Return a model's schema in the form that the API server takes: everything inline, optional instead of null."""
    whole = model.model_json_schema(by_alias=True, mode="validation")
    return _Converter(whole.get("$defs", {}), _factories(model), defaults).convert(whole, (model.__name__,))


def _factories(model: type[ApiModel]) -> dict[tuple[str, str], Any]:
    """Return the non-empty list defaults of a model and of all below it, which pydantic leaves out of its schema."""
    found: dict[tuple[str, str], Any] = {}
    seen: list[Any] = [model]
    for current in seen:
        for name, info in current.model_fields.items():
            made = info.get_default(call_default_factory=True) if info.default_factory else None
            if isinstance(made, list) and made:
                found[(current.__name__, info.alias or name)] = to_jsonable_python(made)
            if isinstance(made, ApiModel) and type(made) not in seen:
                seen.append(type(made))
            if isinstance(info.annotation, type) and issubclass(info.annotation, ApiModel) and info.annotation not in seen:
                seen.append(info.annotation)
    return found


@dataclass(frozen=True)
class _Converter:
    definitions: Schema
    factories: dict[tuple[str, str], Any]
    defaults: bool

    def convert(self, node: Schema, path: tuple[str, ...]) -> Schema:
        node, name = self._resolve(node, path[-1])
        kept = {key: value for key, value in node.items() if key in _KEPT or key.startswith("x-kubernetes-")}
        if "description" in kept:
            kept["description"] = " ".join(kept["description"].split())
        if "const" in node:
            kept["enum"] = [node["const"]]
        if self.defaults and node.get("default") is not None:
            kept["default"] = node["default"]
        # The rule's sentence helps more than "should match": where a rule has the same expression, it alone decides.
        if any(kept.get("pattern", "\0") in rule["rule"] for rule in kept.get(RULES, ())):
            del kept["pattern"]
        if kept.get("x-kubernetes-int-or-string"):
            # The API server takes no type beside it, and a length would be that of the string alone.
            kept.pop("type")
        if "properties" in node:
            kept["properties"] = {key: self._property(name, key, value) for key, value in node["properties"].items()}
        if isinstance(node.get("additionalProperties"), dict):
            kept["additionalProperties"] = self.convert(node["additionalProperties"], (name, "*"))
        if "items" in node:
            kept["items"] = self.convert(node["items"], (name, "[]"))
        return {key: kept[key] for key in sorted(kept, key=_position)}

    def _property(self, owner: str, key: str, node: Schema) -> Schema:
        made = self.convert(node, (owner, key))
        if self.defaults and (owner, key) in self.factories:
            made["default"] = self.factories[(owner, key)]
        return {name: made[name] for name in sorted(made, key=_position)}

    def _resolve(self, node: Schema, name: str) -> tuple[Schema, str]:
        """Follow a reference and take the null out of an optional; what stands beside them wins, rules add up."""
        while "$ref" in node or "anyOf" in node:
            beside = {key: value for key, value in node.items() if key not in ("$ref", "anyOf")}
            if "$ref" in node:
                name = node["$ref"].rpartition("/")[2]
                inner = self.definitions[name]
            else:
                (inner,) = [option for option in node["anyOf"] if option.get("type") != "null"]
            rules = [*inner.get(RULES, ()), *beside.get(RULES, ())]
            node = inner | beside | ({RULES: rules} if rules else {})
        return node, name


_KEPT = (
    "description", "type", "format", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum", "minItems",
    "maxItems", "maxProperties", "required",
)  # fmt: skip
_ORDER = ("description", "type", "format", "enum", "default")


def _position(key: str) -> tuple[int, str]:
    if key in _ORDER:
        return _ORDER.index(key), ""
    return (len(_ORDER) + (key in ("properties", "items", "additionalProperties")), key)
