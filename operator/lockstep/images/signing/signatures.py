"""Image signatures as cosign tags them: `sha256-<hex>.sig`, "simple signing" payloads (cosign specs/SIGNATURE_SPEC.md)."""

import asyncio
from collections.abc import Mapping

from lockstep.formats.canonical import strict_json
from lockstep.formats.dsse import InvalidEnvelopeError, decode_base64
from lockstep.formats.keys import PublicKey
from lockstep.images.signing.attached import layers_of, read_blob, read_tagged_manifest
from lockstep.images.signing.signed import Signature
from lockstep.images.source import ImageSource

MEDIA_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
ANNOTATION = "dev.cosignproject.cosign/signature"
_KIND = "cosign container image signature"


async def read(source: ImageSource, digest: str, keys: Mapping[str, PublicKey]) -> list[Signature]:
    """Read the signatures that are tagged as those of `digest`.

    Raises:
        ImageError: see `read_signed`.
    """
    manifest = await read_tagged_manifest(source, digest, "sig")
    if manifest is None:
        return []
    layers = layers_of(manifest, MEDIA_TYPE)
    signed = [(await read_blob(source, layer), layer.annotations.get(ANNOTATION)) for layer in layers]
    return [await asyncio.to_thread(verify_signature, payload, encoded, keys) for payload, encoded in signed]


def verify_signature(payload: bytes, encoded: str | None, keys: Mapping[str, PublicKey]) -> Signature:
    """Verify one signature; what can't be read has no signers."""
    try:
        made = decode_base64(encoded)
    except InvalidEnvelopeError:
        return Signature(frozenset(), frozenset())
    signers = frozenset(name for name, key in keys.items() if key.verifies(made, payload))
    return Signature(signers, _subjects(payload) if signers else frozenset())


def _subjects(payload: bytes) -> frozenset[str]:
    """Return the digest that a payload names. The `docker-reference` beside it is no evidence: anybody may copy an image."""
    try:
        critical = strict_json(payload)["critical"]
        named = critical["image"]["docker-manifest-digest"]
    except (ValueError, KeyError, TypeError):
        return frozenset()
    return frozenset([str(named)]) if critical.get("type") == _KIND else frozenset()
