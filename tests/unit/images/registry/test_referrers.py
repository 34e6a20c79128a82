"""Referrers as registries list them: in pages, under a tag, and as an attacker would."""

import asyncio

import pytest
from aiohttp import web

from lockstep.api.reasons import Reason
from lockstep.images.image import ImageError
from tests.fakes.images import INDEX, MANIFEST, text
from tests.fakes.registry import FakeRegistry, serving
from tests.fakes.signing import BUNDLE, EMPTY, refer
from tests.unit.images.reading import client, registry

DIGEST = "sha256:" + "a" * 64


def fake(referrers: int = 3, kind: str = BUNDLE) -> FakeRegistry:
    made = registry()
    for number in range(referrers):
        refer(made.source, DIGEST, b"%d" % number, kind)
    return made


async def listed(made: FakeRegistry) -> list[str]:
    async with serving(made.handle) as host, client(host) as source:
        return [one.digest for one in await source.referrers(DIGEST, BUNDLE)]


async def refused(made: FakeRegistry) -> ImageError:
    with pytest.raises(ImageError) as caught:
        await listed(made)
    return caught.value


@pytest.mark.parametrize("page", [1, 2, 3, 100])
async def test_all_pages_are_read(page: int) -> None:
    made = fake()
    made.referrers = page
    assert sorted(await listed(made)) == sorted(one["digest"] for one in made.source.referring(DIGEST))


async def test_other_kinds_are_left_out_whatever_the_registry_filters() -> None:
    made = fake(kind="application/vnd.other+json")
    made.referrers = 100
    assert await listed(made) == []


@pytest.mark.parametrize("kind", [BUNDLE, EMPTY, ""])
async def test_a_registry_without_the_api_has_the_list_under_a_tag(kind: str) -> None:
    made = fake(kind=kind)
    entries = made.source.referring(DIGEST)
    made.source.put(text({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}), DIGEST.replace(":", "-"))
    assert await listed(made) == [one["digest"] for one in entries]


async def test_a_registry_with_neither_has_no_referrers() -> None:
    assert await listed(fake()) == []


@pytest.mark.parametrize(
    "body",
    [
        {"schemaVersion": 2, "mediaType": MANIFEST, "layers": []},
        {"schemaVersion": 2, "mediaType": INDEX},
        {"manifests": 7},
        {"manifests": [{"artifactType": BUNDLE}]},
        {"manifests": [{"artifactType": BUNDLE, "mediaType": MANIFEST, "size": 1, "digest": "sha256:../../blobs"}]},
        {"manifests": [{"artifactType": BUNDLE, "mediaType": MANIFEST, "size": -1, "digest": DIGEST}]},
    ],
)
async def test_a_tag_that_holds_no_list_is_refused(body: dict[str, object]) -> None:
    made = fake()
    made.source.put(text(body), DIGEST.replace(":", "-"))
    assert (await refused(made)).reason is Reason.MANIFEST_INVALID


@pytest.mark.parametrize("body", [b"", b"[]", b"nonsense", b"[" * 100_000])
async def test_an_answer_that_is_no_list_is_refused(body: bytes) -> None:
    made = fake()

    async def fault(request: web.BaseRequest) -> web.Response:
        return web.Response(body=body)

    made.fault = fault
    assert (await refused(made)).reason is Reason.MANIFEST_INVALID


@pytest.mark.parametrize("page", [10, 100_000])
async def test_ten_thousand_referrers_are_refused(page: int) -> None:
    entry = {"mediaType": MANIFEST, "artifactType": BUNDLE, "digest": DIGEST, "size": 1}
    made = fake(0)

    async def fault(request: web.BaseRequest) -> web.Response:
        after = int(request.query.get("from", "0")) + page
        link = {"Link": f'<{request.path}?from={after}>; rel="next"'} if after < 10_000 else {}
        return web.Response(body=text({"manifests": [entry] * min(page, 10_000)}), headers=link)

    made.fault = fault
    error = await refused(made)
    assert (error.reason, error.retry) == (Reason.REFERRERS_EXCEEDED, False)
    assert len(made.requests) < 10


async def test_pages_without_end_are_refused() -> None:
    made = fake(0)

    async def fault(request: web.BaseRequest) -> web.Response:
        return web.Response(body=text({"manifests": []}), headers={"Link": f'<{request.path}>; rel="next"'})

    made.fault = fault
    async with asyncio.timeout(30):
        assert (await refused(made)).reason is Reason.REFERRERS_EXCEEDED


async def test_the_next_page_is_never_asked_of_another_host() -> None:
    made, elsewhere = fake(0), fake(0)
    async with serving(elsewhere.handle) as other:

        async def fault(request: web.BaseRequest) -> web.Response:
            return web.Response(body=text({"manifests": []}), headers={"Link": f'<http://{other}/v2/x>; rel="next"'})

        made.fault = fault
        assert (await refused(made)).reason is Reason.MANIFEST_INVALID
    assert elsewhere.requests == []


async def test_a_registry_that_fails_has_not_told_that_there_are_none() -> None:
    made = fake()

    async def fault(request: web.BaseRequest) -> web.Response:
        return web.Response(status=503)

    made.fault = fault
    error = await refused(made)
    assert (error.reason, error.retry) == (Reason.IMAGE_REGISTRY_UNREACHABLE, True)
