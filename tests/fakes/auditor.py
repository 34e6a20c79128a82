"""An auditor that finds what a test tells it to find, and a prober that hears what a test tells it to hear."""

from dataclasses import dataclass, field

from lockstep.api.server import Server
from lockstep.gates.evidence import AuditFact


@dataclass
class FakeAuditor:
    """Implements `readiness.port.Auditor`."""

    failure: str | None = None
    unreachable: bool = False
    audited: list[str] = field(default_factory=list)

    async def audit(
        self,
        *,
        pod: str,
        address: str,
        server: Server,
        input_example: bytes | None,
        requests: int,
        timeout_seconds: float,
    ) -> AuditFact:
        self.audited.append(pod)
        if self.unreachable:
            return AuditFact(pod, passed=False, answered=0, failure="it could not be reached", unreachable=True)
        if self.failure is not None:
            return AuditFact(pod, passed=False, answered=0, failure=self.failure)
        return AuditFact(pod, passed=True, answered=requests, latencies=(0.01,) * requests)


@dataclass
class FakeProber:
    """Implements `readiness.probe.Prober`."""

    answer: str = "GET /ping on port 8080: connection refused"
    asked: list[str] = field(default_factory=list)

    async def said(self, *, address: str, server: Server) -> str:
        self.asked.append(address)
        return self.answer
