"""The part of a PromotionPolicy that says which images may be deployed."""

from enum import StrEnum
from fnmatch import fnmatchcase

from pydantic import Field

from lockstep.api.base import ATOMIC, SET, ApiModel, Digest, Pattern, ShortText, list_map
from lockstep.api.signing import SignatureRule


class InImage(StrEnum):
    """Whether the registered model has to be inside the image."""

    REQUIRED = "Required"
    IF_PRESENT = "IfPresent"


class PullCredentials(StrEnum):
    """Whose credentials open the image repositories."""

    NAMESPACE = "Namespace"
    OPERATOR = "Operator"


class BaseImage(ApiModel):
    """A base image, by the digests of its uncompressed layers."""

    name: ShortText = Field(description="What people call it; shown in messages.")
    diff_ids: list[Digest] = Field(
        alias="diffIDs",
        min_length=1,
        max_length=128,
        description="Digests of its uncompressed layers, the lowest first, as `lockstep environment base IMAGE` prints them.",
        json_schema_extra=ATOMIC,
    )


class ImagesSpec(ApiModel):
    """Which images may be deployed."""

    repositories: list[Pattern] = Field(
        default_factory=lambda: ["*"],
        max_length=64,
        description="Repositories that images may come from (registry/repository); * and ? are wildcards, * spans slashes.",
        json_schema_extra=SET,
    )
    model_in_image: InImage = Field(
        default=InImage.IF_PRESENT,
        description="Required: the image must hold the registered model (by its MLmodel file). "
        "IfPresent: where the image holds models, one of them must be the registered one; none is fine.",
    )
    base_images: list[BaseImage] = Field(
        default_factory=list,
        max_length=32,
        description="Base images on which images have to be built: an image's lowest layers are those of one of them. "
        "Empty: any base. Labels and annotations that name a base image are not evidence.",
        json_schema_extra=list_map("name"),
    )
    credentials: PullCredentials = Field(
        default=PullCredentials.NAMESPACE,
        description="Namespace: the pull secrets of the ModelDeployment and its ServiceAccount. "
        "Operator: the operator's own, for clusters whose nodes pull with an identity of their own.",
    )
    signatures: list[SignatureRule] = Field(
        default_factory=list,
        max_length=16,
        description="Whose signatures images must bear. Rules for other repositories than the image's are left out.",
        json_schema_extra=list_map("name"),
    )

    def allows(self, repository: str) -> bool:
        """Return whether images may come from a repository (`registry/repository`)."""
        return any(fnmatchcase(repository, pattern) for pattern in self.repositories)

    def signature_rules(self, repository: str) -> list[SignatureRule]:
        """Return the rules that images of a repository (`registry/repository`) have to meet, all of them."""
        return [rule for rule in self.signatures if any(fnmatchcase(repository, pattern) for pattern in rule.repositories)]
