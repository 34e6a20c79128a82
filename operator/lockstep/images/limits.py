"""Bounds of a scan: whatever an image holds, it ends within a known time and memory."""

import json
from dataclasses import dataclass, fields

from pydantic.alias_generators import to_camel

MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """All in bytes unless the name says otherwise. What is exceeded is named in the refusal (`LimitExceeded`)."""

    manifest: int = 4 * MIB
    """The OCI distribution specification asks registries to take manifests of up to 4 MiB."""
    config: int = 8 * MIB
    children: int = 64
    """Number of manifests in an index."""
    layers: int = 128
    """Number of layers."""
    compressed: int = 20 * 1024 * MIB
    uncompressed: int = 40 * 1024 * MIB
    ratio: int = 200
    """How many bytes a layer may become for each that was read of it, beyond `ratio_from`.

    Measured: layers of Debian and PyPI packages 3 to 5 (39 at most over any 64 MiB), float weights of which 99 % are zero 58,
    JSON lines 107 (zstd), one-hot data 280 to 600, zeros 1 030 (gzip) and 32 700 (zstd).
    """
    ratio_from: int = 1024 * MIB
    """What a layer may become at any ratio: the time that a bomb costs, two to three seconds."""
    entries: int = 500_000
    """Number of entries in all layers."""
    header: int = MIB
    """One extended header (PAX record block, GNU long name)."""
    kept: int = 256 * MIB
    """Names and the bodies of evidence, together."""
    zstd_window: int = 128 * MIB
    seconds: float = 300.0
    """For the whole scan."""
    memory: int = 1024 * MIB
    """Address space of each process that reads an image's bytes."""
    record: int = 64 * MIB
    """What such a process may answer, compressed."""
    head_seconds: float = 20.0
    """Until the head of a registry's answer is there: name, connection, TLS and headers."""
    rate: float = 100_000.0
    """Bytes a second that a body has to bring at least, over each `rate_window` but the last."""
    rate_window: float = 30.0
    """In seconds."""


def parse_limits(text: str) -> Limits:
    """Read limits by the names that `Limits` gives them, in camelCase as in the chart's values; empty for the default.

    Raises:
        ValueError: it is no JSON object of whole numbers from 1 by those names.
    """
    known = {to_camel(one.name): one.name for one in fields(Limits)}
    try:
        stated = json.loads(text or "{}")
    except (ValueError, RecursionError):
        stated = None
    if not isinstance(stated, dict):
        raise ValueError(f"it is no JSON object: {text[:100]!r}")
    for name, value in stated.items():
        if name not in known:
            raise ValueError(f"it has {name[:40]!r}, and may have {', '.join(sorted(known))}")
        if type(value) is not int or value < 1:
            raise ValueError(f"{name} has to be a whole number from 1")
    return Limits(**{known[name]: value for name, value in stated.items()})
