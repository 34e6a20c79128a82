"""Reads one layer: `python -m lockstep.images.scan.worker.layer`, the blob on standard input behind the request."""

from typing import Any, BinaryIO

from lockstep.images.image import Descriptor
from lockstep.images.layers.interest import interest
from lockstep.images.layers.layer import read_layer
from lockstep.images.layers.record import dump
from lockstep.images.limits import Limits
from lockstep.images.scan.worker.answer import request_line, serve


def request(descriptor: Descriptor, diff_id: str, limits: Limits) -> bytes:
    """Return the line that asks for a layer's record."""
    return request_line(limits, mediaType=descriptor.media_type, digest=descriptor.digest, size=descriptor.size, diffID=diff_id)


def work(asked: dict[str, Any], limits: Limits, blob: BinaryIO) -> bytes:
    """Return the layer's record, as `layers.record.dump` writes it.

    Raises:
        ImageError: with the reason why the layer can't be determined.
    """
    descriptor = Descriptor(asked["mediaType"], asked["digest"], asked["size"])
    return dump(read_layer(blob, descriptor, asked["diffID"], interest, limits))


if __name__ == "__main__":
    serve(work)
