"""Whether the body of an answer is an answer at all: JSON, no error, and a prediction for each row."""

import json
import math
from collections.abc import Iterator
from typing import Any

_ERRORS = ("error", "errors", "exception", "error_message", "errormessage", "error_code", "traceback", "stack_trace")
_BESIDE = {
    *_ERRORS,
    "message",
    "msg",
    "detail",
    "details",
    "reason",
    "title",
    "type",
    "code",
    "status",
    "status_code",
    "success",
}
_MESSAGE_KEYS = ("message", "msg", "detail", "details", "reason", "title")
_FAILED = ("error", "failed", "failure")
_CODES = ("error_code", "code", "status", "status_code")
_REFUSING = 400
_NOT_FINITE = ("nan", "inf", "-inf", "infinity", "-infinity")
_SHOWN = 120
_MOST_VALUES = 500_000
"""Values of one answer, at most: what reads them does nothing else meanwhile."""
_HINT = (
    ", which is no prediction (where the model is meant to give it, the platform team lists the model in "
    "readiness.missingPredictions)"
)
_WHOLE = "where the model takes its example only as a whole, the platform team lists the model in readiness.wholeExample"


class NoAnswerError(Exception):
    """What came back is no answer; the message says why, as the rest of a sentence about the answer."""


class TooManyValuesError(NoAnswerError):
    """An answer is too large to be judged."""


def parse_answer(body: bytes, *, missing: bool) -> Any:
    """Parse an answer; the words NaN and Infinity, which are no JSON, only where `missing` allows them.

    Raises:
        NoAnswerError: it is no JSON, or too much of it.
    """

    def constant(word: str) -> float:
        if not missing:
            raise NoAnswerError(f"its answer holds {word}{_HINT}")
        return float(word.replace("Infinity", "inf"))

    if body.count(b",") > _MOST_VALUES:
        raise TooManyValuesError(f"its answer holds more than {_MOST_VALUES} values")
    try:
        return json.loads(body, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise NoAnswerError("its answer is no JSON") from error


def refuse_error(value: Any) -> None:
    """Refuse what says itself that it is an error.

    Raises:
        NoAnswerError: it is one.
    """
    message = _error_in(value)
    if message is not None:
        raise NoAnswerError(f"its answer is an error: {message[:_SHOWN]}")


def check_predictions(value: Any, rows: int | None, *, missing: bool) -> None:
    """Check that there is one prediction a row (as many as there are, where `rows` is None) and that each holds something.

    Raises:
        NoAnswerError: it is not so.
    """
    if value is None or (isinstance(value, list | dict | str) and not value):
        raise NoAnswerError("its answer holds no predictions")
    entries = value if isinstance(value, list) else [value]
    for entry in entries:
        if isinstance(entry, dict | str):
            refuse_error(entry)
    if rows is not None:
        _check_count(value, rows)
    check_values(entries, missing=missing)


def check_values(entries: list[Any], *, missing: bool) -> None:
    """Check that each entry has a value, and that none is NaN or infinite; with `missing` that not all are.

    Raises:
        NoAnswerError: it is not so.
    """
    empty = 0
    for entry in entries:
        held = 0
        for leaf in _leaves(entry):
            lacks = leaf is None or is_not_finite(leaf)
            if lacks and leaf is not None and not missing:
                raise NoAnswerError(f"its answer holds {leaf}{_HINT}")
            held += not lacks
        empty += held == 0
    if empty == len(entries):
        raise NoAnswerError("its answer holds nothing but null and NaN")
    if empty and not missing:
        raise NoAnswerError(f"its answer holds null for {empty} of {len(entries)} predictions{_HINT}")


def is_not_finite(leaf: Any) -> bool:
    """Return whether a value is NaN or infinite, or the word for it that some serialisers write."""
    if isinstance(leaf, float):
        return not math.isfinite(leaf)
    return isinstance(leaf, str) and leaf.strip().lower() in _NOT_FINITE


def count_error(rows: int, found: int) -> NoAnswerError:
    """Return the error about another number of predictions than of rows."""
    return NoAnswerError(f"{rows} rows were asked and {found} predictions came back ({_WHOLE})")


def _check_count(value: Any, rows: int) -> None:
    if isinstance(value, dict):
        # Of several outputs, each with a list: one of them has to have an entry a row.
        lengths = [len(column) for column in value.values() if isinstance(column, list)]
        if rows != 1 and rows not in lengths:
            raise count_error(rows, max(lengths, default=1))
    elif (found := len(value) if isinstance(value, list) else 1) != rows:
        raise count_error(rows, found)


def _leaves(value: Any) -> Iterator[Any]:
    """Return the values that are no lists or mappings, however deep; a stack, since recursion has an end."""
    stack = [value]
    while stack:
        top = stack.pop()
        if isinstance(top, list):
            stack.extend(top)
        elif isinstance(top, dict):
            stack.extend(top.values())
        else:
            yield top


def _error_in(value: Any) -> str | None:
    """Return what an error says; None for what is none. A number named `error` may well be a prediction."""
    if isinstance(value, str):
        return value.strip().splitlines()[-1] if "Traceback (most recent call last)" in value else None
    if not isinstance(value, dict) or not value:
        return None
    fields = {str(key).lower(): one for key, one in value.items()}
    for key in _ERRORS:
        error = _text(fields.get(key))
        if error is not None:
            return _text(next((fields[name] for name in _MESSAGE_KEYS if name in fields), None)) or error
    if fields.keys() <= _BESIDE:
        failed = fields.get("success") is False or str(fields.get("status")).lower() in _FAILED
        failed = failed or any(isinstance(code, int) and code >= _REFUSING for code in map(fields.get, _CODES))
        if failed or fields.keys() == {"detail"}:
            return next((text for name in _MESSAGE_KEYS if (text := _text(fields.get(name))) is not None), None)
    return None


def _text(value: Any) -> str | None:
    """Return the first text in a value, where it is one that says something."""
    if value is True:
        return "true"
    return next((leaf.strip() for leaf in _leaves(value) if isinstance(leaf, str) and leaf.strip()), None)
