"""Manifests whose layers are signatures or attestations, and the blobs in them: read whole, within bounds, verified."""

from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from lockstep.api.reasons import Reason
from lockstep.formats.canonical import sha256_of, strict_json
from lockstep.formats.dsse import MAX_ENVELOPE_BYTES
from lockstep.images.image import Descriptor, ImageError
from lockstep.images.resolve import MANIFESTS
from lockstep.images.source import ImageSource, Manifest

MAX_LAYERS = 64
MAX_BYTES = 64 * 1024 * 1024
"""Of all layers of one manifest, or all bundles of one image."""


class AttachedLayer(BaseModel):
    """One layer of such a manifest."""

    media_type: Annotated[str, Field(alias="mediaType", max_length=255)]
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0)]
    annotations: dict[str, str] = Field(default_factory=dict)


class _Attached(BaseModel):
    layers: list[AttachedLayer]


async def read_tagged_manifest(source: ImageSource, digest: str, suffix: str) -> Manifest | None:
    """Read the manifest that cosign tags `sha256-<hex>.<suffix>`; None when there is none."""
    try:
        return await source.manifest(attached_tag(digest, suffix))
    except ImageError as error:
        if error.reason is Reason.IMAGE_NOT_FOUND:
            return None
        raise


def attached_tag(digest: str, suffix: str) -> str:
    """Return cosign's tag for what it attaches to an image: `sha256-<hex>.sig`, `sha256-<hex>.att`."""
    return f"{digest.replace(':', '-')}.{suffix}"


def layers_of(manifest: Manifest, media_type: str) -> list[AttachedLayer]:
    """Return the layers of one media type.

    Raises:
        ImageError: ManifestInvalid; ReferrersExceeded when they are too many or too large.
    """
    if manifest.media_type not in MANIFESTS:
        raise ImageError(Reason.MANIFEST_INVALID, f"the manifest {manifest.digest} of signatures is no image manifest")
    try:
        layers = _Attached.model_validate(strict_json(manifest.body)).layers
    except (ValidationError, ValueError) as error:
        raise ImageError(Reason.MANIFEST_INVALID, f"the manifest {manifest.digest} of signatures is malformed") from error
    return limit_layers([layer for layer in layers if layer.media_type == media_type])


def limit_layers(layers: list[AttachedLayer]) -> list[AttachedLayer]:
    """Return the layers, unless they are too many, or together or one of them too large.

    Raises:
        ImageError: ReferrersExceeded.
    """
    if len(layers) > MAX_LAYERS:
        message = f"the image has more than {MAX_LAYERS} signatures or attestations of one kind"
        raise ImageError(Reason.REFERRERS_EXCEEDED, message)
    if sum(layer.size for layer in layers) > MAX_BYTES or any(layer.size > MAX_ENVELOPE_BYTES for layer in layers):
        raise ImageError(Reason.REFERRERS_EXCEEDED, f"signatures and attestations have more than {MAX_BYTES} bytes")
    return layers


async def read_blob(source: ImageSource, layer: AttachedLayer) -> bytes:
    """Read a layer whole.

    Raises:
        ImageError: it can't be had, or does not have its digest.
    """
    body = bytearray()
    async with source.blob(Descriptor(layer.media_type, layer.digest, layer.size)) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > layer.size:
                break
    if len(body) != layer.size or sha256_of(bytes(body)) != layer.digest:
        raise ImageError(Reason.DIGEST_MISMATCH, f"the registry delivered other content under {layer.digest}", retry=True)
    return bytes(body)
