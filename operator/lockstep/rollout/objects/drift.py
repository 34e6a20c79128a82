"""Finds out whether a live object is still the one that was asked for."""

import re
from decimal import Decimal
from typing import Any

from lockstep.api.kinds import Object

_SUFFIXES = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1), "k": Decimal("1e3"),
    "M": Decimal("1e6"), "G": Decimal("1e9"), "T": Decimal("1e12"), "P": Decimal("1e15"), "E": Decimal("1e18"),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}  # fmt: skip
_QUANTITY = re.compile(r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?P<suffix>[KMGTPE]i|[numkMGTPE]?)", re.ASCII)
# Keys under which the API server rewrites quantities into its canonical form ("0.5" becomes "500m").
_QUANTITIES_BELOW = ("limits", "requests")
_QUANTITIES = ("sizeLimit",)


def deployment_drift(desired: Object, live: Object) -> str | None:
    """Return where a Deployment's template, selector or strategy differs from the desired one; None when nowhere.

    Replicas and `paused` are steps of the rollout and not compared here.
    """
    for key in ("template", "selector", "strategy"):
        where = difference(desired["spec"][key], live.get("spec", {}).get(key), f"spec.{key}")
        if where:
            return where
    return label_drift(desired, live)


def budget_drift(desired: Object, live: Object) -> str | None:
    """Return where a PodDisruptionBudget differs; None when nowhere."""
    return difference(desired["spec"], live.get("spec"), "spec") or label_drift(desired, live)


def revision_drift(desired: Object, live: Object) -> str | None:
    """Return where a ControllerRevision differs; None when nowhere."""
    return difference(desired["data"], live.get("data"), "data") or label_drift(desired, live)


def label_drift(desired: Object, live: Object) -> str | None:
    """Return which of the desired labels an object lacks; None when it has them all."""
    have = live.get("metadata", {}).get("labels") or {}
    missing = [key for key, value in desired["metadata"]["labels"].items() if have.get(key) != value]
    return f"metadata.labels[{missing[0]}]" if missing else None


def difference(desired: Any, live: Any, path: str) -> str | None:
    """Return the path of the first difference between two JSON values; None when they are equal.

    What is empty counts as absent, and quantities are compared by value.
    """
    if _empty(desired) and _empty(live):
        return None
    if _are_both(dict, desired, live):
        return _mapping_difference(desired or {}, live or {}, path)
    if _are_both(list, desired, live):
        return _list_difference(desired or [], live or [], path)
    return None if desired == live else path


def _are_both(kind: type, desired: Any, live: Any) -> bool:
    """Return whether two values are of one kind, where one of them may be absent."""
    values = [value for value in (desired, live) if value is not None]
    return all(isinstance(value, kind) for value in values)


def _list_difference(desired: list[Any], live: list[Any], path: str) -> str | None:
    if len(desired) != len(live):
        return path
    found = (difference(w, h, f"{path}[{i}]") for i, (w, h) in enumerate(zip(desired, live, strict=True)))
    return next((where for where in found if where), None)


def _mapping_difference(desired: Object, live: Object, path: str) -> str | None:
    quantities = path.rpartition(".")[2] in _QUANTITIES_BELOW
    for key in sorted(desired.keys() | live.keys()):
        wanted, have = desired.get(key), live.get(key)
        if (quantities or key in _QUANTITIES) and _quantity(wanted) == _quantity(have) is not None:
            continue
        where = difference(wanted, have, f"{path}.{key}")
        if where:
            return where
    return None


def _empty(value: Any) -> bool:
    # The API server leaves out empty texts too (`value: ""` of a variable).
    return value is None or value in ({}, [], "")


def _quantity(value: Any) -> Decimal | None:
    found = _QUANTITY.fullmatch(str(value))
    return Decimal(found["number"]) * _SUFFIXES[found["suffix"]] if found else None
