"""The port through which the controller audits a pod."""

from typing import Protocol

from lockstep.api.server import Server
from lockstep.gates.evidence import AuditFact


class Auditor(Protocol):
    """Asks one candidate pod what a client will ask it."""

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
        """Check readiness at `address` (the pod's IP), then send `requests` predictions in a row. Never raises."""
        ...
