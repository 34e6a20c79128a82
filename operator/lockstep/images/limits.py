"""Bounds of a scan: whatever an image holds, it ends within a known time and memory."""

from dataclasses import dataclass

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
