"""What is signed of an image, read from its repository: both of cosign's forms, and what strangers put there."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from lockstep.api.reasons import Reason
from lockstep.formats.keys import PrivateKey, private_key
from lockstep.images.image import Descriptor, ImageError
from lockstep.images.layout import LayoutSource
from lockstep.images.signing.signed import Signature, Signed
from lockstep.images.signing.verification import read_signed
from lockstep.images.source import ImageSource
from tests.fakes import builders as build
from tests.fakes import signing
from tests.fakes.images import Item, MemorySource, layer, text
from tests.fakes.signing import attest, envelope, key, refer, sign, statement

RELEASE, SECURITY, STRANGER = key("release"), key("security"), key("stranger")
KEYS = {one.public.fingerprint: one.public for one in (RELEASE, SECURITY)}
DOCUMENT = build.document()
RELEASED = frozenset([RELEASE.public.fingerprint])
SIGNED_BUNDLE = "https://sigstore.dev/cosign/sign/v1"


def image() -> tuple[MemorySource, str]:
    source = MemorySource()
    return source, source.image([layer(Item("opt/content"))])


async def read(source: ImageSource, digest: str) -> Signed:
    return await read_signed(source, digest, KEYS)


async def refused(source: ImageSource, digest: str) -> ImageError:
    with pytest.raises(ImageError) as caught:
        await read(source, digest)
    return caught.value


def bundle(content: bytes) -> bytes:
    stated = {"mediaType": signing.BUNDLE, "verificationMaterial": {"publicKey": {"hint": ""}}}
    return text(stated | {"dsseEnvelope": json.loads(content)})


async def test_an_image_that_nobody_signed_has_no_signatures() -> None:
    source, digest = image()
    assert await read(source, digest) == Signed(digest)


@pytest.mark.parametrize("kind", signing.KINDS)
async def test_a_signature_of_every_kind_of_key_is_told(kind: str) -> None:
    source, digest = image()
    signer = private_key(signing.private_pem(signing.KINDS[kind]()))
    sign(source, digest, signer)
    found = await read_signed(source, digest, {signer.public.fingerprint: signer.public})
    assert found.signatures == (Signature(frozenset([signer.public.fingerprint]), frozenset([digest])),)


async def test_several_signatures_are_told_apart() -> None:
    source, digest = image()
    sign(source, digest, RELEASE, STRANGER, SECURITY)
    found = await read(source, digest)
    assert [len(one.signers) for one in found.signatures] == [1, 0, 1]


async def test_a_signature_of_another_image_names_that_one() -> None:
    source, digest = image()
    sign(source, digest, RELEASE, subject=build.DIGEST)
    assert (await read(source, digest)).signatures == (Signature(RELEASED, frozenset([build.DIGEST])),)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{}",
        b'{"critical": {"image": 7}}',
        signing.payload(build.DIGEST, type="atomic container signature"),
        signing.payload(build.DIGEST, image={}),
    ],
)
async def test_a_payload_that_names_no_image_is_about_none(body: bytes) -> None:
    source, digest = image()
    layers = [signing.signature_layer(source, body, RELEASE.sign(body))]
    signing.attach(source, digest.replace(":", "-") + ".sig", layers)
    assert (await read(source, digest)).signatures == (Signature(RELEASED, frozenset()),)


@pytest.mark.parametrize("annotations", [{}, {"dev.cosignproject.cosign/signature": "?"}])
async def test_a_payload_without_a_signature_is_signed_by_nobody(annotations: dict[str, str]) -> None:
    source, digest = image()
    one = source.describe(signing.payload(digest), signing.SIMPLE, annotations=annotations)
    signing.attach(source, digest.replace(":", "-") + ".sig", [one])
    assert (await read(source, digest)).signatures == (Signature(frozenset(), frozenset()),)


@pytest.mark.parametrize("version", ["v1", "v0.1"])
async def test_an_attested_environment_is_read(version: str) -> None:
    source, digest = image()
    attest(source, digest, envelope(RELEASE, statement(digest, DOCUMENT.payload(), version=version)))
    (found,) = (await read(source, digest)).attestations
    assert (found.signers, found.document, found.problem) == (RELEASED, DOCUMENT, None)


async def test_what_a_stranger_attests_is_no_document() -> None:
    source, digest = image()
    attest(source, digest, envelope(STRANGER, statement(digest, DOCUMENT.payload())))
    (found,) = (await read(source, digest)).attestations
    assert (found.signers, found.document) == (frozenset(), None)


@pytest.mark.parametrize(
    ("subject", "kind"),
    [(build.OTHER_DIGEST, signing.ENVIRONMENT), (None, signing.ENVIRONMENT + "x"), (None, "https://slsa.dev/provenance/v1")],
)
async def test_what_is_about_another_image_or_another_matter_is_no_document(subject: str | None, kind: str) -> None:
    source, digest = image()
    attest(source, digest, envelope(RELEASE, statement(subject or digest, DOCUMENT.payload(), kind=kind)))
    (found,) = (await read(source, digest)).attestations
    assert (found.signers, found.document, found.problem) == (RELEASED, None, None)


@pytest.mark.parametrize(
    "predicate", [{}, None, "x", DOCUMENT.payload() | {"schema": "lockstep.dev/environment/v2"}, {"\ud800": 1}]
)
async def test_a_signed_predicate_that_is_no_document_is_a_problem(predicate: object) -> None:
    source, digest = image()
    attest(source, digest, envelope(RELEASE, statement(digest, predicate)))
    (found,) = (await read(source, digest)).attestations
    assert found.document is None
    assert found.problem is not None


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", envelope(RELEASE, b"no statement"), b'{"payloadType": "application/json"}'])
async def test_what_is_no_envelope_is_a_problem_and_signed_by_nobody(raw: bytes) -> None:
    source, digest = image()
    attest(source, digest, raw)
    (found,) = (await read(source, digest)).attestations
    assert found.signers == frozenset()
    assert found.problem is not None


@pytest.mark.parametrize("signer", [RELEASE, STRANGER])
async def test_what_a_stranger_states_at_length_is_not_read(signer: PrivateKey) -> None:
    source, digest = image()
    long = envelope(signer, statement(digest, [[]] * 50_000))
    attest(source, digest, long)
    refer(source, digest, bundle(long))
    found = await read(source, digest)
    known = None if signer is STRANGER else signing.ENVIRONMENT
    assert [one.predicate_type for one in found.attestations] == [known, known]


async def test_bundles_hold_signatures_and_attestations() -> None:
    source, digest = image()
    refer(source, digest, bundle(envelope(RELEASE, statement(digest, {}, kind=SIGNED_BUNDLE))))
    refer(source, digest, bundle(envelope(RELEASE, statement(digest, DOCUMENT.payload()))))
    found = await read(source, digest)
    assert found.signatures == (Signature(RELEASED, frozenset([digest])),)
    assert [one.document for one in found.attestations] == [DOCUMENT]


async def test_a_bundle_may_sign_the_manifest_itself() -> None:
    source, digest = image()
    for signer in (RELEASE, STRANGER):
        made = base64.b64encode(signer.sign(source.blobs[digest])).decode()
        refer(source, digest, text({"messageSignature": {"signature": made}}))
    other = base64.b64encode(RELEASE.sign(b"another manifest")).decode()
    refer(source, digest, text({"messageSignature": {"signature": other}}))
    found = await read(source, digest)
    assert sorted(len(one.signers) for one in found.signatures) == [0, 0, 1]


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"7", b'{"messageSignature": {}}', b'{"messageSignature": 7}', b'{"dsseEnvelope": {}}', b"[" * 100_000],
)
async def test_a_bundle_that_can_not_be_read_is_a_problem_and_signed_by_nobody(content: bytes) -> None:
    source, digest = image()
    refer(source, digest, content)
    found = await read(source, digest)
    assert not found.signatures
    assert [(one.signers, one.problem is None) for one in found.attestations] == [(frozenset(), False)]


async def test_referrers_of_other_kinds_are_left_alone() -> None:
    source, digest = image()
    refer(source, digest, b"no bundle", "application/vnd.other+json")
    assert await read(source, digest) == Signed(digest)


@pytest.mark.parametrize("kind", [signing.EMPTY, ""])
async def test_a_list_that_tells_no_kind_is_followed(kind: str) -> None:
    source, digest = image()
    refer(source, digest, bundle(envelope(RELEASE, statement(digest, {}, kind=SIGNED_BUNDLE))), kind)
    assert len((await read(source, digest)).signatures) == 1


async def test_a_flood_of_referrers_is_refused_unread() -> None:
    source, digest = image()
    for number in range(65):
        refer(source, digest, b"%d" % number)
    assert (await refused(source, digest)).reason is Reason.REFERRERS_EXCEEDED
    assert not any(source.blobs[name].isdigit() for name in source.read)


@pytest.mark.parametrize(("suffix", "kind"), [("sig", signing.SIMPLE), ("att", signing.DSSE)])
async def test_a_flood_of_layers_is_refused_unread(suffix: str, kind: str) -> None:
    source, digest = image()
    signing.attach(source, f"{digest.replace(':', '-')}.{suffix}", [source.describe(b"x", kind)] * 65)
    assert (await refused(source, digest)).reason is Reason.REFERRERS_EXCEEDED
    assert source.read == []


@pytest.mark.parametrize("sizes", [[25 * 1024 * 1024], [20 * 1024 * 1024] * 4])
async def test_layers_that_are_too_large_are_refused_unread(sizes: list[int]) -> None:
    source, digest = image()
    layers = [source.describe(b"x", signing.DSSE) | {"size": size} for size in sizes]
    signing.attach(source, digest.replace(":", "-") + ".att", layers)
    assert (await refused(source, digest)).reason is Reason.REFERRERS_EXCEEDED
    assert source.read == []


@pytest.mark.parametrize(
    "manifest",
    [
        {"layers": [{}], "config": {}},
        {"layers": 7},
        {"layers": [{"mediaType": signing.DSSE, "digest": "sha256:x", "size": 1}]},
        {"layers": [], "mediaType": "application/vnd.oci.image.index.v1+json"},
    ],
)
async def test_a_manifest_of_attestations_that_is_malformed_is_refused(manifest: dict[str, object]) -> None:
    source, digest = image()
    source.put(text(manifest), digest.replace(":", "-") + ".att")
    assert (await refused(source, digest)).reason is Reason.MANIFEST_INVALID


@pytest.mark.parametrize("body", [b"", b"longer than it says", b"y"])
async def test_other_bytes_than_the_digest_says_are_not_read(body: bytes) -> None:
    source, digest = image()
    one = source.describe(b"x", signing.DSSE)
    signing.attach(source, digest.replace(":", "-") + ".att", [one])
    source.blobs[one["digest"]] = body
    error = await refused(source, digest)
    assert (error.reason, error.retry) == (Reason.DIGEST_MISMATCH, True)


class Down(MemorySource):
    """A registry that fails at one blob."""

    @asynccontextmanager
    async def blob(self, descriptor: Descriptor) -> AsyncIterator[AsyncIterator[bytes]]:
        raise ImageError(Reason.IMAGE_REGISTRY_UNREACHABLE, "down", retry=True)
        yield


async def test_a_registry_that_is_down_is_no_missing_signature() -> None:
    source = Down()
    digest = source.image([layer(Item("opt/content"))])
    sign(source, digest, RELEASE)
    assert (await refused(source, digest)).reason is Reason.IMAGE_REGISTRY_UNREACHABLE


async def test_what_is_tagged_in_a_layout_is_found(tmp_path_factory: pytest.TempPathFactory) -> None:
    source, digest = image()
    sign(source, digest, RELEASE)
    path = tmp_path_factory.mktemp("layouts") / "layout"
    source.write(path, digest.replace(":", "-") + ".sig")
    assert len((await read(LayoutSource.directory(path), digest)).signatures) == 1
