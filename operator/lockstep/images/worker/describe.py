"""Puts layers together and describes what they start: `python -m lockstep.images.worker.describe`."""

import json
from dataclasses import asdict
from typing import Any, BinaryIO

from lockstep import __version__
from lockstep.api.reasons import Reason
from lockstep.canonical import sha256_of
from lockstep.environment.catalogue.describe import describe
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.launch import Launch
from lockstep.environment.document import MAX_DOCUMENT_BYTES, EnvironmentDocument
from lockstep.environment.tree import EntryTree, UnreadableFileError
from lockstep.images.image import ImageConfig, ImageError
from lockstep.images.imagescan import ImageModel
from lockstep.images.layerrecord import InvalidLayerRecordError, load
from lockstep.images.limits import Limits
from lockstep.images.squash import Squash
from lockstep.images.worker.answer import request_line, serve
from lockstep.mlmodel import InvalidMLmodelError, described

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_MAX_MODELS = 64
_DIGITS = 20
_TEXT = 4
"""How many times larger than what it keeps a record's text may be."""


def request(config: ImageConfig, layers: int, limits: Limits) -> bytes:
    """Return the line that asks for the description of what an image starts; so many framed records follow it."""
    machine = _MACHINES.get(config.platform.architecture, config.platform.architecture)
    return request_line(limits, launch=asdict(launch_of(config)), machine=machine, layers=layers)


def framed(record: bytes) -> bytes:
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
        ImageError: with the reason why the image can't be told.
    """
    tree = _tree(asked["layers"], limits, stream)
    try:
        models = _models(tree)
        document = describe(
            tree,
            _launch(asked["launch"]),
            machine=asked["machine"],
            collector=f"lockstep {__version__}",
            models=[model.path for model in models],
        )
    except CatalogueError as error:
        raise ImageError(error.reason, error.message) from error
    except UnreadableFileError as error:
        raise ImageError(Reason.FILE_UNREADABLE, str(error)) from error
    if (size := len(document.canonical())) > MAX_DOCUMENT_BYTES:
        raise ImageError(Reason.LIMIT_EXCEEDED, f"the document has {size} bytes, the limit is {MAX_DOCUMENT_BYTES}")
    return json.dumps({"document": document.payload(), "models": [asdict(model) for model in models]}).encode()


def result_of(answer: bytes) -> tuple[EnvironmentDocument, tuple[ImageModel, ...]]:
    """Read what `work` returned.

    Raises:
        ValueError: it is none of it.
    """
    try:
        stated = json.loads(answer)
        document = EnvironmentDocument.parse(json.dumps(stated["document"]).encode())
        return document, tuple(ImageModel(**model) for model in stated["models"])
    except (LookupError, TypeError) as error:
        raise ValueError(str(error)) from error


def _tree(layers: int, limits: Limits, stream: BinaryIO) -> EntryTree:
    squash = Squash(limits)
    for number in range(layers):
        try:
            record = stream.read(int(stream.readline(_DIGITS)))
            squash.apply(load(record, _TEXT * limits.kept, number))
        except (InvalidLayerRecordError, ValueError) as error:
            raise ImageError(Reason.SCAN_FAILED, f"the record of a layer can't be read: {error}", retry=True) from error
    return squash.tree()


def _launch(stated: dict[str, Any]) -> Launch:
    return Launch(tuple(stated["argv"]), stated["env"], stated["working_dir"], stated["user"])


def _models(tree: EntryTree) -> tuple[ImageModel, ...]:
    """Find the logged models inside the image by their MLmodel files."""
    found: list[ImageModel] = []
    for path in tree.paths("/MLmodel"):
        body = tree.read(path)
        if body is None:
            continue
        if len(found) == _MAX_MODELS:
            raise ImageError(Reason.LIMIT_EXCEEDED, f"the image holds more than {_MAX_MODELS} models")
        try:
            stated = described(body)
        except InvalidMLmodelError as error:
            raise ImageError(Reason.FILE_UNREADABLE, f"{path}: {error}") from error
        found.append(
            ImageModel(
                path=path.rpartition("/")[0],
                sha256=sha256_of(body),
                model_id=stated.model_id,
                run_id=stated.run_id,
            )
        )
    return tuple(found)


if __name__ == "__main__":
    serve(work)
