"""What a server says of a request that it did not answer: short, and without what it was asked."""

import json
import re
from collections.abc import Iterator
from typing import Any

_READ = 64 * 1024
_SHOWN = 400
_TEXT = 200
_SHORTEST = 3
"""Shorter values than this are in every text."""
_MOST = 2000
_MESSAGES = ("message", "msg", "error", "detail", "errors", "reason", "title", "error_message")
_TRACES = ("stack_trace", "traceback", "trace", "stacktrace")
# MLflow shows the data frame that it was asked about (scoring_server, "Failed to predict data").
_ECHOES = (
    (re.compile(r"Failed to predict data '.*?'\.\s*\nError: ", re.DOTALL), ""),
    (re.compile(r"(?<=schema of data )'.*?'(?= with schema)", re.DOTALL), "…"),
    (re.compile(r"(?<=\nInput: \n).*", re.DOTALL), "…"),
)


def error_excerpt(body: bytes, request: bytes) -> str:
    """Return what the body of a refusal says: its message and the end of its trace, the cause first.

    Texts of the request are left out of it, since an input example may hold personal data and a status is read by many;
    names of columns and fields stay. Numbers stay where a server repeats them.
    """
    text = body[:_READ].decode("utf-8", "replace").strip()
    try:
        found = "; ".join(dict.fromkeys(part for part in _parts(json.loads(body)) if part))
    except (ValueError, RecursionError):
        found = ""
    excerpt = _without(found or _cause(text)[:_TEXT], request)
    return excerpt if len(excerpt) <= _SHOWN else excerpt[: _SHOWN - 1] + "…"


def _parts(answer: Any) -> Iterator[str]:
    if not isinstance(answer, dict):
        return
    for key in _TRACES:
        if isinstance(trace := answer.get(key), str):
            yield _cause(trace)[:_TEXT]
    for key in _MESSAGES:
        yield from _message(answer.get(key))
    if isinstance(code := answer.get("error_code"), str):
        yield code


def _message(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield _cause(value)[:_TEXT]
    elif isinstance(value, dict):
        yield from _parts(value)
    for entry in value[:3] if isinstance(value, list) else []:
        # FastAPI: {"loc": ["body", "rows"], "msg": "Field required", "input": what was sent}
        if isinstance(entry, dict) and isinstance(entry.get("loc"), list):
            where = ".".join(str(part) for part in entry["loc"])
            yield f"{where}: {str(entry.get('msg'))[:_TEXT]}"
        else:
            yield from _message(entry)


def _cause(text: str) -> str:
    """Return the exception at the end of a trace, any other text as it is; in one line, without echoes."""
    lines = text.splitlines()
    frames = [number for number, line in enumerate(lines) if line.startswith('  File "')]
    if frames:
        # An exception's message may have several lines; those of the frames are indented.
        after = (number for number in range(frames[-1] + 1, len(lines)) if lines[number][:1].strip())
        lines = lines[next(after, len(lines)) :]
    cause = "\n".join(lines)
    for echo, instead in _ECHOES:
        cause = echo.sub(instead, cause)
    return " ".join(cause.split())


def _without(text: str, request: bytes) -> str:
    """Return the text without the texts that were sent."""
    try:
        values = {value for value in _texts(json.loads(request)) if len(value) >= _SHORTEST}
    except (ValueError, RecursionError):
        return text
    for value in sorted(values, key=len, reverse=True)[:_MOST]:
        text = text.replace(value, "…")
    return text


def _texts(content: Any) -> Iterator[str]:
    """Return the texts of a request that are values, not names."""
    stack = [content]
    while stack:
        top = stack.pop()
        if isinstance(top, str):
            yield top
        elif isinstance(top, list):
            stack.extend(top)
        elif isinstance(top, dict):
            stack.extend(value for key, value in top.items() if key not in ("columns", "name", "datatype", "content_type"))
