"""An object's metadata, as the API server judges it (apimachinery, `ValidateObjectMeta`)."""

import re
from collections.abc import Iterator
from typing import Any

from lockstep.cli.admission.problem import Problem, below

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in ("name", "generateName", "namespace", "selfLink", "uid", "resourceVersion")},
        **{name: {"type": "integer"} for name in ("generation", "deletionGracePeriodSeconds")},
        **{name: {"type": "string"} for name in ("creationTimestamp", "deletionTimestamp")},
        **{name: {"type": "object", "additionalProperties": {"type": "string"}} for name in ("labels", "annotations")},
        "finalizers": {"type": "array", "items": {"type": "string"}},
        "ownerReferences": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["apiVersion", "kind", "name", "uid"],
                "properties": {
                    **{name: {"type": "string"} for name in ("apiVersion", "kind", "name", "uid")},
                    **{name: {"type": "boolean"} for name in ("controller", "blockOwnerDeletion")},
                },
            },
        },
        "managedFields": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    **{name: {"type": "string"} for name in ("manager", "operation", "apiVersion", "time", "fieldsType")},
                    "subresource": {"type": "string"},
                    # Anything.
                    "fieldsV1": {},
                },
            },
        },
    },
}
"""ObjectMeta (meta/v1), for types and unknown fields."""

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_NAME_PART = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_MAX_ANNOTATIONS = 256 * 1024
"""Bytes of all annotations together."""


def problems(metadata: dict[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong with metadata whose types are right."""
    name = metadata.get("name")
    if not name:
        yield Problem("metadata.name", "it is required, and missing")
    elif len(name) > 253 or not _SUBDOMAIN.fullmatch(name):
        yield Problem("metadata.name", "it has to be lower-case letters, digits, '-' and '.', and at most 253 characters")
    namespace = metadata.get("namespace") or "default"
    if len(namespace) > 63 or not re.fullmatch(_LABEL, namespace):
        yield Problem("metadata.namespace", "it has to be lower-case letters, digits and '-', and at most 63 characters")
    yield from _labels(metadata.get("labels") or {})
    yield from _annotations(metadata.get("annotations") or {})


def _labels(labels: dict[str, str]) -> Iterator[Problem]:
    for key, value in labels.items():
        if not is_qualified(key):
            yield Problem(below("metadata.labels", key), "it is not a label's key, such as team or example.com/team")
        if value and not _is_name(value):
            message = "a label's value has letters, digits, '-', '_' and '.', and at most 63 characters"
            yield Problem(below("metadata.labels", key), message)


def _annotations(annotations: dict[str, str]) -> Iterator[Problem]:
    for key in annotations:
        if not is_qualified(key.lower()):
            yield Problem(below("metadata.annotations", key), "it is not an annotation's key, such as example.com/team")
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > _MAX_ANNOTATIONS:
        yield Problem("metadata.annotations", f"they have more than {_MAX_ANNOTATIONS} bytes together")


def is_qualified(key: str) -> bool:
    """Return whether a key is a qualified name: `name` or `example.com/name` (apimachinery, `IsQualifiedName`)."""
    prefix, slash, name = key.rpartition("/")
    if slash and (not prefix or len(prefix) > 253 or not _SUBDOMAIN.fullmatch(prefix)):
        return False
    return _is_name(name)


def _is_name(text: str) -> bool:
    return len(text) <= 63 and _NAME_PART.fullmatch(text) is not None
