"""The Open Inference Protocol v2 (KServe, "Open Inference Protocol (V2 Inference Protocol)")."""

import json
import math
from typing import Any

from lockstep.api.server import OpenInferenceV2Server
from lockstep.readiness.answers import NoAnswerError, check_values, count_error, parse_answer, refuse_error
from lockstep.readiness.example import Example
from lockstep.readiness.protocols.exchange import Request
from lockstep.readiness.protocols.tensors import tensors

_NUMBERS = {f"{kind}{bits}" for kind in ("INT", "UINT") for bits in (8, 16, 32, 64)} | {"FP16", "FP32", "FP64", "BF16"}
_DATATYPES = _NUMBERS | {"BOOL", "BYTES"}


class OpenInferenceV2Protocol:
    """`GET /v2/models/NAME/ready`, `POST …/infer`."""

    def __init__(self, server: OpenInferenceV2Server) -> None:
        self._path = f"{server.path}/infer"

    def request(self, example: Example | None, *, compact: bool) -> Request:
        """See `ServingProtocol.request`: columns become tensors, as MLServer's pandas codec reads them."""
        if example is None:
            raise ValueError("the model has no registered input example")
        try:
            inputs = tensors(example.content)
        except (ValueError, RecursionError, TypeError, IndexError, AttributeError) as error:
            raise ValueError(f"the registered input example can't be turned into tensors: {_why(error)}") from error
        if not inputs:
            raise ValueError("the registered input example has no form that can be turned into tensors")
        content: dict[str, Any] = {"inputs": inputs}
        if len(inputs) > 1:
            content["parameters"] = {"content_type": "pd"}
        body = json.dumps(content, separators=(",", ":") if compact else (", ", ": "), allow_nan=False).encode()
        return Request(self._path, body, example.name, example.rows)

    def check(self, request: Request, body: bytes, *, missing: bool) -> None:
        """See `ServingProtocol.check`."""
        answer = parse_answer(body, missing=missing)
        refuse_error(answer)
        outputs = answer.get("outputs") if isinstance(answer, dict) else None
        if not isinstance(outputs, list) or not outputs:
            raise NoAnswerError("its answer holds no outputs")
        firsts = [_check_output(output, missing=missing) for output in outputs]
        if request.rows is not None and request.rows not in firsts:
            raise count_error(request.rows, max(firsts))

    def advice(self, status: int) -> str | None:
        """See `ServingProtocol.advice`."""
        return "check server.openInferenceV2.modelName, and that the server speaks this protocol" if status == 404 else None


def _why(error: Exception) -> str:
    return str(error) if type(error) is ValueError else "its rows do not fit its columns"


def _check_output(output: Any, *, missing: bool) -> int:
    """Check one output tensor and return its first dimension."""
    if not isinstance(output, dict) or not isinstance(output.get("data"), list) or not output["data"]:
        raise NoAnswerError("its answer holds no outputs with data")
    data, shape, datatype = output["data"], output.get("shape"), output.get("datatype")
    if datatype not in _DATATYPES:
        raise NoAnswerError(f"its answer has an output of the datatype {str(datatype)[:20]}, which the protocol does not have")
    if not isinstance(shape, list) or not shape or not all(type(size) is int and size > 0 for size in shape):
        raise NoAnswerError("its answer has an output without a shape")
    flat = _flat(data)
    if datatype != "BYTES" and math.prod(shape) != len(flat):
        raise NoAnswerError(f"its answer has an output of the shape {str(shape)[:60]} with {len(flat)} values")
    for value in flat:
        if isinstance(value, str):
            refuse_error(value)
    check_values(flat, missing=missing)
    return int(shape[0])


def _flat(values: list[Any]) -> list[Any]:
    flat: list[Any] = []
    stack = [values]
    while stack:
        for value in stack.pop():
            if isinstance(value, list):
                stack.append(value)
            else:
                flat.append(value)
    return flat
