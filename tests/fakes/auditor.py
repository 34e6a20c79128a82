"""An auditor that finds what a test tells it to find."""

import asyncio
from dataclasses import dataclass, field

from lockstep.gates.evidence import AuditFact
from lockstep.readiness.port import Audit


@dataclass
class FakeAuditor:
    """Implements `readiness.port.Auditor`."""

    failure: str | None = None
    unreachable: bool = False
    service_failure: str | None = None
    """What is found out through the Service, after the switch."""
    service_unreachable: bool = False
    unready: str = "GET /ping was answered with 503"
    audits: list[Audit] = field(default_factory=list)
    held: asyncio.Event | None = None
    """Until it is set, no audit ends."""

    @property
    def audited(self) -> list[str]:
        """The pods that were audited, in that order."""
        return [audit.pod for audit in self.audits if audit.ready]

    @property
    def services(self) -> list[Audit]:
        """What was asked of the Service."""
        return [audit for audit in self.audits if not audit.ready]

    async def audit(self, audit: Audit) -> AuditFact:
        self.audits.append(audit)
        if self.held is not None:
            await self.held.wait()
        failure = self.failure if audit.ready else self.service_failure
        if self.unreachable if audit.ready else self.service_unreachable:
            return AuditFact(audit.pod, passed=False, answered=0, failure="it could not be reached", unreachable=True)
        if failure is not None:
            return AuditFact(audit.pod, passed=False, answered=0, failure=failure)
        return AuditFact(audit.pod, passed=True, answered=audit.requests)

    async def readiness(self, audit: Audit) -> str:
        return self.unready
