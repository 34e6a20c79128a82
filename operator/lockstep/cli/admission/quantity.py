"""Kubernetes quantities: `2`, `500m`, `4Gi`, `1e3` (apimachinery, `resource.ParseQuantity`)."""

import re

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)")
_SUFFIX = re.compile(r"|[numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,18}")


def is_quantity(text: str) -> bool:
    """Return whether the API server reads a text as a quantity."""
    number = _NUMBER.match(text)
    return number is not None and _SUFFIX.fullmatch(text, number.end()) is not None
