"""Puts layers together and says as which user they start: `python -m lockstep.images.scan.worker.identity`."""

import json
from typing import Any, BinaryIO

from lockstep.environment.catalogue.launch.identity import identity
from lockstep.images.limits import Limits
from lockstep.images.scan.worker.answer import catalogue_reasons, request_line, serve
from lockstep.images.scan.worker.describe import read_tree


def request(user: str, layers: int, limits: Limits) -> bytes:
    """Return the line that asks; so many framed records follow it, as `describe.frame_record` frames them."""
    return request_line(limits, user=user, layers=layers)


def work(asked: dict[str, Any], limits: Limits, stream: BinaryIO) -> bytes:
    """Return the ids as JSON.

    Raises:
        ImageError: with the reason why they can't be determined.
    """
    with catalogue_reasons():
        return json.dumps(identity(read_tree(asked["layers"], limits, stream), asked["user"])).encode()


def result_of(answer: bytes) -> tuple[int, int]:
    """Read what `work` returned.

    Raises:
        ValueError: it is none of it.
    """
    try:
        user, group = json.loads(answer)
        return int(user), int(group)
    except TypeError as error:
        raise ValueError(str(error)) from error


if __name__ == "__main__":
    serve(work)
