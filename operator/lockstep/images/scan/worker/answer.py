"""How a worker process is asked, and how it answers."""

import gc
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, BinaryIO

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.tree import UnreadableFileError
from lockstep.images.image import ImageError
from lockstep.images.limits import Limits
from lockstep.images.scan.worker.confine import confine

REFUSED = 3
"""Exit status of a worker that gives a reason instead of a result."""
_MAX_REQUEST = 16 * 1024 * 1024

Work = Callable[[dict[str, Any], Limits, BinaryIO], bytes]
"""Takes the request, the bounds and the bytes that follow the request; returns the result."""


def serve(work: Work) -> None:
    """Read a request (one line of JSON) from standard input, do the work confined, write the result to standard output.

    Exits with `REFUSED` and `{"reason", "message", "retry"}` as JSON when the work ends with an ImageError.
    """
    stream = sys.stdin.buffer
    request = json.loads(stream.readline(_MAX_REQUEST))
    limits = Limits(**request["limits"])
    confine(limits)
    # Tens of thousands of entries live to the end: searching them for cycles costs more than it frees.
    gc.disable()
    status = 0
    try:
        result = work(request, limits, stream)
    except (ImageError, MemoryError) as error:
        refusal = error if isinstance(error, ImageError) else _too_large(limits)
        stated = {"reason": refusal.reason.value, "message": refusal.message, "retry": refusal.retry}
        result, status = json.dumps(stated).encode(), REFUSED
    sys.stdout.buffer.write(result)
    sys.stdout.buffer.flush()
    sys.exit(status)


@contextmanager
def catalogue_reasons() -> Iterator[None]:
    """Give what the catalogue can't determine as the reason why the image can't be determined.

    Raises:
        ImageError: in the place of CatalogueError and UnreadableFileError.
    """
    try:
        yield
    except CatalogueError as error:
        raise ImageError(error.reason, error.message) from error
    except UnreadableFileError as error:
        raise ImageError(Reason.FILE_UNREADABLE, str(error)) from error


def request_line(limits: Limits, **request: Any) -> bytes:
    """Return the line that asks."""
    return json.dumps({"limits": asdict(limits)} | request).encode() + b"\n"


def refusal_of(answer: bytes) -> ImageError:
    """Return the error that a worker answered with.

    Raises:
        ValueError: it is none.
    """
    try:
        stated = json.loads(answer)
        return ImageError(Reason(stated["reason"]), str(stated["message"]), retry=bool(stated["retry"]))
    except (LookupError, TypeError) as error:
        raise ValueError(str(error)) from error


def _too_large(limits: Limits) -> ImageError:
    return ImageError(Reason.LIMIT_EXCEEDED, f"reading the image takes more than {limits.memory} bytes of memory")
