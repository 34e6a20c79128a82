"""Asks tracking servers and registries: each fact known, or unknown with the reason why."""

from typing import Protocol

from lockstep.formats.keys import public_keys
from lockstep.gates.evidence import Fact
from lockstep.gathering.gather import unknown_of
from lockstep.gathering.subject import OpenedImage, Subject
from lockstep.images.image import ImageError
from lockstep.images.limits import Limits
from lockstep.images.resolve import resolve
from lockstep.images.signing.signed import Signed
from lockstep.images.signing.verification import read_signed
from lockstep.lineage.lineage import Lineage, LineageError, ModelRegistry


class Registries(Protocol):
    """Gives the client of a tracking server."""

    def at(self, tracking_uri: str) -> ModelRegistry:
        """Return a client for one tracking server."""
        ...


async def ask_lineage(subject: Subject, registries: Registries, version: str | None) -> Fact[Lineage]:
    """Read the lineage of the spec's model: of `version` where it is pinned already, else of what the spec names."""
    model, registry = subject.owner.spec.model, registries.at(subject.tracking_uri)
    wanted = version or model.version
    try:
        if wanted is not None:
            return await registry.lineage(name=model.name, version=wanted)
        return await registry.lineage(name=model.name, alias=model.alias)
    except LineageError as error:
        return unknown_of(error)


async def ask_image(subject: Subject, reference: str, limits: Limits) -> Fact[OpenedImage]:
    """Pin an image reference for the subject's platform."""
    try:
        source, wanted = await subject.images.open(reference, subject.policy)
        return OpenedImage(await resolve(source, wanted, subject.platform, limits), source)
    except ImageError as error:
        return unknown_of(error)


async def ask_signed(subject: Subject, opened: OpenedImage) -> Fact[Signed]:
    """Read what is signed of an image with the keys of the rules for its repository."""
    rules = subject.policy.spec.images.signature_rules(opened.image.repository)
    keys = public_keys(pem for rule in rules for pem in rule.keys)
    try:
        return await read_signed(opened.source, opened.image.digest, keys)
    except ImageError as error:
        return unknown_of(error)
