"""Open Inference v2: MLflow's serving input examples as tensors."""

import json
from typing import Any

import pytest

from lockstep.readiness.protocols.v2 import OpenInferenceV2Protocol


def inputs(example: Any) -> list[dict[str, Any]]:
    request = OpenInferenceV2Protocol("iris").prediction(json.dumps(example).encode())
    return list(json.loads(request.body)["inputs"]) if request is not None else []


@pytest.mark.parametrize(
    ("values", "datatype"),
    [
        ([True, False], "BOOL"),
        ([1, 2], "INT64"),
        ([1.5, 2.0], "FP64"),
        ([1, 2.5], "FP64"),
        (["a"], "BYTES"),
        ([None, 1.5], "FP64"),
        ([None], "BYTES"),
        ([1, "a"], "BYTES"),
    ],
)
def test_a_columns_datatype_takes_all_its_values(values: list[Any], datatype: str) -> None:
    example = {"dataframe_split": {"columns": ["x"], "data": [[value] for value in values]}}
    assert [(one["datatype"], one["shape"]) for one in inputs(example)] == [(datatype, [len(values), 1])]


def test_a_tensor_keeps_its_shape() -> None:
    assert inputs({"inputs": [[1, 2, 3], [4, 5, 6]]}) == [
        {"name": "input-0", "shape": [2, 3], "datatype": "INT64", "data": [[1, 2, 3], [4, 5, 6]]}
    ]


def test_named_tensors_keep_their_names() -> None:
    found = inputs({"instances": {"a": [1.0], "b": ["x"]}})
    assert [(one["name"], one["datatype"]) for one in found] == [("a", "FP64"), ("b", "BYTES")]


@pytest.mark.parametrize("example", [{}, [], {"inputs": []}, {"inputs": "text"}, {"dataframe_split": {}}, "text", None])
def test_what_has_no_known_form_is_not_sent(example: Any) -> None:
    assert inputs(example) == []
