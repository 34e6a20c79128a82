"""Keys, and signatures and attestations in the forms in which cosign stores them, made in memory."""

import base64
import hashlib
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from lockstep.formats.dsse import IN_TOTO, seal
from lockstep.formats.keys import PrivateKey, private_key
from tests.fakes.images import CONFIG, MANIFEST, MemorySource, text

SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json"
DSSE = "application/vnd.dsse.envelope.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
EMPTY = "application/vnd.oci.empty.v1+json"
ENVIRONMENT = "https://lockstep.dev/attestations/environment/v1"

KINDS: dict[str, Callable[[], Any]] = {
    "ecdsa-p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "rsa-2048": lambda: rsa.generate_private_key(65537, 2048),
}


def private_pem(made: Any) -> bytes:
    return bytes(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def key(name: str) -> PrivateKey:
    """Return the key of this name, the same in every run."""
    return private_key(private_pem(ed25519.Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())))


def pem_of(name: str) -> bytes:
    """Return the private key of this name as a PEM text."""
    return private_pem(ed25519.Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest()))


def public_pem(signer: PrivateKey) -> str:
    return str(signer.public._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def payload(digest: str, **critical: Any) -> bytes:
    """Return cosign's simple signing payload."""
    stated = {
        "identity": {"docker-reference": "registry.example.com/team/iris"},
        "image": {"docker-manifest-digest": digest},
        "type": "cosign container image signature",
    }
    return text({"critical": stated | critical, "optional": None})


def attach(source: MemorySource, tag: str, layers: list[dict[str, Any]]) -> str:
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": source.describe(text({"os": "", "architecture": "", "rootfs": {"type": "layers", "diff_ids": []}}), CONFIG),
        "layers": layers,
    }
    return source.put(text(manifest), tag)


def signature_layer(source: MemorySource, body: bytes, signature: bytes) -> dict[str, Any]:
    encoded = base64.b64encode(signature).decode()
    return source.describe(body, SIMPLE, annotations={"dev.cosignproject.cosign/signature": encoded})


def sign(source: MemorySource, digest: str, *signers: PrivateKey, subject: str | None = None) -> None:
    """Store signatures of an image as `cosign sign` does."""
    body = payload(subject or digest)
    attach(source, digest.replace(":", "-") + ".sig", [signature_layer(source, body, one.sign(body)) for one in signers])


def statement(digest: str, predicate: Any, *, kind: str = ENVIRONMENT, version: str = "v1") -> bytes:
    subject = {"name": "registry.example.com/team/iris", "digest": {"sha256": digest.removeprefix("sha256:")}}
    form = f"https://in-toto.io/Statement/{version}"
    return text({"_type": form, "subject": [subject], "predicateType": kind, "predicate": predicate})


def attest(source: MemorySource, digest: str, *envelopes: bytes) -> None:
    """Store envelopes of an image as `cosign attest` does."""
    layers = [source.describe(envelope, DSSE, annotations={"predicateType": "anything"}) for envelope in envelopes]
    attach(source, digest.replace(":", "-") + ".att", layers)


def envelope(signer: PrivateKey, body: bytes) -> bytes:
    return seal(IN_TOTO, body, signer)


def refer(source: MemorySource, digest: str, content: bytes, artifact_type: str = BUNDLE) -> str:
    """Store a manifest that refers to an image and holds one bundle."""
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": artifact_type,
        "config": source.describe(b"{}", EMPTY),
        "layers": [source.describe(content, BUNDLE)],
        "subject": {"mediaType": MANIFEST, "digest": digest, "size": 1},
    }
    return source.put(text(manifest))
