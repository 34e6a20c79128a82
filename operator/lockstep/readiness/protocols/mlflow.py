"""MLflow's scoring protocol (mlflow.org, "Local Inference Server Specification")."""

import json

from lockstep.readiness.protocols.exchange import Request


class MLflowProtocol:
    """`GET /ping`, `POST /invocations`; the registered serving input example is the request body as it stands."""

    ready_path = "/ping"

    def prediction(self, input_example: bytes | None) -> Request | None:
        """See `ServingProtocol.prediction`."""
        return Request("/invocations", input_example) if input_example is not None else None

    def failure(self, body: bytes) -> str | None:
        """See `ServingProtocol.failure`."""
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            return "its answer is no JSON"
        predictions = answer.get("predictions") if isinstance(answer, dict) else None
        return None if predictions not in (None, [], {}) else "its answer holds no predictions"
