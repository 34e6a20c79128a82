"""Whose signatures a PromotionPolicy demands: of images and their attested environments, and of recorded environments."""

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from lockstep.api.base import ATOMIC, SET, ApiModel, Pattern, cel
from lockstep.formats.keys import BEGIN_PUBLIC, MAX_PEM, public_keys


class Signing(StrEnum):
    """Whether the image itself has to be signed."""

    REQUIRED = "Required"
    IGNORE = "Ignore"


class Attesting(StrEnum):
    """What is demanded of an attestation of the image's environment."""

    REQUIRED = "Required"
    IF_PRESENT = "IfPresent"
    IGNORE = "Ignore"


def _readable(pems: list[str]) -> list[str]:
    """Refuse what is no key, and a key that stands twice: it would count once against the threshold."""
    if len(public_keys(pems)) != len(pems):
        raise ValueError("a key stands twice")
    return pems


PublicKeyPEM = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_PEM,
        json_schema_extra=cel(
            (f"self.startsWith('{BEGIN_PUBLIC}')", f"a key is a public key in PEM form, which begins with {BEGIN_PUBLIC}")
        ),
    ),
]
Keys = Annotated[list[PublicKeyPEM], Field(min_length=1, max_length=16), AfterValidator(_readable)]
_ENOUGH_KEYS = ("self.threshold <= size(self.keys)", "threshold must not be larger than the number of keys")
_REQUIRES = (
    "self.signature == 'Required' || self.attestation == 'Required'",
    "a rule has to require something: signature: Required, or attestation: Required",
)


def _check_enough(threshold: int, keys: list[str]) -> None:
    if threshold > len(keys):
        raise ValueError(_ENOUGH_KEYS[1])


class SignatureRule(ApiModel):
    """Whose signatures images of some repositories must bear. All rules that fit a repository have to hold."""

    name: Annotated[str, Field(min_length=1, max_length=63)] = Field(description="Name of the rule, for messages.")
    repositories: list[Pattern] = Field(
        default_factory=lambda: ["*"],
        max_length=64,
        description="Repositories that the rule is for (registry/repository); * and ? are wildcards, * spans slashes.",
        json_schema_extra=SET,
    )
    keys: Keys = Field(
        description="Public keys in PEM form: ECDSA P-256 or P-384, Ed25519, RSA (what cosign.pub holds).",
        json_schema_extra=ATOMIC,
    )
    threshold: int = Field(default=1, ge=1, le=16, description="How many of the keys must have signed.")
    signature: Signing = Field(
        default=Signing.REQUIRED, description="Required: the image must be signed, as by cosign sign. Ignore: it need not be."
    )
    attestation: Attesting = Field(
        default=Attesting.IF_PRESENT,
        description="Required: the keys must have attested the image's environment, as by lockstep environment attest. "
        "IfPresent: where they have, it must be the one in the layers. Ignore: it is not checked.",
    )

    model_config = ApiModel.model_config | {"json_schema_extra": cel(_ENOUGH_KEYS, _REQUIRES)}

    @model_validator(mode="after")
    def _possible(self) -> "SignatureRule":
        _check_enough(self.threshold, self.keys)
        if self.signature is not Signing.REQUIRED and self.attestation is not Attesting.REQUIRED:
            raise ValueError(_REQUIRES[1])
        return self


class DocumentSignature(ApiModel):
    """Whose signatures the recorded training environment must bear."""

    keys: Keys = Field(
        description="Public keys in PEM form: ECDSA P-256 or P-384, Ed25519, RSA.",
        json_schema_extra=ATOMIC,
    )
    threshold: int = Field(default=1, ge=1, le=8, description="How many of the keys must have signed.")

    model_config = ApiModel.model_config | {"json_schema_extra": cel(_ENOUGH_KEYS)}

    @model_validator(mode="after")
    def _possible(self) -> "DocumentSignature":
        _check_enough(self.threshold, self.keys)
        return self
