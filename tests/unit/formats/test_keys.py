"""Keys of every kind: what they sign they verify, and nothing else."""

from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
)

from lockstep.formats.keys import InvalidKeyError, private_key, public_key, public_keys
from tests.fakes.signing import KINDS, key, private_pem, public_pem

MADE = {kind: make() for kind, make in KINDS.items()}


def public_text(made: Any) -> str:
    return str(made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


@pytest.mark.parametrize("kind", MADE)
def test_a_key_verifies_what_it_signed_and_nothing_else(kind: str) -> None:
    signer, verifier = private_key(private_pem(MADE[kind])), public_key(public_text(MADE[kind]))
    signature = signer.sign(b"message")
    assert verifier.verifies(signature, b"message")
    assert signer.public == verifier
    assert not verifier.verifies(signature, b"massage")
    assert not verifier.verifies(signature[:-1], b"message")
    assert not verifier.verifies(b"", b"message")
    assert not key("other").public.verifies(signature, b"message")


@pytest.mark.parametrize("kind", MADE)
def test_an_encrypted_key_opens_with_its_password_alone(kind: str) -> None:
    locked = MADE[kind].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"s3cret"))
    assert private_key(locked, b"s3cret").public == public_key(public_text(MADE[kind]))
    for password in (b"other", b"", None):
        with pytest.raises(InvalidKeyError) as caught:
            private_key(locked, password)
        assert "other" not in str(caught.value)


def test_a_password_for_a_key_that_needs_none_is_no_obstacle() -> None:
    assert private_key(private_pem(MADE["ed25519"]), b"s3cret").public == public_key(public_text(MADE["ed25519"]))


def test_p384_is_verified_over_its_own_hash_too_since_cosign_signs_so() -> None:
    made = MADE["ecdsa-p384"]
    assert public_key(public_text(made)).verifies(made.sign(b"message", ec.ECDSA(hashes.SHA384())), b"message")
    assert not public_key(public_text(made)).verifies(made.sign(b"message", ec.ECDSA(hashes.SHA512())), b"message")


def test_p256_is_not_verified_over_other_hashes() -> None:
    made = MADE["ecdsa-p256"]
    assert not public_key(public_text(made)).verifies(made.sign(b"message", ec.ECDSA(hashes.SHA384())), b"message")


def test_rsa_is_verified_with_pss_too_and_not_with_sha1() -> None:
    made, verifier = MADE["rsa-2048"], public_key(public_text(MADE["rsa-2048"]))
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.MAX_LENGTH)
    assert verifier.verifies(made.sign(b"message", pss, hashes.SHA256()), b"message")
    assert not verifier.verifies(made.sign(b"message", padding.PKCS1v15(), hashes.SHA1()), b"message")


@pytest.mark.parametrize(
    "pem",
    [
        "",
        "nonsense",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        public_text(MADE["ed25519"]) * 2,
        public_text(MADE["ed25519"]) + "x" * 4096,
        private_pem(MADE["ed25519"]).decode(),
        public_text(ec.generate_private_key(ec.SECP256K1())),
        public_text(rsa.generate_private_key(65537, 1024)),
        public_text(ed448.Ed448PrivateKey.generate()),
        public_text(dsa.generate_private_key(2048)),
    ],
)
def test_what_is_no_usable_public_key_is_refused(pem: str) -> None:
    with pytest.raises(InvalidKeyError):
        public_key(pem)


@pytest.mark.parametrize(
    "pem", [b"", b"nonsense", public_text(MADE["ed25519"]).encode(), private_pem(ed448.Ed448PrivateKey.generate())]
)
def test_what_is_no_usable_private_key_is_refused(pem: bytes) -> None:
    with pytest.raises(InvalidKeyError):
        private_key(pem)


def test_a_key_in_cosigns_own_format_is_refused_with_what_to_use_instead() -> None:
    with pytest.raises(InvalidKeyError, match="openssl genpkey"):
        private_key(
            b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n", b"x"
        )


def test_a_key_that_is_listed_twice_is_one_key() -> None:
    pem = public_pem(key("release"))
    assert len(public_keys([pem, pem.replace("\n", "\r\n"), "\n" + pem])) == 1


def test_no_representation_holds_key_material() -> None:
    assert "_key" not in repr(key("release"))
