"""MLflow's serving input examples as the named tensors of the Open Inference Protocol v2."""

import math
from collections.abc import Iterator
from typing import Any

Tensor = dict[str, Any]


def tensors(example: Any) -> list[Tensor]:
    """Turn an example into tensors; empty where its form is not known.

    Raises:
        ValueError, TypeError, IndexError: its rows do not fit its columns, or hold what JSON has no word for.
    """
    if not isinstance(example, dict):
        return []
    if isinstance(frame := example.get("dataframe_split"), dict):
        columns, rows = frame.get("columns") or [], frame.get("data") or []
        return [_tensor(str(column), [row[i] for row in rows]) for i, column in enumerate(columns)]
    if isinstance(records := example.get("dataframe_records"), list):
        names = dict.fromkeys(name for record in records for name in record)
        return [_tensor(str(name), [record.get(name) for record in records]) for name in names]
    values = example.get("inputs", example.get("instances"))
    if isinstance(values, dict):
        return [_tensor(str(name), column if isinstance(column, list) else [column]) for name, column in values.items()]
    if isinstance(values, str):
        values = [values]
    return [_tensor("input-0", values)] if isinstance(values, list) and values else []


def _tensor(name: str, values: list[Any]) -> Tensor:
    shape: list[int] = []
    level: Any = values
    while isinstance(level, list):
        shape.append(len(level))
        level = level[0] if level else None
    if len(shape) == 1:
        shape.append(1)
    return {"name": name, "shape": shape, "datatype": _datatype(list(_scalars(values))), "data": _without_nan(values)}


def _without_nan(value: Any) -> Any:
    """Return the values with null where they are missing: NaN is no JSON, and MLServer reads null in FP64 as NaN."""
    if isinstance(value, list):
        return [_without_nan(one) for one in value]
    if isinstance(value, float) and math.isinf(value):
        raise ValueError("it holds an infinite number, which JSON has no word for")
    return None if _missing(value) else value


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _scalars(values: list[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield from _scalars(value)
        else:
            yield value


def _datatype(scalars: list[Any]) -> str:
    """Return the datatype that takes all values. Whole numbers among fractions are fractions, and so are those among which
    some are missing, since no integer says that.
    """
    held = [value for value in scalars if not _missing(value)]
    if not held:
        # MLflow writes a missing number as NaN, a missing text too: numbers are more common.
        return "FP64" if any(isinstance(value, float) for value in scalars) else "BYTES"
    if all(isinstance(value, bool) for value in held):
        return "BOOL"
    if all(isinstance(value, int | float) for value in held):
        return "INT64" if len(held) == len(scalars) and all(isinstance(value, int) for value in held) else "FP64"
    return "BYTES"
