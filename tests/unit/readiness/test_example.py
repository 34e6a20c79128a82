"""The registered input example, and the requests that its rows make."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.readiness.example import Example

FRAME = {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2.5], [2, 3.5], [3, 4.5]]}}


def example(content: Any) -> Example:
    return Example.parse(json.dumps(content).encode())


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (FRAME, 3),
        ({"dataframe_records": [{"a": 1}, {"a": 2}]}, 2),
        ({"inputs": [[1, 2], [3, 4]]}, 2),
        ({"instances": [{"a": 1}]}, 1),
        ({"inputs": ["one text", "another"]}, 2),
        ({"inputs": [[1, 2]], "params": {"k": 3}}, 1),
        # One row or several, nobody knows.
        ({"inputs": [1.0, 2.0, 3.0]}, None),
        ({"inputs": {"a": [1, 2], "b": [3, 4]}}, None),
        ({"inputs": "a text"}, None),
        ({"messages": [{"role": "user", "content": "hello"}]}, None),
        ({"inputs": [[1]], "instances": [[1], [2]]}, None),
        ({"dataframe_split": [1, 2]}, None),
        ({}, None),
        ([1, 2], None),
        ("text", None),
    ],
)
def test_rows_are_counted_where_the_form_says_what_a_row_is(content: Any, rows: int | None) -> None:
    assert example(content).rows == rows


@pytest.mark.parametrize("data", [b"no json", b"", b"[" * 200_000, b"\xff\xfe"])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="the registered input example is no JSON"):
        Example.parse(data)


def test_undrawn_it_is_sent_byte_for_byte() -> None:
    data = b'{ "inputs":  [[NaN]] }'
    assert Example.parse(data).encode(compact=True) == data


CELLS = st.integers() | st.floats(allow_nan=False) | st.text(max_size=3) | st.none()


@given(rows=st.lists(st.tuples(CELLS, CELLS).map(list), min_size=1, max_size=6), seed=st.integers(), fewer=st.booleans())
def test_a_draw_has_rows_of_the_example_and_none_twice(rows: list[list[Any]], seed: int, fewer: bool) -> None:
    numbered = [[index, *row] for index, row in enumerate(rows)]
    whole = example({"dataframe_split": {"columns": ["n", "a", "b"], "data": numbered}})
    drawn = whole.draw(random.Random(seed), fewer=fewer)
    sent = json.loads(drawn.encode(compact=True))["dataframe_split"]
    numbers = [row[0] for row in sent["data"]]
    assert sent["columns"] == ["n", "a", "b"]
    assert len(set(numbers)) == len(numbers) == drawn.rows
    assert all(row == json.loads(json.dumps(numbered[row[0]])) for row in sent["data"])
    kinds = {tuple(type(cell) for cell in row) for row in rows}
    if not fewer or len(kinds) > 1:
        assert len(numbers) == len(rows), "left out rows could change a column's type"


def test_draws_differ_from_one_another_and_from_what_is_registered() -> None:
    chance = random.Random(1)
    bodies = {example(FRAME).draw(chance, fewer=True).encode(compact=True) for _ in range(30)}
    assert len(bodies) > 5


def test_a_row_with_a_missing_value_is_never_sent_without_the_others() -> None:
    missing = {"dataframe_split": {"columns": ["a"], "data": [[1.5], [float("nan")], [2.5]]}}
    chance = random.Random(1)
    assert {example(missing).draw(chance, fewer=True).rows for _ in range(30)} == {3}


def test_a_draw_takes_the_index_along() -> None:
    frame = {"dataframe_split": {"columns": ["a"], "index": [10, 11, 12], "data": [[0], [1], [2]]}}
    for seed in range(10):
        drawn = example(frame).draw(random.Random(seed), fewer=True).content["dataframe_split"]
        assert drawn["index"] == [10 + row[0] for row in drawn["data"]]


def test_a_draw_keeps_what_stands_beside_the_rows() -> None:
    drawn = example({"inputs": [[1], [2]], "params": {"k": 3}}).draw(random.Random(1), fewer=True)
    assert drawn.content["params"] == {"k": 3}


@pytest.mark.parametrize("content", [{"inputs": "text"}, {"messages": [1, 2]}, {"inputs": [1, 2, 3]}, {}])
def test_what_has_no_rows_is_written_anew_and_not_changed(content: Any) -> None:
    drawn = example(content).draw(random.Random(1), fewer=True)
    assert drawn.content == content
    assert drawn.name == "the registered input example"


def test_a_part_of_it_is_called_so() -> None:
    names = {example(FRAME).draw(random.Random(seed), fewer=True).name for seed in range(20)}
    assert names == {
        "the registered input example",
        "1 of the 3 rows of the registered input example",
        "2 of the 3 rows of the registered input example",
    }
