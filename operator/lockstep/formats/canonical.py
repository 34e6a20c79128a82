"""Canonical JSON and digests: the one way in which everything that is hashed is written down."""

import hashlib
import json
from typing import Any


def canonical_json(value: object) -> bytes:
    """Return JSON with sorted keys, no white space, UTF-8: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256_of(data: bytes) -> str:
    """Return the OCI-style digest `sha256:<64 hex>` of some bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def strict_json(raw: bytes) -> Any:
    """Read JSON of which every program reads the same: no key twice in an object, no NaN, not nested beyond reason.

    Raises:
        ValueError: it is none.
    """
    try:
        return json.loads(raw, object_pairs_hook=_no_key_twice, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
