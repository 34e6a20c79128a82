"""Where `lockstep check` has its facts from: MLflow and registries, asked at once, with what helps where they refuse."""

import sys
from dataclasses import dataclass, replace

from lockstep.api.reasons import Reason
from lockstep.cli.access.access import Access, with_login_hint
from lockstep.cli.access.hints import with_hint
from lockstep.cli.access.registry import Tracking
from lockstep.formats.modelfiles import ModelFiles
from lockstep.gates.evidence import Fact, LineagePins, Unknown
from lockstep.gathering.asking import ask_image, ask_lineage, ask_signed
from lockstep.gathering.gather import unknown_of
from lockstep.gathering.subject import OpenedImage, Subject
from lockstep.images.image import ImageError
from lockstep.images.scan.result import ImageScan
from lockstep.images.signing.signed import Signed
from lockstep.lineage.lineage import Lineage, LineageError, Place
from lockstep.lineage.reading import Known, Progress, ReadingLimits, amount, listing, read


@dataclass(frozen=True)
class DirectSources:
    """Implements `gathering.sources.Sources` for the person who runs the command."""

    reach: Access
    tracking: Tracking

    async def lineage(self, subject: Subject, version: str | None) -> Fact[Lineage]:
        """See `Sources`."""
        fact = await ask_lineage(subject, self.tracking.registries_for(self.reach), version)
        if isinstance(fact, Unknown) and fact.reason == Reason.REGISTRY_UNREACHABLE:
            return replace(fact, message=fact.message + self.tracking.hint)
        return fact

    async def image(self, subject: Subject, reference: str) -> Fact[OpenedImage]:
        """See `Sources`."""
        fact = await ask_image(subject, reference, self.reach.limits)
        return self._explain(fact) if isinstance(fact, Unknown) else fact

    async def scan(self, subject: Subject, opened: OpenedImage) -> Fact[ImageScan]:
        """See `Sources`."""
        try:
            return await self.reach.scanner.scan(opened.source, opened.image)
        except ImageError as error:
            return unknown_of(error)

    async def signed(self, subject: Subject, opened: OpenedImage) -> Fact[Signed]:
        """See `Sources`."""
        return await ask_signed(subject, opened)

    async def files(self, subject: Subject, lineage: Lineage, place: Place, pins: LineagePins | None) -> Fact[ModelFiles]:
        """See `Sources`. They are read as the controller reads them in the background."""
        registry, limits = self.reach.mlflow(self.tracking.uri), ReadingLimits()
        try:
            sizes = await listing(registry, place, limits)
            if sys.stderr.isatty():
                size = amount(sum(sizes.values()))
                print(f"reading {len(sizes)} files of {place.name} {place.version}, {size} …", file=sys.stderr)
            return await read(registry, place, sizes, limits, progress=Progress(), known=Known())
        except LineageError as error:
            return unknown_of(error)

    async def pins(self, subject: Subject, lineage: Lineage) -> LineagePins | None:
        """See `Sources`. The pins are in the cluster."""
        return None

    def _explain(self, fact: Unknown) -> Unknown:
        message = with_hint(fact.reason, fact.message)
        if fact.reason == Reason.IMAGE_UNAUTHORIZED:
            message = with_login_hint(message, self.reach.logins)
        return replace(fact, message=message)
