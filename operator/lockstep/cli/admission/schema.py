"""Judges a value by a structural schema, as the API server does (apiextensions.k8s.io/v1, kube-openapi's validation).

Only the keywords that `crds/schema.py` writes are known here; a test holds the two together.
"""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

from lockstep.cli.admission.problem import Problem, below

Schema = dict[str, Any]
Matches = Callable[[str, str], bool]
"""Returns whether a regular expression (RE2) is found in a text."""

KEYWORDS = frozenset(
    (
        "type", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", "minProperties",
        "maxProperties", "required", "properties", "additionalProperties", "items", "default", "description", "format",
        "x-kubernetes-int-or-string", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-validations",
    )
)  # fmt: skip
FORMATS = frozenset(("int32", "int64", "date-time"))
"""The first two say nothing about JSON; the third stands in parts that the operator alone writes."""
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def prepare(value: Any, schema: Schema) -> Any:
    """Return what the API server judges and stores: nulls taken out, unknown fields pruned, defaults filled in."""
    if isinstance(value, dict) and "properties" in schema:
        return _prepare_object(value, schema["properties"])
    if isinstance(value, dict) and "additionalProperties" in schema:
        entries = schema["additionalProperties"]
        return {key: prepare(entry, entries) for key, entry in value.items() if entry is not None}
    if isinstance(value, list) and "items" in schema:
        return [prepare(entry, schema["items"]) for entry in value]
    return value


def _prepare_object(value: dict[str, Any], properties: Schema) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, schema in properties.items():
        stated = value.get(name)
        if stated is None and "default" in schema:
            stated = copy.deepcopy(schema["default"])
        if stated is not None:
            made[name] = prepare(stated, schema)
    return made


def problems(value: Any, schema: Schema, path: str, matches: Matches) -> Iterator[Problem]:
    """Yield what is wrong with a prepared value and with what is below it."""
    wrong = _wrong_type(value, schema)
    if wrong is not None:
        yield Problem(path, wrong)
        return
    if "enum" in schema and value not in schema["enum"]:
        yield Problem(path, f"{_shown(value)} is not one of {', '.join(_shown(one) for one in schema['enum'])}")
    if isinstance(value, str):
        yield from _text(value, schema, path, matches)
    elif isinstance(value, dict):
        yield from _object(value, schema, path, matches)
    elif isinstance(value, list):
        yield from _list(value, schema, path, matches)
    elif not isinstance(value, bool):
        yield from _within(value, schema, path, "minimum", "maximum", "it is {}")


def _wrong_type(value: Any, schema: Schema) -> str | None:
    if schema.get("x-kubernetes-int-or-string"):
        fits, wanted = isinstance(value, str | int) and not isinstance(value, bool), "a whole number or text"
    else:
        wanted = schema["type"]
        fits = isinstance(value, _TYPES[wanted]) and (wanted == "boolean" or not isinstance(value, bool))
    if fits:
        return None
    quoted = f'; in quotes it is text: "{value}"' if wanted == "string" and isinstance(value, int | float) else ""
    return f"it has to be of type {wanted}, and is {_shown(value)}{quoted}"


def _text(value: str, schema: Schema, path: str, matches: Matches) -> Iterator[Problem]:
    yield from _within(len(value), schema, path, "minLength", "maxLength", "it has {} characters")
    if "pattern" in schema and not matches(schema["pattern"], value):
        yield Problem(path, f"{_shown(value)} does not fit {schema['pattern']}")


def _object(value: dict[str, Any], schema: Schema, path: str, matches: Matches) -> Iterator[Problem]:
    yield from _within(len(value), schema, path, "minProperties", "maxProperties", "it has {} entries")
    for name in schema.get("required", ()):
        if name not in value:
            yield Problem(below(path, name), "it is required, and missing")
    properties = schema.get("properties", {})
    for name, entry in value.items():
        inner = properties.get(name, schema.get("additionalProperties"))
        if inner:
            yield from problems(entry, inner, below(path, name), matches)


def _list(value: list[Any], schema: Schema, path: str, matches: Matches) -> Iterator[Problem]:
    yield from _within(len(value), schema, path, "minItems", "maxItems", "it has {} entries")
    for number, entry in enumerate(value):
        yield from problems(entry, schema["items"], f"{path}[{number}]", matches)
    keys = schema.get("x-kubernetes-list-map-keys", ())
    if schema.get("x-kubernetes-list-type") not in ("set", "map"):
        return
    seen: set[str] = set()
    for number, entry in enumerate(value):
        about = {key: entry.get(key) for key in keys} if keys and isinstance(entry, dict) else entry
        name = json.dumps(about, sort_keys=True)
        if name in seen:
            yield Problem(f"{path}[{number}]", f"{name} stands twice")
        seen.add(name)


def _within(number: float, schema: Schema, path: str, least: str, most: str, sentence: str) -> Iterator[Problem]:
    if least in schema and number < schema[least]:
        yield Problem(path, f"{sentence.format(number)}; the minimum is {schema[least]}")
    if most in schema and number > schema[most]:
        yield Problem(path, f"{sentence.format(number)}; the maximum is {schema[most]}")


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
