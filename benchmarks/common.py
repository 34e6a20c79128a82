"""What the benchmarks share: the machine's description and tables."""

import os
import platform
from collections.abc import Sequence
from pathlib import Path


def machine() -> str:
    """Describe the machine in one line, without naming it."""
    memory = int(Path("/proc/meminfo").read_text().partition("MemTotal:")[2].split()[0]) >> 20
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    processor = models[0].partition(":")[2].strip() if models else platform.machine()
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores ({processor}), {memory} GB, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"


def table(rows: Sequence[tuple[str, str]]) -> str:
    """Return a table of figures."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of all values lies (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
