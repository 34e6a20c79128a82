"""The one gathering: what the policy forbids is asked of nobody, and what has to wait for another fact is not asked either."""

import asyncio
from datetime import datetime

from lockstep.api.modeldeployment import GateMode, ModelDeployment
from lockstep.api.promotionpolicy import ModelFilesRule
from lockstep.api.reasons import Reason
from lockstep.formats.modelfiles import ModelFiles
from lockstep.gates import lineage as lineage_gate
from lockstep.gates.evidence import Evidence, Fact, LineagePins, Undetermined, Unknown
from lockstep.gathering.sources import Sources
from lockstep.gathering.subject import OpenedImage, Subject
from lockstep.images.image import ImageError
from lockstep.images.reference import repository_of
from lockstep.images.scan.result import UndeterminedImageError
from lockstep.images.signing.signed import Signed
from lockstep.lineage.lineage import Lineage, LineageError, Place


async def gather(subject: Subject, sources: Sources, now: datetime, *, version: str | None, reference: str) -> Evidence:
    """Gather everything that is known before any pod runs.

    Args:
        subject: what it is about.
        sources: who is asked.
        now: the time of the decision.
        version: the pinned model version; None to ask what the spec names.
        reference: the pinned image, or the spec's while nothing is pinned.
    """
    lineage, opened = await asyncio.gather(
        lineage_of(subject, sources, version),
        image_of(subject, sources, reference),
    )
    pins = None if isinstance(lineage, Unknown) else await sources.pins(subject, lineage)
    return Evidence(
        now=now,
        namespace=subject.owner.namespace,
        name=subject.owner.name,
        spec=subject.owner.spec,
        policy=subject.policy,
        lineage=lineage,
        image=opened if isinstance(opened, Unknown) else opened.image,
        scan=opened if isinstance(opened, Unknown) else await sources.scan(subject, opened),
        signed=None if isinstance(opened, Unknown) else await _signed(subject, sources, opened),
        files=await _files(subject, sources, lineage, pins),
        pins=pins,
    )


def evidence_without_policy(owner: ModelDeployment, policy: Unknown, now: datetime) -> Evidence:
    """Return the evidence where no policy says what may be asked: nobody is."""
    return Evidence(
        now=now,
        namespace=owner.namespace,
        name=owner.name,
        spec=owner.spec,
        policy=policy,
        lineage=policy,
        image=policy,
        scan=policy,
        files=Unknown(Reason.WAITING, "the lineage has to be known first", retry=True),
    )


async def lineage_of(subject: Subject, sources: Sources, version: str | None) -> Fact[Lineage]:
    """Read the lineage, where the policy lets the registered model be deployed."""
    policy, model = subject.policy, subject.owner.spec.model.name
    if not policy.spec.registry.allows(model):
        message = f"the policy {policy.name} does not allow the registered model {model}"
        step = "Next step (platform team): add it to registry.models"
        return Unknown(Reason.MODEL_NOT_ALLOWED, message, retry=False, next_step=step)
    return await sources.lineage(subject, version)


async def image_of(subject: Subject, sources: Sources, reference: str) -> Fact[OpenedImage]:
    """Pin an image reference, where the policy lets images come from its repository."""
    policy, repository = subject.policy, repository_of(reference)
    if not policy.spec.images.allows(repository):
        message = f"the policy {policy.name} allows no images from {repository}"
        step = "Next step (manifest): use an allowed repository, or ask the platform team to list it"
        return Unknown(Reason.REPOSITORY_NOT_ALLOWED, message, retry=False, next_step=step)
    return await sources.image(subject, reference)


async def _signed(subject: Subject, sources: Sources, opened: OpenedImage) -> Fact[Signed] | None:
    """Read what is signed, as far as the policy has rules for the repository; None when it has none."""
    if not subject.policy.spec.images.signature_rules(opened.image.repository):
        return None
    return await sources.signed(subject, opened)


async def _files(
    subject: Subject, sources: Sources, lineage: Fact[Lineage], pins: LineagePins | None
) -> Fact[ModelFiles] | None:
    """Read the model's files, unless it is known already that the lineage does not hold; None where nobody asks for them."""
    if isinstance(lineage, Unknown):
        return Unknown(Reason.WAITING, "the lineage has to be known first", retry=True)
    place = _place_to_read(subject, lineage, pins)
    return await sources.files(subject, lineage, place, pins) if isinstance(place, Place) else place


def _place_to_read(subject: Subject, lineage: Lineage, pins: LineagePins | None) -> Fact[Place] | None:
    policy = subject.policy.spec
    if policy.lineage.model_files is ModelFilesRule.IGNORE:
        return None
    enforced = policy.mode(lineage_gate.NAME) is GateMode.ENFORCE
    if lineage.place is None or (enforced and lineage_gate.first_finding(lineage, policy, pins) is not None):
        return Unknown(Reason.WAITING, "the lineage has to hold first", retry=True)
    return lineage.place


def unknown_of(error: ImageError | LineageError) -> Unknown:
    """Return what an error means for a fact. This is the only place where one becomes the other."""
    if isinstance(error, UndeterminedImageError):
        return Undetermined(
            error.reason,
            error.message,
            retry=False,
            digest=error.digest,
            models=error.models,
            candidates=error.candidates,
        )
    retry_after = error.retry_after if isinstance(error, ImageError) else None
    return Unknown(error.reason, error.message, retry=error.retry, retry_after=retry_after)
