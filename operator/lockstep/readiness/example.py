"""The registered serving input example, and the other requests that its rows make."""

import json
import math
import random
from dataclasses import dataclass, replace
from typing import Any

_RECORDS = ("dataframe_records", "instances", "inputs")


@dataclass(frozen=True)
class Example:
    """A request body of MLflow's scoring protocol ("serving_input_example.json"), in the order and number of its rows."""

    content: Any
    registered: bytes | None = None
    """The bytes as they were registered; None once rows were drawn."""
    of: int | None = None
    """How many rows the registered example has, where it is known to have rows."""

    @classmethod
    def parse(cls, data: bytes) -> "Example":
        """Read a registered example.

        Raises:
            ValueError: it is no JSON.
        """
        try:
            content = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ValueError("the registered input example is no JSON") from error
        rows = _rows(content)
        return cls(content, data, len(rows) if rows is not None else None)

    @property
    def rows(self) -> int | None:
        """Rows of this request, each of which has one prediction; None where the form does not say."""
        rows = _rows(self.content)
        return len(rows) if rows is not None else None

    @property
    def name(self) -> str:
        """What it is called in messages."""
        if self.registered is not None or self.rows is None or self.rows == self.of:
            return "the registered input example"
        return f"{self.rows} of the {self.of} rows of the registered input example"

    def draw(self, chance: random.Random, *, fewer: bool) -> "Example":
        """Return the example with its rows in another order, and perhaps fewer of them, as other clients would send them.

        Rows are left out only where all of them have values of the same kinds: else a column could change its type.
        """
        rows = _rows(self.content)
        if not rows:
            return replace(self, registered=None)
        number = len(rows)
        if fewer and len({_kind(row) for row in rows}) == 1:
            number = chance.randint(1, number)
        return replace(self, content=_with_rows(self.content, chance.sample(range(len(rows)), number)), registered=None)

    def encode(self, *, compact: bool) -> bytes:
        """Return it as JSON, with NaN where the example has it: MLflow writes and takes it."""
        if self.registered is not None:
            return self.registered
        return json.dumps(self.content, separators=(",", ":") if compact else (", ", ": ")).encode()


def _rows(content: Any) -> list[Any] | None:
    """Return the rows of an example, where its form says what a row is."""
    if not isinstance(content, dict) or len({"dataframe_split", *_RECORDS} & content.keys()) != 1:
        return None
    frame = content.get("dataframe_split")
    if frame is not None:
        rows = frame.get("data") if isinstance(frame, dict) else None
        return rows if isinstance(rows, list) and all(isinstance(row, list) for row in rows) else None
    values = next(content[key] for key in _RECORDS if key in content)
    # A list of numbers may be one row as well, and so may a mapping of lists.
    plain = not isinstance(values, list) or not all(isinstance(value, list | dict | str) for value in values)
    return None if plain else values


def _with_rows(content: dict[str, Any], chosen: list[int]) -> dict[str, Any]:
    frame = content.get("dataframe_split")
    if frame is None:
        key = next(key for key in _RECORDS if key in content)
        return content | {key: [content[key][i] for i in chosen]}
    labels, rows = frame.get("index"), frame["data"]
    drawn = frame | {"data": [rows[i] for i in chosen]}
    if isinstance(labels, list) and len(labels) == len(rows):
        drawn["index"] = [labels[i] for i in chosen]
    return content | {"dataframe_split": drawn}


def _kind(value: Any) -> object:
    """Return what is equal for two rows that have the same types."""
    if isinstance(value, list):
        return tuple(_kind(one) for one in value)
    if isinstance(value, dict):
        return tuple(sorted((key, _kind(one)) for key, one in value.items()))
    return "missing" if value is None or (isinstance(value, float) and math.isnan(value)) else type(value).__name__
