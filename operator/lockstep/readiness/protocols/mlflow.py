"""MLflow's scoring protocol (mlflow.org, "Local Inference Server Specification")."""

import json

from lockstep.readiness.answers import NoAnswerError, check_predictions, parse_answer, refuse_error
from lockstep.readiness.example import Example
from lockstep.readiness.protocols.exchange import Request

_UNWRAPPED = ("messages", "prompt", "input")
"""Requests with these keys are answered without `predictions` around (mlflow, `serving_data_parser.py`)."""


class MLflowProtocol:
    """`GET /ping`, `POST /invocations` with the registered serving input example, or rows of it."""

    def request(self, example: Example | None, *, compact: bool) -> Request:
        """See `ServingProtocol.request`."""
        if example is None:
            raise ValueError("the model has no registered input example")
        return Request("/invocations", example.encode(compact=compact), example.name, example.rows)

    def check(self, request: Request, body: bytes, *, missing: bool) -> None:
        """See `ServingProtocol.check`."""
        answer = parse_answer(body, missing=missing)
        refuse_error(answer)
        if _is_unwrapped(request.body):
            check_predictions(answer, None, missing=missing)
            return
        if not isinstance(answer, dict) or "predictions" not in answer:
            raise NoAnswerError("its answer holds no predictions")
        check_predictions(answer["predictions"], request.rows, missing=missing)

    def advice(self, status: int) -> str | None:
        """See `ServingProtocol.advice`."""
        if status in (404, 405):
            return "check that it is an MLflow scoring server; describe another one by server.openInferenceV2 or server.custom"
        return None


def _is_unwrapped(body: bytes) -> bool:
    content = json.loads(body)
    return isinstance(content, dict) and any(key in content for key in _UNWRAPPED)
