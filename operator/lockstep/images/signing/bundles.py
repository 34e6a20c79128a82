"""Sigstore bundles that refer to an image (cosign specs/BUNDLE_SPEC.md): the form that cosign 3 writes.

Only what a key signed is read. Certificates and transparency logs in a bundle are neither demanded nor believed.
"""

import asyncio
from collections.abc import Mapping

from lockstep.environment.statement import COSIGN_SIGNATURE, InvalidStatementError, parse_statement
from lockstep.formats.dsse import IN_TOTO, InvalidEnvelopeError, decode_base64, envelope_of, flat_json
from lockstep.formats.keys import PublicKey
from lockstep.images.signing.attached import AttachedLayer, layers_of, limit_layers, read_blob
from lockstep.images.signing.attestations import attestation_of, is_worth_reading
from lockstep.images.signing.signed import Attestation, Signature
from lockstep.images.source import ImageSource

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"


async def read(source: ImageSource, digest: str, keys: Mapping[str, PublicKey]) -> tuple[list[Signature], list[Attestation]]:
    """Read the bundles that refer to `digest`.

    Raises:
        ImageError: see `read_signed`.
    """
    layers: list[AttachedLayer] = []
    for referrer in await source.referrers(digest, MEDIA_TYPE):
        manifest = await source.manifest(referrer.digest)
        layers = limit_layers(layers + layers_of(manifest, MEDIA_TYPE))
    signatures: list[Signature] = []
    attestations: list[Attestation] = []
    for layer in layers:
        body = await read_blob(source, layer)
        message = (await source.manifest(digest)).body if b"messageSignature" in body else b""
        verified = await asyncio.to_thread(verify_bundle, body, digest, message, keys)
        signatures += [verified] if isinstance(verified, Signature) else []
        attestations += [verified] if isinstance(verified, Attestation) else []
    return signatures, attestations


def verify_bundle(raw: bytes, digest: str, manifest: bytes, keys: Mapping[str, PublicKey]) -> Signature | Attestation:
    """Verify one bundle.

    Args:
        raw: the bundle's JSON text.
        digest: the image it should be about.
        manifest: the image's manifest, which a `messageSignature` signs as it is.
        keys: the known keys by fingerprint.
    """
    try:
        content = flat_json(raw)
        if isinstance(content, dict) and "messageSignature" in content and "dsseEnvelope" not in content:
            made = decode_base64(content["messageSignature"]["signature"])
            signers = frozenset(name for name, key in keys.items() if key.verifies(made, manifest))
            return Signature(signers, frozenset([digest]) if signers else frozenset())
        envelope = envelope_of(content.get("dsseEnvelope"), IN_TOTO)
        signers = envelope.signers(keys)
        if not is_worth_reading(envelope, signers):
            return Attestation(signers)
        statement = parse_statement(envelope.payload)
    except (InvalidEnvelopeError, InvalidStatementError, ValueError, TypeError, KeyError, AttributeError):
        return Attestation(frozenset(), problem="a bundle that refers to the image can't be read")
    if statement.predicate_type == COSIGN_SIGNATURE:
        return Signature(signers, statement.subjects)
    return attestation_of(statement, digest, signers)
