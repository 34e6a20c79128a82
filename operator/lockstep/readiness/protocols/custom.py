"""A server with a protocol of its own, as the ModelDeployment describes it."""

from lockstep.api.server import CustomServer
from lockstep.readiness.answers import NoAnswerError, TooManyValuesError, check_predictions, parse_answer, refuse_error
from lockstep.readiness.example import Example
from lockstep.readiness.protocols.exchange import Request


class CustomProtocol:
    """The paths and the body come from `spec.server.custom`; any 200 with content that is no error is an answer."""

    def __init__(self, server: CustomServer) -> None:
        self._server = server

    def request(self, example: Example | None, *, compact: bool) -> Request:
        """See `ServingProtocol.request`."""
        path, own = self._server.predict_path, self._server.predict_body
        if path is None:
            raise ValueError("server.custom has no predictPath")
        if own is not None:
            return Request(path, own.encode(), "server.custom.predictBody")
        if example is None:
            raise ValueError("the model has no registered input example, and server.custom has no predictBody")
        return Request(path, example.encode(compact=compact), example.name)

    def check(self, request: Request, body: bytes, *, missing: bool) -> None:
        """See `ServingProtocol.check`: what is no JSON may be anything, but a page for people."""
        if not body.strip():
            raise NoAnswerError("its answer is empty")
        if body.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
            raise NoAnswerError("its answer is an HTML page")
        try:
            answer = parse_answer(body, missing=True)
        except TooManyValuesError:
            raise
        except NoAnswerError:
            return
        refuse_error(answer)
        check_predictions(answer, None, missing=missing)

    def advice(self, status: int) -> str | None:
        """See `ServingProtocol.advice`."""
        if status in (404, 405):
            return "check server.custom.predictPath"
        if status in (400, 415, 422):
            own = self._server.predict_body is not None
            return f"{'correct' if own else 'set'} server.custom.predictBody: what the server takes"
        return None
