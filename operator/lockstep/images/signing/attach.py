"""Stores an attestation as cosign does: one more layer of the manifest that is tagged `sha256-<hex>.att`."""

from typing import Any

from lockstep.api.reasons import Reason
from lockstep.environment.statement import ENVIRONMENT
from lockstep.formats.canonical import canonical_json, strict_json
from lockstep.formats.keys import PublicKey
from lockstep.images.image import ImageError
from lockstep.images.registry.push import RegistryPush
from lockstep.images.resolve import MANIFESTS
from lockstep.images.signing.attached import MAX_LAYERS, attached_tag, layers_of, read_blob, read_tagged_manifest
from lockstep.images.signing.attestations import MEDIA_TYPE, verify_attestation
from lockstep.images.source import ImageSource, Manifest

_CONFIG = "application/vnd.oci.image.config.v1+json"


async def attach(source: ImageSource, push: RegistryPush, digest: str, envelope: bytes, signer: PublicKey) -> str:
    """Store an envelope beside an image and return the digest of the manifest that holds it.

    What others have attested stays; what the same key attested of the image's environment before is replaced, so that a
    later scan does not stand in conflict with its own former one. Two that do this at the same moment can lose one of the
    two: the distribution API has no precondition.

    Raises:
        ImageError: what is there can't be read, is full, or the registry does not take it.
    """
    existing = await read_tagged_manifest(source, digest, "att")
    kept = await _layers_to_keep(source, existing, digest, signer) if existing is not None else []
    if len(kept) >= MAX_LAYERS:
        raise ImageError(Reason.REFERRERS_EXCEEDED, f"the image has {len(kept)} attestations already, which is the limit")
    layer = {
        "mediaType": MEDIA_TYPE,
        "size": len(envelope),
        "digest": await push.blob(envelope),
        "annotations": {"dev.cosignproject.cosign/signature": "", "predicateType": ENVIRONMENT},
    }
    layers = [*kept, layer]
    config = _image_config(layers)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFESTS[0],
        "config": {"mediaType": _CONFIG, "size": len(config), "digest": await push.blob(config)},
        "layers": layers,
    }
    return await push.manifest(attached_tag(digest, "att"), MANIFESTS[0], canonical_json(manifest))


async def _layers_to_keep(source: ImageSource, existing: Manifest, digest: str, signer: PublicKey) -> list[dict[str, Any]]:
    """Return the layers that stay, as they are."""
    replaced = set()
    for layer in layers_of(existing, MEDIA_TYPE):
        attestation = verify_attestation(await read_blob(source, layer), digest, {signer.fingerprint: signer})
        if attestation.signers and attestation.predicate_type == ENVIRONMENT:
            replaced.add(layer.digest)
    return [layer for layer in strict_json(existing.body)["layers"] if layer["digest"] not in replaced]


def _image_config(layers: list[dict[str, Any]]) -> bytes:
    """Return an image configuration that names the layers, as cosign and registries expect one."""
    root = {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]}
    return canonical_json({"architecture": "", "os": "", "config": {}, "rootfs": root})
