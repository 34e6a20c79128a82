"""Time that passes only when a test says so."""

from datetime import datetime, timedelta

from tests.fakes.builders import NOW


class FakeClock:
    """Implements `controller.cluster.ports.Clock`."""

    def __init__(self, start: datetime = NOW) -> None:
        self._start = start
        self._passed = 0.0

    def now(self) -> datetime:
        return (self._start + timedelta(seconds=self._passed)).replace(microsecond=0)

    def monotonic(self) -> float:
        return 1000.0 + self._passed

    def advance(self, seconds: float) -> None:
        self._passed += seconds
