"""Asks pods and Services over HTTP what a client will ask them; implements `Auditor`."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

from lockstep.api.server import CustomServer, MLflowServer, OpenInferenceV2Server, Server
from lockstep.gates.evidence import AuditFact
from lockstep.readiness.client import CLIENTS
from lockstep.readiness.conversation import AuditError, Conversation, session
from lockstep.readiness.plan import Ask, Plan
from lockstep.readiness.port import Audit
from lockstep.readiness.protocols.custom import CustomProtocol
from lockstep.readiness.protocols.exchange import ServingProtocol
from lockstep.readiness.protocols.mlflow import MLflowProtocol
from lockstep.readiness.protocols.v2 import OpenInferenceV2Protocol

_LATE = "make the server faster, or let the platform team raise readiness.deadlineSeconds or lower readiness.requests"
_UNFIT = "log the model with another input_example, or use server.custom"


def protocol_of(server: Server) -> ServingProtocol:
    """Return the protocol that a ModelDeployment names."""
    match server.protocol:
        case MLflowServer():
            return MLflowProtocol()
        case OpenInferenceV2Server() as named:
            return OpenInferenceV2Protocol(named)
        case CustomServer() as named:
            return CustomProtocol(named)


@dataclass
class _Progress:
    answered: int = 0


class HttpAuditor:
    """Asks as some HTTP client or other: which one, in what order and how often is left to chance."""

    def __init__(
        self,
        chance: random.Random | None = None,
        *,
        pauses: bool = True,
        protocols: Callable[[Server], ServingProtocol] = protocol_of,
    ) -> None:
        self._chance = chance or random.SystemRandom()
        self._pauses = pauses
        self._protocols = protocols
        self._large = asyncio.Semaphore(1)

    async def audit(self, audit: Audit) -> AuditFact:
        """See `Auditor.audit`."""
        progress = _Progress()
        try:
            async with asyncio.timeout(audit.within_seconds):
                await self._audit(audit, progress)
        except TimeoutError:
            if progress.answered < audit.requests:
                failure = f"answered {progress.answered} of {audit.requests} predictions within {audit.within_seconds:g} s"
                return AuditFact(audit.pod, passed=False, answered=progress.answered, failure=failure, advice=_LATE, late=True)
        except AuditError as error:
            return AuditFact(
                audit.pod,
                passed=False,
                answered=progress.answered,
                failure=str(error),
                advice=error.advice,
                unreachable=error.unreachable,
            )
        return AuditFact(audit.pod, passed=True, answered=progress.answered)

    async def readiness(self, audit: Audit) -> str:
        """See `Auditor.readiness`."""
        client = self._chance.choice(CLIENTS)
        try:
            async with session(client) as connections, asyncio.timeout(audit.within_seconds):
                asking = Conversation(connections, audit, self._protocols(audit.server), {}, self._large)
                return f"{await asking.ready()} was answered with 200"
        except TimeoutError:
            return f"GET {audit.server.ready_path} was not answered within {audit.within_seconds:g} s"
        except AuditError as error:
            return str(error)

    async def _audit(self, audit: Audit, progress: _Progress) -> None:
        client, host = self._chance.choice(CLIENTS), self._chance.choice(audit.hosts)
        protocol = self._protocols(audit.server)
        plan = Plan(audit, protocol, self._chance, compact=client.compact, pauses=self._pauses)
        async with session(client) as connections:
            asking = Conversation(connections, audit, protocol, {"Host": host}, self._large)
            for step in plan.steps:
                await asyncio.sleep(step.pause)
                if step.ask is Ask.READY:
                    await asking.ready()
                    continue
                try:
                    request = await asyncio.to_thread(plan.request, step.ask)
                except ValueError as error:
                    raise AuditError(str(error), _UNFIT) from error
                await asking.predict(request)
                progress.answered += 1
