"""Where facts come from: at once on the command line, in the background in the controller."""

from typing import Protocol

from lockstep.formats.modelfiles import ModelFiles
from lockstep.gates.evidence import Fact, LineagePins
from lockstep.gathering.subject import OpenedImage, Subject
from lockstep.images.scan.result import ImageScan
from lockstep.images.signing.signed import Signed
from lockstep.lineage.lineage import Lineage, Place


class Sources(Protocol):
    """Asks MLflow, registries and records. What can't be had is Unknown, with the reason; nothing is raised for it.

    To gather another fact: a method here and in its implementations, a field of `Evidence`, and a line in `gather`.
    """

    async def lineage(self, subject: Subject, version: str | None) -> Fact[Lineage]:
        """Read the lineage of a version, or without one of what the spec names."""
        ...

    async def image(self, subject: Subject, reference: str) -> Fact[OpenedImage]:
        """Pin an image reference."""
        ...

    async def scan(self, subject: Subject, opened: OpenedImage) -> Fact[ImageScan]:
        """Read the layers."""
        ...

    async def signed(self, subject: Subject, opened: OpenedImage) -> Fact[Signed]:
        """Read what is signed of the image."""
        ...

    async def files(self, subject: Subject, lineage: Lineage, place: Place, pins: LineagePins | None) -> Fact[ModelFiles]:
        """Read the files of the registered model."""
        ...

    async def pins(self, subject: Subject, lineage: Lineage) -> LineagePins | None:
        """Return what the version declared when it was first seen; None where it has not been seen, or nobody remembers."""
        ...
