"""Attestations as cosign tags them: `sha256-<hex>.att`, DSSE envelopes with in-toto statements."""

import asyncio
from collections.abc import Mapping

from lockstep.environment.document import EnvironmentDocument, InvalidDocumentError
from lockstep.environment.statement import ENVIRONMENT, InvalidStatementError, Statement, parse_statement
from lockstep.formats.canonical import canonical_json
from lockstep.formats.dsse import IN_TOTO, Envelope, InvalidEnvelopeError, parse_envelope
from lockstep.formats.keys import PublicKey
from lockstep.images.signing.attached import layers_of, read_blob, read_tagged_manifest
from lockstep.images.signing.signed import Attestation
from lockstep.images.source import ImageSource

MEDIA_TYPE = "application/vnd.dsse.envelope.v1+json"
_STRANGERS = 64 * 1024


async def read(source: ImageSource, digest: str, keys: Mapping[str, PublicKey]) -> list[Attestation]:
    """Read the attestations that are tagged as those of `digest`.

    Raises:
        ImageError: see `read_signed`.
    """
    manifest = await read_tagged_manifest(source, digest, "att")
    if manifest is None:
        return []
    layers = layers_of(manifest, MEDIA_TYPE)
    # In a thread: documents and keys may be many, and whatever else is served does not wait for them.
    return [await asyncio.to_thread(verify_attestation, await read_blob(source, layer), digest, keys) for layer in layers]


def verify_attestation(raw: bytes, digest: str, keys: Mapping[str, PublicKey]) -> Attestation:
    """Verify one envelope. What no known key signed is not read any further than to see that it is a statement."""
    try:
        envelope = parse_envelope(raw, IN_TOTO)
        signers = envelope.signers(keys)
        if not is_worth_reading(envelope, signers):
            return Attestation(signers)
        return attestation_of(parse_statement(envelope.payload), digest, signers)
    except (InvalidEnvelopeError, InvalidStatementError) as error:
        return Attestation(frozenset(), problem=str(error))


def is_worth_reading(envelope: Envelope, signers: frozenset[str]) -> bool:
    """Return whether a payload is parsed: strangers' only where it is small, since parsed JSON takes a lot of memory."""
    return bool(signers) or len(envelope.payload) <= _STRANGERS


def attestation_of(statement: Statement, digest: str, signers: frozenset[str]) -> Attestation:
    """Return who states what of which image; the environment only where a known key states that of `digest`."""
    document, problem = None, None
    if signers and digest in statement.subjects and statement.predicate_type == ENVIRONMENT:
        try:
            document = EnvironmentDocument.parse(canonical_json(statement.predicate))
        except (InvalidDocumentError, ValueError) as error:
            problem = f"the attested environment can't be read: {error}"
    return Attestation(signers, statement.subjects, statement.predicate_type, document, problem)
