"""The Open Inference Protocol v2 (KServe, "Open Inference Protocol (V2 Inference Protocol)")."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from lockstep.readiness.protocols.exchange import Request


class OpenInferenceV2Protocol:
    """`GET /v2/models/NAME/ready` (model-level: the server-level one is true without any model), `POST …/infer`."""

    def __init__(self, model_name: str) -> None:
        self._path = f"/v2/models/{quote(model_name, safe='')}"
        self.ready_path = f"{self._path}/ready"

    def prediction(self, input_example: bytes | None) -> Request | None:
        """See `ServingProtocol.prediction`: columns become tensors, as MLServer's pandas codec reads them."""
        if input_example is None:
            return None
        try:
            inputs = _inputs(json.loads(input_example))
        except (ValueError, RecursionError, TypeError, IndexError) as error:
            raise ValueError("the registered input example can't be turned into tensors") from error
        if not inputs:
            return None
        request: dict[str, Any] = {"inputs": inputs}
        if len(inputs) > 1:
            request["parameters"] = {"content_type": "pd"}
        return Request(f"{self._path}/infer", json.dumps(request).encode())

    def failure(self, body: bytes) -> str | None:
        """See `ServingProtocol.failure`."""
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            return "its answer is no JSON"
        outputs = answer.get("outputs") if isinstance(answer, dict) else None
        entries = outputs if isinstance(outputs, list) else []
        held = [output for output in entries if isinstance(output, dict) and output.get("data")]
        return None if held else "its answer holds no outputs"


def _inputs(example: Any) -> list[dict[str, Any]]:
    """Turn MLflow's serving input example into named tensors; empty where its form is not known."""
    if not isinstance(example, dict):
        return []
    if isinstance(frame := example.get("dataframe_split"), dict):
        columns, rows = frame.get("columns") or [], frame.get("data") or []
        return [_tensor(str(column), [row[i] for row in rows]) for i, column in enumerate(columns)]
    values = example.get("inputs", example.get("instances"))
    if isinstance(values, dict):
        return [_tensor(str(name), column) for name, column in values.items() if isinstance(column, list)]
    return [_tensor("input-0", values)] if isinstance(values, list) and values else []


def _tensor(name: str, values: list[Any]) -> dict[str, Any]:
    shape: list[int] = []
    level: Any = values
    while isinstance(level, list):
        shape.append(len(level))
        level = level[0] if level else None
    if len(shape) == 1:
        shape.append(1)
    return {"name": name, "shape": shape, "datatype": _datatype(list(_scalars(values))), "data": values}


def _scalars(values: list[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield from _scalars(value)
        elif value is not None:
            yield value


def _datatype(scalars: list[Any]) -> str:
    """Return the datatype that takes all values: whole numbers among fractions are fractions."""
    if scalars and all(isinstance(value, bool) for value in scalars):
        return "BOOL"
    if scalars and all(isinstance(value, int | float) for value in scalars):
        return "INT64" if all(isinstance(value, int) for value in scalars) else "FP64"
    return "BYTES"
