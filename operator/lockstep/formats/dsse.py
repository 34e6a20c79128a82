"""DSSE envelopes (Dead Simple Signing Envelope v1, github.com/secure-systems-lab/dsse): signed bytes with their type."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lockstep.formats.canonical import canonical_json, strict_json
from lockstep.formats.keys import PrivateKey, PublicKey

IN_TOTO = "application/vnd.in-toto+json"
"""Payload type of an in-toto statement."""
MAX_ENVELOPE_BYTES = 24 * 1024 * 1024
"""A document of 16 MiB in base64, and what surrounds it."""
MAX_JSON_PARTS = 10_000
"""Commas and opening brackets of an envelope's text; what is large in it is base64, which has none. A million empty lists
take a hundred times the memory of their text.
"""
MAX_SIGNATURES = 8
"""Signatures of one envelope. Each is tried with each key: the number bounds the work."""


class InvalidEnvelopeError(ValueError):
    """The text is no DSSE envelope of the expected type."""


@dataclass(frozen=True)
class Envelope:
    """An envelope as it was read. Nothing in it is to be believed before `signers` has named a trusted key."""

    payload_type: str
    payload: bytes
    signatures: tuple[bytes, ...]

    def signers(self, keys: Mapping[str, PublicKey]) -> frozenset[str]:
        """Return the fingerprints of the keys that signed. A `keyid` says nothing: cosign leaves it empty, others lie."""
        message = pae(self.payload_type, self.payload)
        return frozenset(name for name, key in keys.items() if any(key.verifies(one, message) for one in self.signatures))


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return what is signed: the pre-authentication encoding, which binds the payload's type to its bytes."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def parse_envelope(raw: bytes, payload_type: str) -> Envelope:
    """Read an envelope whose payload type has to be exactly `payload_type`.

    Raises:
        InvalidEnvelopeError: it is none, of another type, too large, without signature or with too many.
    """
    return envelope_of(flat_json(raw), payload_type)


def flat_json(raw: bytes) -> Any:
    """Read the JSON text of an envelope, or of something around one, within bounds of size and of parts.

    Raises:
        InvalidEnvelopeError: it is none, or exceeds the bounds.
    """
    if len(raw) > MAX_ENVELOPE_BYTES:
        raise InvalidEnvelopeError(f"the envelope has {len(raw)} bytes, the limit is {MAX_ENVELOPE_BYTES}")
    if sum(raw.count(mark) for mark in (b",", b"[", b"{")) > MAX_JSON_PARTS:
        raise InvalidEnvelopeError(f"the envelope has more than {MAX_JSON_PARTS} parts")
    try:
        return strict_json(raw)
    except ValueError as error:
        raise InvalidEnvelopeError("the envelope is no JSON, or has a key twice") from error


def envelope_of(stated: object, payload_type: str) -> Envelope:
    """Read an envelope from its JSON data; see `parse_envelope`."""
    if not isinstance(stated, dict):
        raise InvalidEnvelopeError("the envelope is no JSON object")
    if stated.get("payloadType") != payload_type:
        raise InvalidEnvelopeError(f"the payload's type is {str(stated.get('payloadType'))[:100]!r}, not {payload_type}")
    entries = stated.get("signatures")
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_SIGNATURES:
        raise InvalidEnvelopeError(f"the envelope has not 1 to {MAX_SIGNATURES} signatures")
    signatures = tuple(decode_base64(entry.get("sig") if isinstance(entry, dict) else None) for entry in entries)
    return Envelope(payload_type, decode_base64(stated.get("payload")), signatures)


def seal(payload_type: str, payload: bytes, key: PrivateKey) -> bytes:
    """Return an envelope with one signature, as canonical JSON."""
    signature = key.sign(pae(payload_type, payload))
    return canonical_json(
        {
            "payloadType": payload_type,
            "payload": base64.b64encode(payload).decode(),
            "signatures": [{"keyid": "", "sig": base64.b64encode(signature).decode()}],
        }
    )


def decode_base64(text: object) -> bytes:
    """Decode base64; DSSE allows the standard and the URL-safe alphabet.

    Raises:
        InvalidEnvelopeError: it is neither.
    """
    if not isinstance(text, str) or not text.isascii():
        raise InvalidEnvelopeError("payload and signatures have to be base64")
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidEnvelopeError("payload and signatures have to be base64") from error
