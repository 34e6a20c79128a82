"""An image registry in memory, with tags that move and outages on demand."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from lockstep.api.modeldeployment import ModelDeployment
from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.api.reasons import Reason
from lockstep.gathering.subject import Images
from lockstep.images.image import Descriptor, ImageError
from lockstep.images.reference import parse_reference
from lockstep.images.source import ImageSource, Manifest
from tests.fakes.images import Item, MemorySource, layer


class FakeImages:
    """Implements `controller.sources.images.ImagesOf`, `gathering.subject.Images` and `images.source.ImageSource` at once."""

    def __init__(self) -> None:
        self.memory = MemorySource()
        self.down = False
        self.blobs_down = False
        self.forbidden = False
        """True when the credentials open nothing any more."""
        self.asked = 0
        self.held: dict[str, asyncio.Event] = {}
        """Namespaces whose registry takes every question and answers none until the event is set."""
        self.late: dict[str, asyncio.Event] = {}
        """Tags and digests for which no manifest comes until the event is set."""

    @property
    def repository(self) -> str:
        return self.memory.repository

    def push(self, tag: str, content: str, env: Mapping[str, str] | None = None) -> str:
        """Push an image of one file, with variables of its own, and return its digest."""
        settings = {"Env": [f"{name}={value}" for name, value in (env or {}).items()]}
        return self.memory.image([layer(Item("opt/content", body=content.encode()))], tag=tag, settings=settings)

    def of(self, owner: ModelDeployment) -> Images:
        held = self.held.get(owner.namespace)
        return _Held(self, held) if held is not None else self

    async def open(self, reference: str, policy: PromotionPolicy) -> tuple[ImageSource, str]:
        return self, parse_reference(reference).wanted

    async def manifest(self, wanted: str) -> Manifest:
        self.asked += 1
        if (late := self.late.get(wanted)) is not None:
            await late.wait()
        self._answer(self.down)
        return await self.memory.manifest(wanted)

    def blob(self, descriptor: Descriptor) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        self._answer(self.down)
        # The configuration is a blob too, and is read when an image is resolved.
        self._answer(self.blobs_down and "layer" in descriptor.media_type)
        return self.memory.blob(descriptor)

    async def referrers(self, digest: str, artifact_type: str) -> list[Descriptor]:
        self._answer(self.down)
        return await self.memory.referrers(digest, artifact_type)

    def _answer(self, down: bool) -> None:
        if self.forbidden:
            raise ImageError(Reason.IMAGE_UNAUTHORIZED, "the image registry does not let these credentials read it")
        if down:
            raise ImageError(Reason.IMAGE_REGISTRY_UNREACHABLE, "the image registry did not answer", retry=True)


@dataclass(frozen=True)
class _Held:
    """Implements `gathering.subject.Images`, late."""

    images: FakeImages
    answers: asyncio.Event

    async def open(self, reference: str, policy: PromotionPolicy) -> tuple[ImageSource, str]:
        await self.answers.wait()
        return await self.images.open(reference, policy)
