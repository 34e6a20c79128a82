"""What is told of a refusal's body: the cause, shortly, and nothing of what was asked."""

import json

import pytest

from lockstep.readiness.excerpt import error_excerpt

TRACE = (
    'Traceback (most recent call last):\n  File "/opt/venv/lib/python3.11/site-packages/mlflow/pyfunc/model.py", line 1539\n'
    '    open("/training/host/cfg.json")\n'
    "FileNotFoundError: [Errno 2] No such file or directory: '/training/host/cfg.json'\n"
)
REQUEST = json.dumps(
    {"dataframe_split": {"columns": ["customer", "age"], "data": [["Alice Miller", 41], ["Bob", 7]]}, "name": "x"}
).encode()


def test_the_end_of_a_trace_comes_first() -> None:
    body = {"error_code": "BAD_REQUEST", "message": "Encountered an unexpected error. Verify it.", "stack_trace": TRACE}
    told = error_excerpt(json.dumps(body).encode(), REQUEST)
    assert told == (
        "FileNotFoundError: [Errno 2] No such file or directory: '/training/host/cfg.json'; "
        "Encountered an unexpected error. Verify it.; BAD_REQUEST"
    )


def test_a_bare_trace_is_its_end() -> None:
    assert error_excerpt(TRACE.encode(), b"").startswith("FileNotFoundError")


def test_an_exception_of_several_lines_is_told_from_its_first_on() -> None:
    trace = TRACE.replace(
        "FileNotFoundError: [Errno 2] No such file or directory: '/training/host/cfg.json'\n",
        "mlflow.exceptions.MlflowException: Failed to enforce schema of data '   height\n0     41.5' with schema '['a']'. "
        "Error: Model is missing inputs ['a'].\n",
    )
    for body in (trace.encode(), json.dumps({"error": trace}).encode()):
        assert error_excerpt(body, REQUEST) == (
            "mlflow.exceptions.MlflowException: Failed to enforce schema of data … with schema '['a']'. "
            "Error: Model is missing inputs ['a']."
        )


def test_the_data_frame_that_mlflow_shows_is_left_out() -> None:
    echoed = "  customer  age\n0 Carol 33"
    message = (
        f"Failed to predict data '{echoed}'. \nError: Failed to enforce schema of data '{echoed}' with schema "
        "'['age': long (required)]'. Error: Model is missing inputs ['height']."
    )
    told = error_excerpt(json.dumps({"message": message}).encode(), REQUEST)
    assert "Carol" not in told
    assert "33" not in told
    assert told.startswith("Failed to enforce schema of data … with schema '['age': long (required)]'")
    assert "missing inputs ['height']" in told


def test_fields_that_fastapi_misses_are_named_without_what_was_sent() -> None:
    body = {"detail": [{"type": "missing", "loc": ["body", "rows"], "msg": "Field required", "input": {"customer": "Alice"}}]}
    assert error_excerpt(json.dumps(body).encode(), REQUEST) == "body.rows: Field required"


@pytest.mark.parametrize("body", [b"KeyError: 'Alice Miller'", b'{"error": "no customer Alice Miller"}'])
def test_texts_of_the_request_are_left_out(body: bytes) -> None:
    assert "Alice" not in error_excerpt(body, REQUEST)


def test_names_of_columns_stay() -> None:
    assert error_excerpt(b"KeyError: 'customer'", REQUEST) == "KeyError: 'customer'"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", ""),
        (b"Internal Server Error", "Internal Server Error"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b'{"error": {"message": "out of memory"}}', "out of memory"),
        (b'{"errors": ["one", "two"]}', "one; two"),
        (b'{"error_code": "BAD_REQUEST"}', "BAD_REQUEST"),
        (b'{"x": 1}', '{"x": 1}'),
        (b"[" * 200_000, "[" * 200),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"a\n b", "a b"),
    ],
)
def test_every_body_is_told_in_one_short_line(body: bytes, told: str) -> None:
    assert error_excerpt(body, REQUEST) == told


def test_what_is_told_is_short() -> None:
    body = json.dumps({"message": "m" * 9000, "error": "e" * 9000, "detail": ["d" * 9000] * 9}).encode()
    assert len(error_excerpt(body, REQUEST)) == 400
