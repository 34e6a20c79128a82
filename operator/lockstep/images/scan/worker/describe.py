"""Puts layers together and describes what they start: `python -m lockstep.images.scan.worker.describe`."""

import json
import posixpath
from dataclasses import asdict
from typing import Any, BinaryIO

from lockstep import __version__
from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.describe import describe
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.launch.launch import Launch
from lockstep.environment.document import MAX_DOCUMENT_BYTES, EnvironmentDocument
from lockstep.environment.tree import EntryTree, UnreadableFileError
from lockstep.images.image import ImageConfig, ImageError
from lockstep.images.layers.record import InvalidLayerRecordError, load
from lockstep.images.layers.squash import Squash
from lockstep.images.limits import Limits
from lockstep.images.scan.models import models_of
from lockstep.images.scan.result import ImageModel
from lockstep.images.scan.worker.answer import request_line, serve

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_DIGITS = 20
_TEXT = 4
"""How many times larger than what it keeps a record's text may be."""


def request(config: ImageConfig, layers: int, limits: Limits) -> bytes:
    """Return the line that asks for the description of what an image starts; so many framed records follow it."""
    machine = _MACHINES.get(config.platform.architecture, config.platform.architecture)
    return request_line(limits, launch=asdict(launch_of(config)), machine=machine, layers=layers)


def frame_record(record: bytes) -> bytes:
    """Return a record, the lowest layer's being the first, as `work` reads it: its size in a line of its own before it."""
    return b"%d\n" % len(record) + record


def launch_of(config: ImageConfig) -> Launch:
    """Return how an image's configuration starts its container."""
    return Launch(
        argv=(*config.entrypoint, *config.cmd),
        env=dict(config.env),
        working_dir=config.working_dir,
        user=config.user,
    )


def work(asked: dict[str, Any], limits: Limits, stream: BinaryIO) -> bytes:
    """Return document and models as JSON.

    Raises:
        ImageError: with the reason why the image can't be determined.
    """
    tree, launch = _read_tree(asked["layers"], limits, stream), _parse_launch(asked["launch"])
    try:
        models = models_of(tree)
        document = describe(
            tree,
            launch,
            machine=asked["machine"],
            collector=f"lockstep {__version__}",
            models=[model.path for model in models],
        )
        document = _resolve_served_model(document, tree, launch)
    except CatalogueError as error:
        raise ImageError(error.reason, error.message) from error
    except UnreadableFileError as error:
        raise ImageError(Reason.FILE_UNREADABLE, str(error)) from error
    if (size := len(document.canonical())) > MAX_DOCUMENT_BYTES:
        raise ImageError(Reason.LIMIT_EXCEEDED, f"the document has {size} bytes, the limit is {MAX_DOCUMENT_BYTES}")
    return json.dumps({"document": document.payload(), "models": [model.payload() for model in models]}).encode()


def result_of(answer: bytes) -> tuple[EnvironmentDocument, tuple[ImageModel, ...]]:
    """Read what `work` returned.

    Raises:
        ValueError: it is none of it.
    """
    try:
        stated = json.loads(answer)
        document = EnvironmentDocument.parse(json.dumps(stated["document"]).encode())
        return document, tuple(ImageModel.parse(model) for model in stated["models"])
    except (LookupError, TypeError) as error:
        raise ValueError(str(error)) from error


def _read_tree(layers: int, limits: Limits, stream: BinaryIO) -> EntryTree:
    squash = Squash(limits)
    for number in range(layers):
        try:
            record = stream.read(int(stream.readline(_DIGITS)))
            squash.apply(load(record, _TEXT * limits.kept, number))
        except (InvalidLayerRecordError, ValueError) as error:
            raise ImageError(Reason.SCAN_FAILED, f"the record of a layer can't be read: {error}", retry=True) from error
    return squash.tree()


def _parse_launch(stated: dict[str, Any]) -> Launch:
    return Launch(tuple(stated["argv"]), stated["env"], stated["working_dir"], stated["user"])


def _resolve_served_model(document: EnvironmentDocument, tree: EntryTree, launch: Launch) -> EnvironmentDocument:
    """Say of the directory that is served where it really is, so that it can be found among the models."""
    start = document.start
    if start is None or start.model is None or ":/" in start.model:
        return document
    path = posixpath.normpath(launch.absolute(start.model))
    served = start.model_copy(update={"model": tree.resolve(path) or path})
    return document.model_copy(update={"start": served})


if __name__ == "__main__":
    serve(work)
