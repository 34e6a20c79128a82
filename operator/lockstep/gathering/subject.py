"""What evidence is gathered about."""

from dataclasses import dataclass
from typing import Protocol

from lockstep.api.modeldeployment import ModelDeployment
from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.images.image import ImagePlatform, ResolvedImage
from lockstep.images.source import ImageSource


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


@dataclass(frozen=True)
class Subject:
    """One ModelDeployment under one policy, for one platform; everything that answers depend on."""

    owner: ModelDeployment
    policy: PromotionPolicy
    images: Images
    """Opens images as the namespace may."""
    platform: ImagePlatform

    @property
    def tracking_uri(self) -> str:
        """The tracking server that the policy names."""
        return self.policy.spec.registry.tracking_uri
