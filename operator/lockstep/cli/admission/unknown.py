"""Fields that the schema does not know. The API server drops them, and only says so to clients that ask (strict validation)."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from lockstep.cli.admission.problem import Problem, below
from lockstep.cli.admission.schema import Schema

_LISTED = 12


def unknown_fields(value: Any, schema: Schema, path: str, root: Schema) -> Iterator[Problem]:
    """Yield every field of a value that its schema does not have, with the one that was probably meant.

    Args:
        value: what was written.
        schema: the schema of the value.
        path: where the value stands.
        root: the schema of the whole object, where a field of that name may stand in another place.
    """
    if isinstance(value, list) and "items" in schema:
        for number, entry in enumerate(value):
            yield from unknown_fields(entry, schema["items"], f"{path}[{number}]", root)
    if not isinstance(value, dict):
        return
    if "additionalProperties" in schema:
        for name, entry in value.items():
            yield from unknown_fields(entry, schema["additionalProperties"], below(path, name), root)
    elif schema.get("type") == "object":
        known = schema.get("properties", {})
        for name, entry in value.items():
            if name in known:
                yield from unknown_fields(entry, known[name], below(path, name), root)
            else:
                yield Problem("", f"unknown field {below(path, name)}; {_hint(name, path, known, root)}")


def _hint(name: str, path: str, known: Schema, root: Schema) -> str:
    by_letters = {one.lower(): one for one in known}
    close = get_close_matches(name.lower(), by_letters, n=1, cutoff=0.6)
    if close:
        return f"did you mean {below(path, by_letters[close[0]])}?"
    elsewhere = sorted(_places(name, root, ""), key=lambda place: (place.count("."), place))
    if elsewhere:
        return f"did you mean {elsewhere[0]}?"
    if not known:
        return f"{path} has no fields"
    listed = ", ".join(sorted(known)[:_LISTED]) + (", ..." if len(known) > _LISTED else "")
    return f"{path or 'an object'} has the fields {listed}"


def _places(name: str, schema: Schema, path: str) -> Iterator[str]:
    """Yield where a field of this name stands, the status apart, which is not the user's."""
    for one, inner in schema.get("properties", {}).items():
        place = below(path, one)
        if place in ("status", "metadata"):
            continue
        if one.lower() == name.lower():
            yield place
        yield from _places(name, inner, place)
    if "items" in schema:
        yield from _places(name, schema["items"], f"{path}[]")
