"""The readiness audit of one pod: what a client will ask it, asked before any client does."""

import time

import aiohttp

from lockstep.api.server import Server
from lockstep.gates.evidence import AuditFact
from lockstep.readiness.protocols.custom import CustomProtocol
from lockstep.readiness.protocols.exchange import Request, ServingProtocol
from lockstep.readiness.protocols.mlflow import MLflowProtocol
from lockstep.readiness.protocols.v2 import OpenInferenceV2Protocol

_MAX_ANSWER = 16 * 1024 * 1024
# Sessions that stream layers don't decompress, so nothing compressed is asked for.
_PLAIN = {"Accept-Encoding": "identity"}


def protocol_of(server: Server) -> ServingProtocol:
    """Return the protocol that a ModelDeployment names."""
    if server.open_inference_v2 is not None:
        return OpenInferenceV2Protocol(server.open_inference_v2.model_name)
    if server.custom is not None:
        return CustomProtocol(server.custom)
    return MLflowProtocol()


def _request(protocol: ServingProtocol, input_example: bytes | None) -> tuple[Request | None, str | None]:
    """Return what to send, if anything, or why the registered input example can't be sent."""
    try:
        return protocol.prediction(input_example), None
    except ValueError as error:
        return None, str(error)


class HttpAuditor:
    """Audits pods over HTTP; implements `Auditor`."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

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
        """See `Auditor.audit`."""
        host = f"[{address}]" if ":" in address else address
        base = f"http://{host}:{server.port}"
        patience = aiohttp.ClientTimeout(total=timeout_seconds)
        protocol = protocol_of(server)
        latencies: list[float] = []
        asked = f"GET {protocol.ready_path}"
        try:
            async with self._session.get(
                base + protocol.ready_path, headers=_PLAIN, timeout=patience, allow_redirects=False
            ) as response:
                if response.status != 200:
                    failure = f"GET {protocol.ready_path} was answered with {response.status}"
                    return AuditFact(pod, passed=False, answered=0, failure=failure)
            request, unusable = _request(protocol, input_example)
            if unusable is not None:
                return AuditFact(pod, passed=False, answered=0, failure=unusable)
            for _ in range(requests if request is not None else 0):
                assert request is not None
                asked = f"POST {request.path}"
                started = time.monotonic()
                problem = await self._predict(base, request, protocol, patience)
                if problem is not None:
                    return AuditFact(pod, passed=False, answered=len(latencies), failure=problem)
                latencies.append(time.monotonic() - started)
        except TimeoutError:
            failure = f"{asked} was not answered within {timeout_seconds:g} s"
            return AuditFact(pod, passed=False, answered=len(latencies), failure=failure, unreachable=True)
        except aiohttp.ClientConnectionError as error:
            failure = f"it could not be reached ({asked}): {str(error) or type(error).__name__}"
            return AuditFact(pod, passed=False, answered=len(latencies), failure=failure, unreachable=True)
        except (aiohttp.ClientError, ValueError) as error:
            return AuditFact(pod, passed=False, answered=len(latencies), failure=f"its answer can't be read: {error}")
        return AuditFact(pod, passed=True, answered=len(latencies), latencies=tuple(latencies))

    async def _predict(
        self, base: str, request: Request, protocol: ServingProtocol, patience: aiohttp.ClientTimeout
    ) -> str | None:
        headers = _PLAIN | {"Content-Type": "application/json"}
        async with self._session.post(
            base + request.path, data=request.body, headers=headers, timeout=patience, allow_redirects=False
        ) as response:
            body = bytearray()
            async for chunk in response.content.iter_chunked(65536):
                body += chunk
                if len(body) > _MAX_ANSWER:
                    return f"POST {request.path} was answered with more than {_MAX_ANSWER} bytes"
            if response.status != 200:
                said = bytes(body[:200]).decode("utf-8", "replace").strip()
                return f"POST {request.path} with the registered input example was answered with {response.status}: {said}"
        return protocol.failure(bytes(body))
