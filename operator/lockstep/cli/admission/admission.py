"""Whether the API server would take an object of Lockstep's: unknown fields, metadata, schema, rules."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from lockstep.api.kinds import MODEL_DEPLOYMENT
from lockstep.cli.admission import metadata, rules, schema
from lockstep.cli.admission.problem import Problem
from lockstep.cli.admission.unknown import unknown_fields
from lockstep.crds.resources import RESOURCES
from lockstep.crds.schema import root_schema

_ROOT = ("apiVersion", "kind", "metadata", "spec", "status")


@cache
def schema_of(kind: str) -> schema.Schema:
    """Return the schema of a kind, made from the types as the CRD in `crds/` is: this version's, whatever a cluster has."""
    (resource,) = (one for one in RESOURCES if one.kind.kind == kind)
    made = root_schema(resource)
    return made | {"properties": made["properties"] | {"metadata": metadata.SCHEMA}}


def problems_of(raw: dict[str, Any]) -> list[Problem]:
    """Return everything for which `kubectl apply`, with its strict validation, would refuse an object; empty for a good one."""
    root = schema_of(str(raw["kind"]))
    found = list(_header(raw))
    found += unknown_fields(raw, root, "", root)
    # The status is not the user's: it is dropped before anything is judged.
    judged = schema.prepare({key: value for key, value in raw.items() if key != "status"}, root)
    wrong = list(schema.problems(judged, root, "", rules.matches))
    if not any(one.path.startswith("metadata") for one in wrong):
        wrong += metadata.problems(judged.get("metadata") or {})
    # The API server evaluates rules over values of the right types only.
    return found + (wrong or list(rules.problems(judged, root, "")))


def _header(raw: dict[str, Any]) -> Iterator[Problem]:
    if raw.get("apiVersion") != MODEL_DEPLOYMENT.api_version:
        yield Problem("apiVersion", f"it has to be {MODEL_DEPLOYMENT.api_version}")
