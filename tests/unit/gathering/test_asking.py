"""Facts: known, or unknown with a reason; what the policy forbids is asked of nobody."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.api.modeldeployment import GateOutcome
from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.api.reasons import Reason
from lockstep.formats.modelfiles import ModelFiles
from lockstep.gates import image as image_gate
from lockstep.gates import lineage as lineage_gate
from lockstep.gates.evidence import Fact, LineagePins, Unknown
from lockstep.gathering.asking import ask_image, ask_lineage, ask_signed
from lockstep.gathering.gather import evidence_without_policy, gather, image_of, lineage_of
from lockstep.gathering.subject import OpenedImage, Subject
from lockstep.images.image import ImageError
from lockstep.images.limits import Limits
from lockstep.images.reference import repository_of
from lockstep.images.scan.result import ImageScan
from lockstep.images.signing.signed import Signed
from lockstep.images.source import ImageSource
from lockstep.lineage.lineage import Lineage, LineageError, ModelRegistry, Place
from tests.fakes import builders as build
from tests.fakes.images import LINUX, MemorySource, layer
from tests.fakes.signing import key, public_pem, sign


class Registries:
    """One registry; answers with a lineage or an error, and keeps what it was asked."""

    def __init__(self, answer: Lineage | LineageError) -> None:
        self._answer = answer
        self.asked: list[tuple[str, str | None, str | None]] = []
        self.uris: list[str] = []

    def at(self, tracking_uri: str) -> ModelRegistry:
        self.uris.append(tracking_uri)
        return self

    async def lineage(self, *, name: str, version: str | None = None, alias: str | None = None) -> Lineage:
        self.asked.append((name, version, alias))
        if isinstance(self._answer, LineageError):
            raise self._answer
        return self._answer

    async def files(self, place: Place) -> Mapping[str, int]:
        raise AssertionError("no file is asked for")

    async def digest(self, place: Place, path: str, took: Callable[[int], None]) -> tuple[str, int]:
        raise AssertionError("no file is asked for")


class Images:
    """One repository, or an error."""

    def __init__(self, answer: MemorySource | ImageError) -> None:
        self._answer = answer
        self.asked: list[str] = []

    async def open(self, reference: str, policy: PromotionPolicy) -> tuple[ImageSource, str]:
        self.asked.append(reference)
        if isinstance(self._answer, ImageError):
            raise self._answer
        return self._answer, reference.rpartition(":")[2]


class Direct:
    """Asks at once; what is not asked about fails the test."""

    def __init__(self, registries: Registries, images: Images) -> None:
        self._registries = registries
        self._images = images

    async def lineage(self, subject: Subject, version: str | None) -> Fact[Lineage]:
        return await ask_lineage(subject, self._registries, version)

    async def image(self, subject: Subject, reference: str) -> Fact[OpenedImage]:
        return await ask_image(replace(subject, images=self._images), reference, Limits())

    async def scan(self, subject: Subject, opened: OpenedImage) -> Fact[ImageScan]:
        return build.scan(digest=opened.image.digest)

    async def signed(self, subject: Subject, opened: OpenedImage) -> Fact[Signed]:
        return await ask_signed(subject, opened)

    async def files(self, subject: Subject, lineage: Lineage, place: Place, pins: LineagePins | None) -> Fact[ModelFiles]:
        return build.files_of(build.contents(lineage))

    async def pins(self, subject: Subject, lineage: Lineage) -> LineagePins | None:
        return None


REFERENCE = f"{build.REPOSITORY}:1"
NO_POLICY = build.unknown(Reason.POLICY_MISSING, retry=False)


async def test_a_lineage_is_read_where_the_policy_says() -> None:
    registries = Registries(build.lineage())
    assert await lineage_of(build.subject(), Direct(registries, Images(MemorySource())), None) == build.lineage()
    assert (registries.uris, registries.asked) == (["http://mlflow.mlflow.svc:5000"], [("iris", "3", None)])


@pytest.mark.parametrize(("pinned", "asked"), [(None, ("iris", None, "champion")), ("7", ("iris", "7", None))])
async def test_an_alias_is_followed_until_it_is_pinned(pinned: str | None, asked: tuple[str, str | None, str | None]) -> None:
    registries = Registries(build.lineage())
    subject = build.subject(owner=build.owner(model={"name": "iris", "alias": "champion"}))
    await ask_lineage(subject, registries, pinned)
    assert registries.asked == [asked]


@pytest.mark.parametrize("retry", [True, False])
async def test_what_the_registry_says_against_it_is_kept(retry: bool) -> None:
    error = LineageError(Reason.REGISTRY_UNREACHABLE, "no answer", retry=retry)
    fact = await ask_lineage(build.subject(), Registries(error), None)
    assert fact == Unknown(Reason.REGISTRY_UNREACHABLE, "no answer", retry=retry)


async def test_a_model_that_is_not_allowed_is_asked_of_nobody() -> None:
    registries = Registries(build.lineage())
    policy = build.policy(registry={"trackingURI": "http://mlflow", "models": ["fraud-*"]})
    fact = await lineage_of(build.subject(policy=policy), Direct(registries, Images(MemorySource())), None)
    assert isinstance(fact, Unknown)
    assert (fact.reason, fact.retry, registries.uris) == (Reason.MODEL_NOT_ALLOWED, False, [])
    result = lineage_gate.GATE.evaluate(build.evidence(policy=policy, lineage=fact))
    assert (result.outcome, result.reason) == (GateOutcome.REJECTED, Reason.MODEL_NOT_ALLOWED)
    assert result.message == "the policy standard does not allow the registered model iris"
    assert result.next_step == "Next step (platform team): add it to registry.models"


def test_without_a_policy_nobody_is_asked() -> None:
    evidence = evidence_without_policy(build.owner(), NO_POLICY, build.NOW)
    assert (evidence.policy, evidence.lineage, evidence.image, evidence.scan) == (NO_POLICY,) * 4


async def test_an_image_is_pinned() -> None:
    source = MemorySource()
    digest = source.image([layer()])
    fact = await ask_image(build.subject(images=Images(source), platform=LINUX), REFERENCE, Limits())
    assert isinstance(fact, OpenedImage)
    assert (fact.image.digest, fact.source) == (digest, source)


@pytest.mark.parametrize("credentials", ["Namespace", "Operator"])
async def test_a_repository_that_is_not_allowed_is_asked_of_nobody_whosever_the_credentials(credentials: str) -> None:
    images = Images(MemorySource())
    policy = build.policy(images={"repositories": ["other.example.com/*"], "credentials": credentials})
    fact = await image_of(build.subject(policy=policy, platform=LINUX), Direct(Registries(build.lineage()), images), REFERENCE)
    assert isinstance(fact, Unknown)
    assert (fact.reason, fact.retry, images.asked) == (Reason.REPOSITORY_NOT_ALLOWED, False, [])
    result = image_gate.GATE.evaluate(build.evidence(policy=policy, image=fact))
    assert (result.outcome, result.reason) == (GateOutcome.REJECTED, Reason.REPOSITORY_NOT_ALLOWED)
    assert result.message == f"the policy standard allows no images from {build.REPOSITORY}"
    assert result.next_step is not None
    assert "use an allowed repository" in result.next_step


@given(
    tag=st.sampled_from(["", ":1", ":2026-11", f"@{build.DIGEST}", f":1@{build.DIGEST}"]),
    registry=st.sampled_from(["registry.example.com", "registry.example.com:5000", "localhost:5000"]),
)
def test_tags_digests_and_ports_do_not_decide_whether_a_repository_is_allowed(tag: str, registry: str) -> None:
    rules = build.policy(images={"repositories": [f"{registry}/team/iris"]}).spec.images
    assert rules.allows(repository_of(f"{registry}/team/iris{tag}"))
    assert not rules.allows(repository_of(f"{registry}/team/iris-evil{tag}"))
    assert not rules.allows(repository_of(f"evil.example.com/team/iris{tag}"))


async def test_what_opening_or_pinning_says_against_it_is_kept() -> None:
    limited = ImageError(Reason.IMAGE_REGISTRY_RATE_LIMITED, "slow down", retry=True, retry_after=30)
    fact = await ask_image(build.subject(images=Images(limited), platform=LINUX), REFERENCE, Limits())
    assert fact == Unknown(Reason.IMAGE_REGISTRY_RATE_LIMITED, "slow down", retry=True, retry_after=30)
    missing = await ask_image(build.subject(images=Images(MemorySource()), platform=LINUX), REFERENCE, Limits())
    assert isinstance(missing, Unknown)
    assert missing.reason is Reason.IMAGE_NOT_FOUND


def signing(*repositories: str) -> PromotionPolicy:
    return build.policy(
        images={"signatures": [{"name": "release", "keys": [public_pem(key("release"))], "repositories": list(repositories)}]}
    )


async def opened() -> OpenedImage:
    source = MemorySource()
    digest = source.image([layer()])
    sign(source, digest, key("release"))
    return OpenedImage(await source.resolved(), source)


async def test_signatures_are_read_where_the_policy_has_rules_for_the_repository() -> None:
    one = await opened()
    assert isinstance(one.source, MemorySource)
    sources = Direct(Registries(build.lineage()), Images(one.source))

    async def signed(policy: PromotionPolicy) -> Fact[Signed] | None:
        subject = build.subject(policy=policy, platform=LINUX)
        return (await gather(subject, sources, build.NOW, version=None, reference=REFERENCE)).signed

    found = await signed(signing("registry.example.com/team/*"))
    assert isinstance(found, Signed)
    assert (found.digest, len(found.signatures)) == (one.image.digest, 1)
    assert await signed(signing("registry.example.com/other/*")) is None
    assert await signed(build.policy()) is None


async def test_signatures_that_can_not_be_read_are_unknown() -> None:
    one = await opened()
    assert isinstance(one.source, MemorySource)
    one.source.put(b"{}", one.image.digest.replace(":", "-") + ".att")
    found = await ask_signed(build.subject(policy=signing("*")), one)
    assert isinstance(found, Unknown)
    assert (found.reason, found.retry) == (Reason.MANIFEST_INVALID, False)


async def test_what_is_gathered_is_what_the_gates_pass_on() -> None:
    one = await opened()
    assert isinstance(one.source, MemorySource)
    sources = Direct(Registries(build.lineage()), Images(one.source))
    evidence = await gather(build.subject(platform=LINUX), sources, build.NOW, version="3", reference=REFERENCE)
    assert list(evidence.unknown()) == []
    assert evidence.document_digest == build.lineage().environment_digest
