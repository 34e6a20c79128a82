"""Puts layers together and describes what they start: `python -m lockstep.images.scan.worker.describe`."""

import json
import posixpath
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from lockstep import __version__
from lockstep.api.reasons import Reason
from lockstep.environment.candidate import Candidate
from lockstep.environment.catalogue.describe import describe, describe_candidates
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.catalogue.launch.launch import Launch
from lockstep.environment.document import MAX_DOCUMENT_BYTES, EnvironmentDocument
from lockstep.environment.tree import EntryTree
from lockstep.images.image import ImageConfig, ImageError
from lockstep.images.layers.record import InvalidLayerRecordError, load
from lockstep.images.layers.squash import Squash
from lockstep.images.limits import Limits
from lockstep.images.scan.models import models_of
from lockstep.images.scan.result import ImageModel
from lockstep.images.scan.worker.answer import catalogue_reasons, request_line, serve

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_DIGITS = 20
_TEXT = 4
"""How many times larger than what it keeps a record's text may be."""


@dataclass(frozen=True)
class Description:
    """What the layers hold."""

    document: EnvironmentDocument | None
    """What the image starts; None where its files do not say."""
    models: tuple[ImageModel, ...]
    undetermined: str = ""
    """Why there is no document."""
    candidates: tuple[Candidate, ...] = ()
    """Without a document, at least one."""

    def payload(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {
            "document": self.document.payload() if self.document is not None else None,
            "models": [model.payload() for model in self.models],
            "undetermined": self.undetermined,
            "candidates": [candidate.payload() for candidate in self.candidates],
        }

    @classmethod
    def parse(cls, stated: dict[str, Any]) -> "Description":
        """Read what `payload` gave.

        Raises:
            ValueError, LookupError, TypeError, AttributeError: it is none of it.
        """
        document = stated["document"]
        description = cls(
            document=EnvironmentDocument.parse(json.dumps(document).encode()) if document is not None else None,
            models=tuple(ImageModel.parse(model) for model in stated["models"]),
            undetermined=str(stated["undetermined"]),
            candidates=tuple(Candidate.parse(candidate) for candidate in stated["candidates"]),
        )
        if description.document is None and not description.candidates:
            raise ValueError("it has neither a document nor candidates")
        return description


def request(config: ImageConfig, layers: int, limits: Limits) -> bytes:
    """Return the line that asks for the description of what an image starts; so many framed records follow it."""
    return request_line(limits, launch=asdict(launch_of(config)), machine=machine_of(config), layers=layers)


def frame_record(record: bytes) -> bytes:
    """Return a record, the lowest layer's being the first, as `work` reads it: its size in a line of its own before it."""
    return b"%d\n" % len(record) + record


def machine_of(config: ImageConfig) -> str:
    """Return an image's architecture as `uname -m` prints it."""
    return _MACHINES.get(config.platform.architecture, config.platform.architecture)


def launch_of(config: ImageConfig) -> Launch:
    """Return how an image's configuration starts its container."""
    return Launch(
        argv=(*config.entrypoint, *config.cmd),
        env=dict(config.env),
        working_dir=config.working_dir,
        user=config.user,
    )


def work(asked: dict[str, Any], limits: Limits, stream: BinaryIO) -> bytes:
    """Return a description as JSON.

    Raises:
        ImageError: with the reason why the image can't be determined.
    """
    tree, launch = read_tree(asked["layers"], limits, stream), parse_launch(asked["launch"])
    with catalogue_reasons():
        models = models_of(tree)
        description = _describe(tree, launch, asked["machine"], models)
    return json.dumps(description.payload()).encode()


def _describe(tree: EntryTree, launch: Launch, machine: str, models: tuple[ImageModel, ...]) -> Description:
    collector, paths = f"lockstep {__version__}", [model.path for model in models]
    try:
        document = describe(tree, launch, machine=machine, collector=collector, models=paths)
    except CatalogueError as error:
        if error.reason is not Reason.INTERPRETER_AMBIGUOUS:
            raise
        candidates = describe_candidates(tree, launch, machine=machine, collector=collector, models=paths)
        size = sum(len(one.document.canonical()) for one in candidates if one.document is not None)
        if not candidates or size > MAX_DOCUMENT_BYTES:
            raise
        return Description(None, models, error.message, candidates)
    document = _resolve_served_model(document, tree, launch)
    if (size := len(document.canonical())) > MAX_DOCUMENT_BYTES:
        raise ImageError(Reason.LIMIT_EXCEEDED, f"the document has {size} bytes, the limit is {MAX_DOCUMENT_BYTES}")
    return Description(document, models)


def result_of(answer: bytes) -> Description:
    """Read what `work` returned.

    Raises:
        ValueError: it is none of it.
    """
    try:
        return Description.parse(json.loads(answer))
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(str(error)) from error


def read_tree(layers: int, limits: Limits, stream: BinaryIO) -> EntryTree:
    """Return the files of so many layers, whose framed records are read.

    Raises:
        ImageError: a record can't be read.
    """
    squash = Squash(limits)
    for number in range(layers):
        try:
            record = stream.read(int(stream.readline(_DIGITS)))
            squash.apply(load(record, _TEXT * limits.kept, number))
        except (InvalidLayerRecordError, ValueError) as error:
            raise ImageError(Reason.SCAN_FAILED, f"the record of a layer can't be read: {error}", retry=True) from error
    return squash.tree()


def parse_launch(stated: dict[str, Any]) -> Launch:
    """Read a launch from the request."""
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
