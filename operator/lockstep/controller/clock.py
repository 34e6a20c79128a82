"""The real time."""

import time
from datetime import UTC, datetime


class SystemClock:
    """Implements `Clock`."""

    def now(self) -> datetime:
        """Return the present time in whole seconds, as Kubernetes keeps it."""
        return datetime.now(UTC).replace(microsecond=0)

    def monotonic(self) -> float:
        """Return CLOCK_BOOTTIME, which goes on while the process is stopped or the machine suspended."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)
