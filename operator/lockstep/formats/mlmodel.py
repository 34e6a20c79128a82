"""Reads what an MLmodel file says of itself: the ids at its top, and whether it has a signature."""

from dataclasses import dataclass

import yaml

_NULLS = ("", "~", "null", "Null", "NULL")
_ID_LENGTH = 256
_MAPPING = "(mapping)"
# MLflow's own files have five levels. libyaml's time grows with the square of the depth: minutes for a megabyte.
_MAX_DEPTH = 64


@dataclass(frozen=True)
class Described:
    """What stands at the top of an MLmodel file."""

    run_id: str | None = None
    model_id: str | None = None
    signature: bool = False


class InvalidMLmodelError(ValueError):
    """The file can't be read, or programs read it differently; the message says why."""


def read_mlmodel(mlmodel: bytes) -> Described:
    """Read an MLmodel file.

    Only YAML's events are read: libyaml's composer recurses, and a megabyte of brackets would end the process.

    Raises:
        InvalidMLmodelError: it is no YAML mapping, is nested too deeply, or states a key twice.
    """
    try:
        stated = _top(mlmodel)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidMLmodelError("it is no YAML") from error
    return Described(_id(stated.get("run_id")), _id(stated.get("model_id")), stated.get("signature") is not None)


def _id(value: str | None) -> str | None:
    return None if value == _MAPPING else value


def _top(mlmodel: bytes) -> dict[str, str | None]:
    """Return the keys at the top with their scalars; a collection stands there as its kind, null as None."""
    stated: dict[str, str | None] = {}
    depth, key = 0, ""
    for event in yaml.parse(mlmodel, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif depth == 1 and isinstance(event, yaml.NodeEvent):
            if key:
                stated[key], key = _value(event), ""
            else:
                key = event.value if isinstance(event, yaml.ScalarEvent) else ""
                if key in ("", "<<") or key in stated:
                    raise InvalidMLmodelError("a key stands twice, or is one that readers take differently")
        if isinstance(event, yaml.CollectionStartEvent):
            if depth == 0 and (stated or not isinstance(event, yaml.MappingStartEvent)):
                raise InvalidMLmodelError("it is no mapping")
            depth += 1
            if depth > _MAX_DEPTH:
                raise InvalidMLmodelError("it is nested too deeply")
    return stated


def _value(event: yaml.NodeEvent) -> str | None:
    if isinstance(event, yaml.ScalarEvent):
        return None if not event.style and event.value in _NULLS else event.value[:_ID_LENGTH]
    return _MAPPING if isinstance(event, yaml.MappingStartEvent) else None
