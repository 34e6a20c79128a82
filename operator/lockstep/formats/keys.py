"""Signing keys: ECDSA on P-256 and P-384, Ed25519 and RSA, as PEM. The only place that knows of padding and hashes.

`cryptography` is imported when a key is used, so that who uses none (a training job, the CRD generator) need not have it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Union

from lockstep.formats.canonical import sha256_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

_Public = Union["EllipticCurvePublicKey", "Ed25519PublicKey", "RSAPublicKey"]
_Private = Union["EllipticCurvePrivateKey", "Ed25519PrivateKey", "RSAPrivateKey"]

BEGIN_PUBLIC = "-----BEGIN PUBLIC KEY-----"
MAX_PEM = 4096
"""Characters of a PEM text; a public RSA key of 8192 bits has 1 500."""
_RSA_BITS = (2048, 8192)
_KINDS = "ECDSA P-256 or P-384, Ed25519, and RSA of 2048 to 8192 bits"


class InvalidKeyError(ValueError):
    """The text is no key that can be used; the message says why, and never holds key material."""


@dataclass(frozen=True)
class PublicKey:
    """A key that verifies."""

    fingerprint: str
    """`sha256:…` of the SubjectPublicKeyInfo: the same key in two PEM texts is one key."""
    _key: "_Public" = field(repr=False, compare=False)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Return whether a signature over a message was made with this key.

        ECDSA: ASN.1 (RFC 3279), over SHA-256, which cosign verifies with, or over the curve's own hash, which cosign 2.6
        signs with. RSA: PKCS #1 v1.5 or PSS with SHA-256. Ed25519: RFC 8032, not pre-hashed.
        """
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

        def holds(*how: object) -> bool:
            try:
                self._key.verify(signature, message, *how)  # type: ignore[arg-type]
            except InvalidSignature:
                return False
            return True

        if isinstance(self._key, ec.EllipticCurvePublicKey):
            by_curve = self._key.key_size == 384 and holds(ec.ECDSA(hashes.SHA384()))
            return by_curve or holds(ec.ECDSA(hashes.SHA256()))
        if isinstance(self._key, rsa.RSAPublicKey):
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.AUTO)
            return holds(padding.PKCS1v15(), hashes.SHA256()) or holds(pss, hashes.SHA256())
        return holds()


@dataclass(frozen=True)
class PrivateKey:
    """A key that signs."""

    public: PublicKey
    _key: "_Private" = field(repr=False, compare=False)

    def sign(self, message: bytes) -> bytes:
        """Return the signature over a message, in the form that `cosign verify` takes (SHA-256, PKCS #1 v1.5)."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

        if isinstance(self._key, ec.EllipticCurvePrivateKey):
            return self._key.sign(message, ec.ECDSA(hashes.SHA256()))
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(message, padding.PKCS1v15(), hashes.SHA256())
        return self._key.sign(message)


def public_key(pem: str) -> PublicKey:
    """Read a public key (`-----BEGIN PUBLIC KEY-----`, RFC 7468).

    Raises:
        InvalidKeyError: it is none, or of a kind that is not used.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if not pem.lstrip().startswith(BEGIN_PUBLIC) or pem.count("-----BEGIN") != 1 or len(pem) > MAX_PEM:
        raise InvalidKeyError(f"a public key is one PEM text that begins with {BEGIN_PUBLIC}")
    try:
        return _public(load_pem_public_key(pem.encode()))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidKeyError(f"the public key can't be read; usable are {_KINDS}") from error


def public_keys(pems: Iterable[str]) -> dict[str, PublicKey]:
    """Read public keys; by fingerprint, so that a key that is listed twice counts once.

    Raises:
        InvalidKeyError: one of them is none.
    """
    return {key.fingerprint: key for key in map(public_key, pems)}


def private_key(pem: bytes, password: bytes | None = None) -> PrivateKey:
    """Read a private key: PKCS #8 PEM, encrypted or not, or the PEM of OpenSSL.

    Raises:
        InvalidKeyError: it is none, of a kind that is not used, or the password is wrong or missing.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if b"ENCRYPTED SIGSTORE PRIVATE KEY" in pem or b"ENCRYPTED COSIGN PRIVATE KEY" in pem:
        raise InvalidKeyError(
            "this is cosign's own key format, which only cosign reads: use a PKCS #8 PEM key "
            "(openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256); cosign import-key-pair takes the same key"
        )
    try:
        key = load_pem_private_key(pem, password or None) if b"ENCRYPTED" in pem else load_pem_private_key(pem, None)
    except TypeError as error:
        raise InvalidKeyError("the private key is encrypted and no password was given") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidKeyError("the private key can't be read: it is no PEM private key, or the password is wrong") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey):
        raise InvalidKeyError(f"this kind of key is not used; usable are {_KINDS}")
    return PrivateKey(_public(key.public_key()), key)


def _public(key: object) -> PublicKey:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    known = isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey)
    if isinstance(key, ec.EllipticCurvePublicKey):
        known = key.curve.name in ("secp256r1", "secp384r1")
    if isinstance(key, rsa.RSAPublicKey):
        known = _RSA_BITS[0] <= key.key_size <= _RSA_BITS[1]
    if not known:
        raise InvalidKeyError(f"this kind of key is not used; usable are {_KINDS}")
    assert isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey)
    return PublicKey(sha256_of(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)), key)
