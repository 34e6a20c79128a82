"""A server with a protocol of its own, as the ModelDeployment describes it."""

from lockstep.api.server import CustomServer
from lockstep.readiness.protocols.exchange import Request


class CustomProtocol:
    """The paths and the body come from `spec.server.custom`; any 200 with content is an answer."""

    def __init__(self, server: CustomServer) -> None:
        self._server = server
        self.ready_path = server.ready_path

    def prediction(self, input_example: bytes | None) -> Request | None:
        """See `ServingProtocol.prediction`."""
        own = self._server.predict_body
        body = own.encode() if own is not None else input_example
        if self._server.predict_path is None or body is None:
            return None
        return Request(self._server.predict_path, body)

    def failure(self, body: bytes) -> str | None:
        """See `ServingProtocol.failure`."""
        return None if body else "its answer is empty"
