"""Log lines for machines."""

import json
import logging
import sys

from lockstep.observability.log import JsonFormatter


def record(message: str, *args: object, error: bool = False) -> logging.LogRecord:
    info = None
    if error:
        try:
            raise RuntimeError("no")
        except RuntimeError:
            info = sys.exc_info()
    return logging.LogRecord("lockstep.test", logging.WARNING, __file__, 1, message, args, info)


def test_a_line_is_one_json_object() -> None:
    text = JsonFormatter().format(record("%s is blocked:\n%s", "team/iris", "größer"))
    line = json.loads(text)
    assert "\n" not in text
    assert (line["level"], line["logger"], line["message"]) == ("warning", "lockstep.test", "team/iris is blocked:\ngrößer")
    assert line["time"].endswith("+00:00")


def test_an_exception_stays_on_the_line() -> None:
    text = JsonFormatter().format(record("failed", error=True))
    assert "RuntimeError: no" in json.loads(text)["exception"]
    assert "\n" not in text
