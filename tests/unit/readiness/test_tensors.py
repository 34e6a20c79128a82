"""Open Inference v2: MLflow's serving input examples as tensors."""

import json
from typing import Any

import pytest

from lockstep.api.server import OpenInferenceV2Server
from lockstep.readiness.example import Example
from lockstep.readiness.protocols.tensors import tensors
from lockstep.readiness.protocols.v2 import OpenInferenceV2Protocol

NAN = float("nan")
PROTOCOL = OpenInferenceV2Protocol(OpenInferenceV2Server(model_name="iris"))


def column(values: list[Any]) -> dict[str, Any]:
    (found,) = tensors({"dataframe_split": {"columns": ["x"], "data": [[value] for value in values]}})
    return found


@pytest.mark.parametrize(
    ("values", "datatype"),
    [
        ([True, False], "BOOL"),
        ([1, 2], "INT64"),
        ([1.5, 2.0], "FP64"),
        ([1, 2.5], "FP64"),
        (["a"], "BYTES"),
        ([None, 1.5], "FP64"),
        ([None, 1], "FP64"),
        ([NAN, 1.5], "FP64"),
        ([NAN, "a"], "BYTES"),
        ([NAN], "FP64"),
        ([None], "BYTES"),
        ([1, "a"], "BYTES"),
    ],
)
def test_a_columns_datatype_takes_all_its_values(values: list[Any], datatype: str) -> None:
    found = column(values)
    assert (found["datatype"], found["shape"]) == (datatype, [len(values), 1])


@pytest.mark.parametrize("values", [[1.5, NAN, 3.5], ["a", NAN, "b"]])
def test_what_is_missing_is_null_since_nan_is_no_json(values: list[Any]) -> None:
    example = {"dataframe_split": {"columns": ["x", "y"], "data": [[value, 1.0] for value in values]}}
    request = PROTOCOL.request(Example.parse(json.dumps(example).encode()), compact=True)
    assert b"NaN" not in request.body
    assert json.loads(request.body)["inputs"][0]["data"] == [values[0], None, values[2]]


def test_a_missing_number_inside_an_array_is_null_too() -> None:
    assert tensors({"inputs": [[1.5, NAN], [2.5, 3.5]]})[0]["data"] == [[1.5, None], [2.5, 3.5]]


def test_an_infinite_number_can_not_be_sent_and_that_is_said() -> None:
    example = Example.parse(b'{"dataframe_split": {"columns": ["x"], "data": [[Infinity]]}}')
    with pytest.raises(ValueError, match="can't be turned into tensors: it holds an infinite number"):
        PROTOCOL.request(example, compact=False)


def test_a_tensor_keeps_its_shape() -> None:
    assert tensors({"inputs": [[1, 2, 3], [4, 5, 6]]}) == [
        {"name": "input-0", "shape": [2, 3], "datatype": "INT64", "data": [[1, 2, 3], [4, 5, 6]]}
    ]


def test_named_tensors_keep_their_names() -> None:
    found = tensors({"instances": {"a": [1.0], "b": "x"}})
    assert [(one["name"], one["datatype"], one["data"]) for one in found] == [("a", "FP64", [1.0]), ("b", "BYTES", ["x"])]


def test_records_are_columns_too() -> None:
    found = tensors({"dataframe_records": [{"a": 1, "b": "x"}, {"a": 2}]})
    assert [(one["name"], one["data"]) for one in found] == [("a", [1, 2]), ("b", ["x", None])]


def test_a_text_is_one_row() -> None:
    assert tensors({"inputs": "hello"}) == [{"name": "input-0", "shape": [1, 1], "datatype": "BYTES", "data": ["hello"]}]


@pytest.mark.parametrize("example", [{}, [], {"inputs": []}, {"messages": []}, {"dataframe_split": {}}, "text", None])
def test_what_has_no_known_form_is_not_sent(example: Any) -> None:
    with pytest.raises(ValueError, match="has no form that can be turned into tensors"):
        PROTOCOL.request(Example.parse(json.dumps(example).encode()), compact=False)


@pytest.mark.parametrize(
    "example",
    [
        b'{"dataframe_split": {"columns": ["a", "b"], "data": [[1]]}}',
        b'{"dataframe_split": {"columns": ["a"], "data": [1]}}',
        b'{"dataframe_split": {"columns": 1, "data": 2}}',
        b'{"dataframe_records": ["x"]}',
    ],
)
def test_rows_that_do_not_fit_their_columns_are_told_and_raise_nothing_else(example: bytes) -> None:
    with pytest.raises(ValueError, match="can't be turned into tensors"):
        PROTOCOL.request(Example.parse(example), compact=False)
