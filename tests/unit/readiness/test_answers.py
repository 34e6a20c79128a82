"""What is an answer, by protocol: JSON, no error, a prediction for each row."""

import json
from typing import Any

import pytest

from lockstep.api.server import Server
from lockstep.readiness.answers import NoAnswerError
from lockstep.readiness.audit import protocol_of
from lockstep.readiness.protocols.exchange import Request

MLFLOW: dict[str, Any] = {"mlflow": {}}
V2: dict[str, Any] = {"openInferenceV2": {"modelName": "iris"}}
CUSTOM: dict[str, Any] = {"custom": {"readyPath": "/live", "predictPath": "/score"}}


def check(
    body: bytes, protocol: dict[str, Any] = MLFLOW, *, rows: int | None = None, missing: bool = False, sent: bytes = b"{}"
) -> None:
    protocol_of(Server.model_validate(protocol)).check(Request("/x", sent, "it", rows), body, missing=missing)


def predictions(value: Any) -> bytes:
    return json.dumps({"predictions": value}).encode()


def output(data: Any, **changes: Any) -> dict[str, Any]:
    return {"name": "y", "shape": [len(data)], "datatype": "FP64", "data": data} | changes


def outputs(*found: Any) -> bytes:
    return json.dumps({"model_name": "iris", "outputs": list(found)}).encode()


@pytest.mark.parametrize(
    ("value", "rows"),
    [
        ([0, 1], 2),
        ([0.5], 1),
        ([[0.1, 0.9], [0.2, 0.8]], 2),
        (["setosa", ""], 2),
        ([True, False], 2),
        ([{"label": "a", "note": None}, {"label": "b", "note": None}], 2),
        ([[0.1, None]], 1),
        ({"label": ["a", "b"], "score": [0.1, 0.2]}, 2),
        ({"label": "a", "score": 0.1}, 1),
        ("a text", 1),
        (0, 1),
        (False, 1),
        ([0, 1, 2], None),
        ({"mean": 0.5}, None),
        # A number of that name may well be a prediction.
        ([{"error": 0.03}, {"error": 0.04}], 2),
        ({"error": [0.03, 0.04]}, 2),
        ([{"status": "failed", "probability": 0.9}], 1),
        ([{"label": "x", "error": None}], 1),
        ([{"label": "x", "errors": []}], 1),
    ],
)
def test_predictions_of_all_kinds_are_answers(value: Any, rows: int | None) -> None:
    check(predictions(value), rows=rows)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "no JSON"),
        (b"<html>", "no JSON"),
        (b"[" * 200_000, "no JSON"),
        (b"[1]", "holds no predictions"),
        (b"{}", "holds no predictions"),
        (b'{"predictions": []}', "holds no predictions"),
        (b'{"predictions": {}}', "holds no predictions"),
        (b'{"predictions": null}', "holds no predictions"),
        (b'{"predictions": ""}', "holds no predictions"),
        (b'{"predictions": [null]}', "nothing but null and NaN"),
        (b'{"predictions": [[null], {"a": null}]}', "nothing but null and NaN"),
        (b'{"predictions": [0, null]}', "null for 1 of 2 predictions"),
        (b'{"predictions": [NaN]}', "holds NaN"),
        (b'{"predictions": [0, Infinity]}', "holds Infinity"),
        (b'{"predictions": [0, -Infinity]}', "holds -Infinity"),
        (b'{"predictions": [1e999]}', "holds inf"),
        (b'{"predictions": ["NaN", "nan"]}', "holds NaN|holds nan"),
        (b'{"predictions": [{"label": "a", "score": NaN}]}', "holds NaN"),
        (b'{"predictions": {"error": "model not loaded"}}', "is an error: model not loaded"),
        (b'{"predictions": [{"error": "model not loaded"}]}', "is an error: model not loaded"),
        (b'{"predictions": [0, {"error": {"message": "out of memory"}}]}', "is an error: out of memory"),
        (b'{"predictions": {"error": true}}', "is an error"),
        (b'{"predictions": {"detail": "Not Found"}}', "is an error: Not Found"),
        (b'{"predictions": {"status": "error", "message": "no model"}}', "is an error: no model"),
        (b'{"predictions": {"success": false, "message": "no model"}}', "is an error: no model"),
        (b'{"predictions": {"code": 500, "message": "no model"}}', "is an error: no model"),
        (b'{"predictions": ["Traceback (most recent call last):\\n  x\\nKeyError: 7"]}', "is an error: KeyError: 7"),
        (b'{"predictions": [0], "error": "the fallback answered"}', "is an error: the fallback answered"),
        (b'{"error_code": "BAD_REQUEST", "message": "no column b"}', "is an error: no column b"),
    ],
)
def test_what_is_no_answer_is_refused_with_its_cause(body: bytes, says: str) -> None:
    with pytest.raises(NoAnswerError, match=says):
        check(body)


def test_an_answer_of_millions_of_values_is_not_read() -> None:
    for body in (b'{"predictions": [' + b"{}," * 2_000_000 + b"0]}", b"[" * 1_000_000 + b"," * 600_000):
        for protocol in (MLFLOW, V2, CUSTOM):
            with pytest.raises(NoAnswerError, match="more than 500000 values"):
                check(body, protocol)
    check(json.dumps({"predictions": ["a" * 10_000_000]}).encode(), rows=1)


@pytest.mark.parametrize(
    ("value", "rows"),
    [([0], 5), ([0] * 6, 5), ("text", 2), ({"mean": 0.3}, 5), ({"a": [1], "b": [2]}, 5), ([[0, 1, 2]], 3), (0, 2)],
)
def test_another_number_of_predictions_than_of_rows_is_refused_and_names_the_policys_list(value: Any, rows: int) -> None:
    with pytest.raises(NoAnswerError, match=rf"{rows} rows were asked and \d+ predictions came back .*readiness.wholeExample"):
        check(predictions(value), rows=rows)


@pytest.mark.parametrize("body", [b'{"predictions": [0, NaN, null, Infinity]}', b'{"predictions": [{"a": NaN}, {"a": 1}]}'])
def test_a_model_that_may_leave_predictions_out_passes_with_some(body: bytes) -> None:
    check(body, missing=True)


@pytest.mark.parametrize("body", [b'{"predictions": [NaN]}', b'{"predictions": [null, NaN]}', b'{"predictions": null}'])
def test_even_such_a_model_does_not_pass_with_none(body: bytes) -> None:
    with pytest.raises(NoAnswerError):
        check(body, missing=True)


@pytest.mark.parametrize("sent", [b'{"messages": []}', b'{"prompt": "x"}', b'{"input": "x"}'])
def test_chat_models_answer_without_predictions_around(sent: bytes) -> None:
    check(b'{"choices": [{"message": {"content": "hello"}}]}', sent=sent)
    with pytest.raises(NoAnswerError, match="is an error: overloaded"):
        check(b'{"error": "overloaded"}', sent=sent)


# --- Open Inference v2 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        (outputs(output([1.0, 0.0])), 2),
        (outputs(output([1.0, 0.0], shape=[2, 1])), 2),
        (outputs(output([[0.1, 0.9], [0.2, 0.8]], shape=[2, 2])), 2),
        (outputs(output([0.1, 0.9, 0.2, 0.8], shape=[2, 2])), 2),
        (outputs(output(["setosa"], datatype="BYTES")), 1),
        (outputs(output([True], datatype="BOOL")), 1),
        (outputs(output([7], shape=[1], datatype="INT64"), output([1, 2], datatype="INT64")), 2),
        (outputs(output([1.0, 2.0, 3.0])), None),
    ],
)
def test_output_tensors_are_answers(body: bytes, rows: int | None) -> None:
    check(body, V2, rows=rows)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"[" * 200_000, "no JSON"),
        (b'{"outputs": 7}', "holds no outputs"),
        (b'{"outputs": []}', "holds no outputs"),
        (b'{"outputs": [7]}', "holds no outputs with data"),
        (outputs(output([])), "holds no outputs with data"),
        (outputs(output([1.0]) | {"data": None}), "holds no outputs with data"),
        (outputs(output([1.0], datatype="FLOAT")), "the datatype FLOAT, which the protocol does not have"),
        (outputs(output([1.0], datatype=None)), "datatype None"),
        (outputs(output([1.0], shape=None)), "without a shape"),
        (outputs(output([1.0], shape=["1"])), "without a shape"),
        (outputs(output([1.0], shape=[5])), r"the shape \[5\] with 1 values"),
        (outputs(output([1.0, None])), "null for 1 of 2 predictions"),
        (outputs(output([None])), "nothing but null"),
        (b'{"outputs": [{"name": "y", "shape": [1], "datatype": "FP64", "data": [NaN]}]}', "holds NaN"),
        (outputs(output([1.0]), output([None], name="z")), "nothing but null"),
        (b'{"error": "Model iris is not loaded"}', "is an error: Model iris is not loaded"),
        (outputs(output(["Traceback (most recent call last):\nKeyError: 7"], datatype="BYTES")), "is an error: KeyError: 7"),
    ],
)
def test_what_is_no_output_tensor_is_refused(body: bytes, says: str) -> None:
    with pytest.raises(NoAnswerError, match=says):
        check(body, V2)


def test_one_output_has_to_have_a_prediction_a_row() -> None:
    with pytest.raises(NoAnswerError, match="5 rows were asked and 1 predictions came back"):
        check(outputs(output([1.0])), V2, rows=5)


def test_mlserver_says_nan_by_null_which_a_listed_model_may() -> None:
    check(outputs(output([1.0, None, 3.0])), V2, rows=3, missing=True)


# --- protocols of a server's own -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"ok", b"0.73", b"[0, 1]", b'{"score": 0.7}', b'"setosa"', b"\x89PNG\r\n", b"setosa,0.7"])
def test_a_custom_server_may_answer_anything_that_says_something(body: bytes) -> None:
    check(body, CUSTOM, rows=5)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"{}", "no predictions"),
        (b"[]", "no predictions"),
        (b"null", "no predictions"),
        (b"NaN", "holds nan"),
        (b"[1, NaN]", "holds nan"),
        (b'{"score": null}', "nothing but null"),
        (b'{"error": "model not loaded"}', "is an error: model not loaded"),
        (b'{"detail": "Not Found"}', "is an error: Not Found"),
        (b"<!DOCTYPE html><title>Login</title>", "is an HTML page"),
        (b"\n<html>", "is an HTML page"),
    ],
)
def test_what_says_nothing_is_no_answer_of_a_custom_server_either(body: bytes, says: str) -> None:
    with pytest.raises(NoAnswerError, match=says):
        check(body, CUSTOM)
