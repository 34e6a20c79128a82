"""Facts: known, or unknown with a reason; what the policy forbids is asked of nobody."""

from collections.abc import Callable, Mapping

import pytest

from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.api.reasons import Reason
from lockstep.evidence.facts import OpenedImage, image_fact, lineage_fact, signed_fact
from lockstep.gates.evidence import Unknown
from lockstep.images.image import ImageError
from lockstep.images.limits import Limits
from lockstep.images.source import ImageSource
from lockstep.lineage.lineage import Lineage, LineageError, ModelRegistry, Place
from tests.fakes import builders as a
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


REFERENCE = f"{a.REPOSITORY}:1"
NO_POLICY = a.unknown(Reason.POLICY_MISSING, retry=False)


async def test_a_lineage_is_read_where_the_policy_says() -> None:
    registries = Registries(a.lineage())
    assert await lineage_fact(a.spec(), a.policy(), registries) == a.lineage()
    assert (registries.uris, registries.asked) == (["http://mlflow.mlflow.svc:5000"], [("iris", "3", None)])


@pytest.mark.parametrize(("pinned", "asked"), [(None, ("iris", None, "champion")), ("7", ("iris", "7", None))])
async def test_an_alias_is_followed_until_it_is_pinned(pinned: str | None, asked: tuple[str, str | None, str | None]) -> None:
    registries = Registries(a.lineage())
    await lineage_fact(a.spec(model={"name": "iris", "alias": "champion"}), a.policy(), registries, version=pinned)
    assert registries.asked == [asked]


@pytest.mark.parametrize("retry", [True, False])
async def test_what_the_registry_says_against_it_is_kept(retry: bool) -> None:
    error = LineageError(Reason.REGISTRY_UNREACHABLE, "no answer", retry=retry)
    fact = await lineage_fact(a.spec(), a.policy(), Registries(error))
    assert fact == Unknown(Reason.REGISTRY_UNREACHABLE, "no answer", retry=retry)


async def test_a_model_that_is_not_allowed_is_asked_of_nobody() -> None:
    registries = Registries(a.lineage())
    policy = a.policy(registry={"trackingURI": "http://mlflow", "models": ["fraud-*"]})
    fact = await lineage_fact(a.spec(), policy, registries)
    assert isinstance(fact, Unknown)
    assert (fact.reason, fact.retry, registries.uris) == (Reason.MODEL_NOT_ALLOWED, False, [])


async def test_without_a_policy_nobody_is_asked() -> None:
    registries, images = Registries(a.lineage()), Images(MemorySource())
    assert await lineage_fact(a.spec(), NO_POLICY, registries) == NO_POLICY
    assert await image_fact(REFERENCE, NO_POLICY, images, LINUX, Limits()) == NO_POLICY
    assert (registries.uris, images.asked) == ([], [])


async def test_an_image_is_pinned() -> None:
    source = MemorySource()
    digest = source.image([layer()])
    fact = await image_fact(REFERENCE, a.policy(), Images(source), LINUX, Limits())
    assert isinstance(fact, OpenedImage)
    assert (fact.image.digest, fact.image.reference, fact.source) == (digest, REFERENCE, source)


@pytest.mark.parametrize("credentials", ["Namespace", "Operator"])
async def test_a_repository_that_is_not_allowed_is_asked_of_nobody_whosever_the_credentials(credentials: str) -> None:
    images = Images(MemorySource())
    policy = a.policy(images={"repositories": ["other.example.com/*"], "credentials": credentials})
    fact = await image_fact(REFERENCE, policy, images, LINUX, Limits())
    assert isinstance(fact, Unknown)
    assert (fact.reason, fact.retry, images.asked) == (Reason.REPOSITORY_NOT_ALLOWED, False, [])


async def test_what_opening_or_pinning_says_against_it_is_kept() -> None:
    limited = ImageError(Reason.IMAGE_REGISTRY_RATE_LIMITED, "slow down", retry=True, retry_after=30)
    fact = await image_fact(REFERENCE, a.policy(), Images(limited), LINUX, Limits())
    assert fact == Unknown(Reason.IMAGE_REGISTRY_RATE_LIMITED, "slow down", retry=True, retry_after=30)
    missing = await image_fact(REFERENCE, a.policy(), Images(MemorySource()), LINUX, Limits())
    assert isinstance(missing, Unknown)
    assert missing.reason is Reason.IMAGE_NOT_FOUND


def signing(*repositories: str) -> PromotionPolicy:
    return a.policy(
        images={"signatures": [{"name": "release", "keys": [public_pem(key("release"))], "repositories": list(repositories)}]}
    )


async def opened() -> OpenedImage:
    source = MemorySource()
    digest = source.image([layer()])
    sign(source, digest, key("release"))
    return OpenedImage(await source.resolved(), source)


async def test_signatures_are_read_where_the_policy_has_rules_for_the_repository() -> None:
    one = await opened()
    found = await signed_fact(one, signing("registry.example.com/team/*"))
    assert found is not None
    assert not isinstance(found, Unknown)
    assert (found.digest, len(found.signatures)) == (one.image.digest, 1)
    assert await signed_fact(one, signing("registry.example.com/other/*")) is None
    assert await signed_fact(one, a.policy()) is None


async def test_signatures_that_can_not_be_read_are_unknown() -> None:
    one = await opened()
    assert isinstance(one.source, MemorySource)
    one.source.put(b"{}", one.image.digest.replace(":", "-") + ".att")
    found = await signed_fact(one, signing("*"))
    assert isinstance(found, Unknown)
    assert (found.reason, found.retry) == (Reason.MANIFEST_INVALID, False)
