"""Facts about lineage and image, each known or unknown with its reason. Allow-lists are asked before any network call."""

from dataclasses import dataclass
from typing import Protocol

from lockstep.api.modeldeployment import GateMode, ModelDeploymentSpec
from lockstep.api.promotionpolicy import ModelFilesRule, PromotionPolicy
from lockstep.api.reasons import Reason
from lockstep.gates import lineage as lineage_gate
from lockstep.gates.evidence import Fact, LineagePins, Unknown
from lockstep.gates.image import repository_allowed
from lockstep.gates.lineage import allowed
from lockstep.gates.signatures import rules_for
from lockstep.images.image import ImageError, ImagePlatform, ResolvedImage
from lockstep.images.limits import Limits
from lockstep.images.resolve import resolve
from lockstep.images.signed import Signed
from lockstep.images.source import ImageSource
from lockstep.images.verification import read_signed
from lockstep.keys import public_keys
from lockstep.lineage.lineage import Lineage, LineageError, ModelRegistry, Place


class Registries(Protocol):
    """Gives the client of a tracking server."""

    def at(self, tracking_uri: str) -> ModelRegistry:
        """Return a client for one tracking server."""
        ...


class Images(Protocol):
    """Opens image references on behalf of a namespace."""

    async def open(self, reference: str, policy: PromotionPolicy) -> tuple[ImageSource, str]:
        """Return where to read and what to ask for, with the credentials that the policy grants.

        Raises:
            ImageError: the reference or the credentials can't be used.
        """
        ...


@dataclass(frozen=True)
class OpenedImage:
    """A pinned image and where its layers are read."""

    image: ResolvedImage
    source: ImageSource


def lineage_refusal(spec: ModelDeploymentSpec, policy: PromotionPolicy) -> Unknown | None:
    """Say why MLflow is not asked at all; None when it may be."""
    if allowed(spec.model.name, policy.spec):
        return None
    return Unknown(Reason.MODEL_NOT_ALLOWED, "the policy does not allow this registered model", retry=False)


def image_refusal(reference: str, policy: PromotionPolicy) -> Unknown | None:
    """Say why no registry is asked at all; None when one may be."""
    if repository_allowed(reference, policy.spec):
        return None
    return Unknown(Reason.REPOSITORY_NOT_ALLOWED, "the policy does not allow images from this repository", retry=False)


async def lineage_fact(
    spec: ModelDeploymentSpec, policy: Fact[PromotionPolicy], registries: Registries, *, version: str | None = None
) -> Fact[Lineage]:
    """Read the lineage of the spec's model: of `version` where it is pinned already, else of what the spec names."""
    if isinstance(policy, Unknown):
        return policy
    if (refusal := lineage_refusal(spec, policy)) is not None:
        return refusal
    registry = registries.at(policy.spec.registry.tracking_uri)
    wanted = version or spec.model.version
    try:
        if wanted is not None:
            return await registry.lineage(name=spec.model.name, version=wanted)
        return await registry.lineage(name=spec.model.name, alias=spec.model.alias)
    except LineageError as error:
        return Unknown(error.reason, error.message, retry=error.retry)


def place_to_read(policy: PromotionPolicy, lineage: Lineage, pins: LineagePins | None = None) -> Fact[Place] | None:
    """Return where the model's files are read, or why that has to wait: a version whose lineage is refused anyway is not read.

    None where the policy does not ask for them.
    """
    if policy.spec.lineage.model_files is ModelFilesRule.IGNORE:
        return None
    enforced = policy.spec.mode(lineage_gate.NAME) is GateMode.ENFORCE
    if lineage.place is None or (enforced and lineage_gate.first_finding(lineage, policy.spec, pins) is not None):
        return Unknown(Reason.WAITING, "the lineage has to hold first", retry=True)
    return lineage.place


async def image_fact(
    reference: str, policy: Fact[PromotionPolicy], images: Images, platform: ImagePlatform, limits: Limits
) -> Fact[OpenedImage]:
    """Pin an image reference for a platform."""
    if isinstance(policy, Unknown):
        return policy
    if (refusal := image_refusal(reference, policy)) is not None:
        return refusal
    try:
        source, wanted = await images.open(reference, policy)
        return OpenedImage(await resolve(source, reference, wanted, platform, limits), source)
    except ImageError as error:
        return Unknown(error.reason, error.message, retry=error.retry, retry_after=error.retry_after)


async def signed_fact(opened: OpenedImage, policy: PromotionPolicy) -> Fact[Signed] | None:
    """Read what is signed of an image, as far as the policy has rules for its repository; None when it has none."""
    rules = rules_for(opened.image.repository, policy.spec)
    if not rules:
        return None
    keys = public_keys(pem for rule in rules for pem in rule.keys)
    try:
        return await read_signed(opened.source, opened.image.digest, keys)
    except ImageError as error:
        return Unknown(error.reason, error.message, retry=error.retry, retry_after=error.retry_after)
