"""Canonical JSON and digests: the one way in which everything that is hashed is written down."""

import hashlib
import json


def canonical_json(value: object) -> bytes:
    """Return JSON with sorted keys, no white space, UTF-8: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256_of(data: bytes) -> str:
    """Return the OCI-style digest `sha256:<64 hex>` of some bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()
