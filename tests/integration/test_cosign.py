"""Signatures and attestations made by the real cosign are read, and those that Lockstep makes are taken by it.

The registry is the real docker-registry, which has no referrers API: bundles are found under the fallback tag.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lockstep.api.modeldeployment import GateOutcome
from lockstep.api.reasons import Reason
from lockstep.cli.main import parser
from lockstep.environment.statement import ENVIRONMENT
from lockstep.gates import image as gate
from lockstep.gates.gate import Result
from lockstep.gathering.asking import ask_signed
from lockstep.gathering.subject import OpenedImage
from lockstep.images.image import ResolvedImage
from lockstep.images.limits import Limits
from lockstep.images.registry.client import RegistrySource
from lockstep.images.resolve import resolve
from lockstep.images.scan.result import ImageScan
from tests.fakes import builders as build
from tests.fakes.cosign import BINARY, WHY_ABSENT, Cosign
from tests.fakes.distribution import BINARY as REGISTRY
from tests.fakes.distribution import WHY_ABSENT as WHY_NO_REGISTRY
from tests.fakes.distribution import docker_registry, push
from tests.fakes.images import LINUX, Item, MemorySource, layer
from tests.fakes.roots import debian, items
from tests.fakes.signing import KINDS, private_pem
from tests.fakes.workers import scan
from tests.unit.images.reading import SETTINGS, client

pytestmark = [
    pytest.mark.skipif(not BINARY.exists(), reason=WHY_ABSENT),
    pytest.mark.skipif(REGISTRY is None, reason=WHY_NO_REGISTRY),
]
VERIFIED = sorted(set(KINDS) - {"ed25519"})
FORMS = pytest.mark.parametrize("bundle", [False, True], ids=["tag", "bundle"])


@dataclass(frozen=True)
class World:
    """One image in a registry, and cosign."""

    host: str
    digest: str
    cosign: Cosign
    folder: Path

    @property
    def pinned(self) -> str:
        return f"{self.host}/team/iris@{self.digest}"

    async def judged(self, *keys: str, **rule: object) -> Result:
        """Decide the image as the operator does."""
        rules = [{"name": "release", "keys": list(keys)} | rule]
        policy = build.policy(images={"signatures": rules})
        async with self._opened() as (image, source, scanned):
            signed = await ask_signed(build.subject(policy=policy), OpenedImage(image, source))
            return gate.GATE.evaluate(build.evidence(policy=policy, image=image, scan=scanned, signed=signed))

    async def document(self) -> bytes:
        async with self._opened() as (_, _, scanned):
            return scanned.document.canonical()

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[tuple[ResolvedImage, RegistrySource, ImageScan]]:
        async with client(self.host) as source:
            image = await resolve(source, self.digest, LINUX, Limits())
            yield image, source, await scan(source, image, Limits())

    async def lockstep(self, command: str, key: str) -> int:
        words = ["environment", command, self.pinned, "--key", str(self.folder / key), "--insecure-registry", self.host]
        arguments = parser().parse_args(words)
        return int(await arguments.command()(arguments))


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("LOCKSTEP_KEY_PASSWORD", raising=False)
    source = MemorySource()
    digest = source.image([layer(*items(debian()), Item("opt/content"))], settings=SETTINGS)
    (tmp_path / "keys").mkdir()
    async with docker_registry(tmp_path) as host:
        await push(host, "team/iris", source, "1")
        yield World(host, digest, Cosign(tmp_path / "keys"), tmp_path / "keys")


@FORMS
@pytest.mark.parametrize("kind", VERIFIED)
async def test_what_cosign_signed_passes_with_its_key_and_with_no_other(world: World, kind: str, bundle: bool) -> None:
    mine = await world.cosign.take("mine", private_pem(KINDS[kind]()))
    other = await world.cosign.take("other", private_pem(KINDS[kind]()))
    assert (await world.judged(mine)).reason is Reason.SIGNATURE_MISSING
    await world.cosign.sign("mine", world.pinned, bundle=bundle)
    assert (await world.judged(mine)).outcome is GateOutcome.PASSED
    # cosign 2.6 signs with P-384 over SHA-384 and verifies over SHA-256: it takes none of its own.
    assert await world.cosign.verifies("mine", world.pinned, bundle=bundle) is (kind != "ecdsa-p384")
    assert (await world.judged(other)).reason is Reason.SIGNATURE_INVALID
    assert (await world.judged(mine, other, threshold=2)).reason is Reason.SIGNATURE_MISSING
    await world.cosign.sign("other", world.pinned, bundle=bundle)
    assert (await world.judged(mine, other, threshold=2)).outcome is GateOutcome.PASSED


@FORMS
@pytest.mark.parametrize("kind", VERIFIED)
async def test_what_cosign_attested_passes_where_it_is_what_the_layers_hold(world: World, kind: str, bundle: bool) -> None:
    rule = {"signature": "Ignore", "attestation": "Required"}
    mine = await world.cosign.take("mine", private_pem(KINDS[kind]()))
    await world.cosign.attest("mine", world.pinned, "https://example.com/other/v1", b"{}", bundle=bundle)
    assert (await world.judged(mine, **rule)).reason is Reason.ATTESTATION_PREDICATE_MISMATCH
    document = await world.document()
    await world.cosign.attest("mine", world.pinned, ENVIRONMENT, document, bundle=bundle)
    assert (await world.judged(mine, **rule)).outcome is GateOutcome.PASSED
    lying = document.replace(b'"3.11.2"', b'"3.11.3"')
    assert lying != document
    await world.cosign.attest("mine", world.pinned, ENVIRONMENT, lying, bundle=bundle)
    assert (await world.judged(mine, **rule)).reason is Reason.ATTESTATION_CONFLICT


@FORMS
async def test_cosigns_ed25519_signatures_are_pre_hashed_and_taken_by_nobody(world: World, bundle: bool) -> None:
    mine = await world.cosign.take("mine", private_pem(KINDS["ed25519"]()))
    await world.cosign.sign("mine", world.pinned, bundle=bundle)
    assert (await world.judged(mine)).reason is Reason.SIGNATURE_INVALID
    assert not await world.cosign.verifies("mine", world.pinned, bundle=bundle)


@pytest.mark.parametrize("kind", KINDS)
async def test_what_lockstep_attested_is_taken_by_cosign(world: World, kind: str) -> None:
    mine = await world.cosign.take("mine", private_pem(KINDS[kind]()))
    await world.cosign.take("other", private_pem(KINDS[kind]()))
    assert await world.lockstep("attest", "mine.pem") == 0
    assert await world.cosign.verifies_attestation("mine", world.pinned, ENVIRONMENT), world.cosign.said
    assert not await world.cosign.verifies_attestation("other", world.pinned, ENVIRONMENT)
    assert not await world.cosign.verifies_attestation("mine", world.pinned, "https://example.com/other/v1")
    assert (await world.judged(mine, signature="Ignore", attestation="Required")).outcome is GateOutcome.PASSED
    assert await world.lockstep("verify", "mine.pub") == 0


async def test_cosign_and_lockstep_leave_one_anothers_attestations_alone(world: World) -> None:
    other = "https://example.com/other/v1"
    await world.cosign.take("mine", private_pem(KINDS["ecdsa-p256"]()))
    await world.cosign.attest("mine", world.pinned, other, b"{}", bundle=False)
    assert await world.lockstep("attest", "mine.pem") == 0
    assert await world.lockstep("attest", "mine.pem") == 0
    await world.cosign.attest("mine", world.pinned, other, b'{"second": true}', bundle=False)
    assert await world.cosign.verifies_attestation("mine", world.pinned, other), world.cosign.said
    assert await world.cosign.verifies_attestation("mine", world.pinned, ENVIRONMENT), world.cosign.said
    assert await world.lockstep("verify", "mine.pub") == 0
