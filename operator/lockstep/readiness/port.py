"""The port through which the controller asks pods and Services."""

from dataclasses import dataclass
from typing import Protocol

from lockstep.api.server import Server
from lockstep.gates.evidence import AuditFact


@dataclass(frozen=True)
class Audit:
    """What is asked of one address, and how long it may take."""

    pod: str
    """Name of the pod, or of what else answers there."""
    address: str
    port: int
    hosts: tuple[str, ...]
    """Names by which clients in the cluster address the Service, with its port where that is not 80."""
    server: Server
    input_example: bytes | None
    requests: int
    """Predictions that have to be answered, at least; 0 asks for readiness alone."""
    timeout_seconds: float
    """For one request."""
    within_seconds: float
    """For all of them."""
    whole_example: bool = False
    """Whether the example is sent as it stands, and any number of predictions is right."""
    missing_predictions: bool = False
    """Whether predictions may be null, NaN or infinite, as long as not all are."""
    ready: bool = True
    """Whether the path of the readiness probe is asked too."""


class Auditor(Protocol):
    """Asks one address what a client will ask it."""

    async def audit(self, audit: Audit) -> AuditFact:
        """Ask for predictions and for readiness, in random order. Never raises."""
        ...

    async def readiness(self, audit: Audit) -> str:
        """Ask the path of the readiness probe once and return what came back, as a sentence. Never raises."""
        ...
