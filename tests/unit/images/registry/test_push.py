"""What is written to a registry, with whose credentials, and what stays of what was there."""

import json
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from lockstep.api.reasons import Reason
from lockstep.images.image import ImageError
from lockstep.images.limits import Limits
from lockstep.images.reference import parse_reference
from lockstep.images.registry.credentials import Credentials
from lockstep.images.registry.egress import ANYWHERE
from lockstep.images.registry.options import RegistryOptions
from lockstep.images.registry.push import RegistryPush
from lockstep.images.signing.attach import attach
from lockstep.images.signing.verification import read_signed
from tests.fakes import builders as build
from tests.fakes.images import Item, MemorySource, layer
from tests.fakes.registry import FakeRegistry, basic, serving
from tests.fakes.signing import attest, envelope, key, statement
from tests.unit.images.reading import client, login

RELEASE, OTHER = key("release"), key("other")
KEYS = {one.public.fingerprint: one.public for one in (RELEASE, OTHER)}
SLSA = "https://slsa.dev/provenance/v1"


def made() -> tuple[FakeRegistry, str]:
    source = MemorySource()
    return FakeRegistry(source), source.image([layer(Item("opt/content"))])


async def attached(fake: FakeRegistry, digest: str, body: bytes, credentials: Any = None) -> str:
    async with serving(fake.handle) as host, aiohttp.ClientSession() as session, client(host) as source:
        given = credentials(host) if credentials else Credentials()
        options = RegistryOptions(frozenset([host]), egress=ANYWHERE)
        push = RegistryPush(session, parse_reference(f"{host}/team/iris:1"), given, options, Limits())
        return await attach(source, push, digest, body, RELEASE.public)


def about(digest: str, python: str = "3.11.2") -> bytes:
    return envelope(RELEASE, statement(digest, build.document(python=python).payload()))


async def test_an_attestation_is_found_where_it_was_stored() -> None:
    fake, digest = made()
    stored = await attached(fake, digest, about(digest))
    assert fake.source.tags[digest.replace(":", "-") + ".att"] == stored
    found = await read_signed(fake.source, digest, KEYS)
    assert [one.document for one in found.attestations] == [build.document()]


async def test_what_others_attested_stays_and_the_own_former_one_goes() -> None:
    fake, digest = made()
    strangers = envelope(OTHER, statement(digest, build.document().payload()))
    provenance = envelope(RELEASE, statement(digest, {}, kind=SLSA))
    attest(fake.source, digest, strangers, provenance, about(digest, "3.10.1"))
    before = json.loads(fake.source.blobs[fake.source.tags[digest.replace(":", "-") + ".att"]])["layers"]
    stored = await attached(fake, digest, about(digest))
    after = json.loads(fake.source.blobs[stored])["layers"]
    assert after[:2] == before[:2]
    assert len(after) == 3
    found = await read_signed(fake.source, digest, KEYS)
    assert [one.document for one in found.attestations] == [build.document(), None, build.document()]


async def test_what_can_not_be_read_is_not_overwritten() -> None:
    fake, digest = made()
    fake.source.put(b"{}", digest.replace(":", "-") + ".att")
    with pytest.raises(ImageError) as caught:
        await attached(fake, digest, about(digest))
    assert caught.value.reason is Reason.MANIFEST_INVALID
    assert all(request.method == "GET" for request in fake.requests)


async def test_a_full_manifest_takes_no_more() -> None:
    fake, digest = made()
    attest(fake.source, digest, *[b"%d" % number for number in range(64)])
    with pytest.raises(ImageError) as caught:
        await attached(fake, digest, about(digest))
    assert caught.value.reason is Reason.REFERRERS_EXCEEDED


async def test_writing_asks_for_the_right_to_write() -> None:
    fake, digest = made()
    scopes: list[str] = []

    async def token(request: web.BaseRequest) -> web.StreamResponse:
        scopes.append(request.query["scope"])
        return web.json_response({"token": "t"})

    async with serving(token) as service:

        async def fault(request: web.BaseRequest) -> web.Response | None:
            if request.method == "GET" or request.headers.get("Authorization") == "Bearer t":
                return None
            return web.Response(status=401, headers={"WWW-Authenticate": f'Bearer realm="http://{service}/",service="r"'})

        fake.fault = fault
        await attached(fake, digest, about(digest))
    assert scopes == ["repository:team/iris:pull,push"]


async def test_the_right_password_writes() -> None:
    fake, digest = made()

    async def fault(request: web.BaseRequest) -> web.Response | None:
        if request.method == "GET" or request.headers.get("Authorization") == basic("alice", "s3cret"):
            return None
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="r"'})

    fake.fault = fault
    assert await attached(fake, digest, about(digest), login)
    for credentials in (None, lambda host: login(host, "mallory")):
        with pytest.raises(ImageError) as caught:
            await attached(fake, digest, about(digest), credentials)
        assert caught.value.reason is Reason.IMAGE_UNAUTHORIZED
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "reason", "retry"),
    [
        (429, Reason.IMAGE_REGISTRY_RATE_LIMITED, True),
        (503, Reason.IMAGE_REGISTRY_UNREACHABLE, True),
        (400, Reason.IMAGE_REGISTRY_UNREACHABLE, False),
        (307, Reason.IMAGE_REGISTRY_UNREACHABLE, False),
    ],
)
async def test_a_registry_that_does_not_take_it_is_told(status: int, reason: Reason, retry: bool) -> None:
    fake, digest = made()

    async def fault(request: web.BaseRequest) -> web.Response | None:
        return None if request.method == "GET" else web.Response(status=status)

    fake.fault = fault
    with pytest.raises(ImageError) as caught:
        await attached(fake, digest, about(digest))
    assert (caught.value.reason, caught.value.retry) == (reason, retry)


async def test_nothing_is_sent_to_another_host() -> None:
    (fake, digest), (elsewhere, _) = made(), made()
    async with serving(elsewhere.handle) as other:

        async def fault(request: web.BaseRequest) -> web.Response | None:
            if request.method != "POST":
                return None
            return web.Response(status=202, headers={"Location": f"http://{other}/v2/team/iris/blobs/uploads/1"})

        fake.fault = fault
        with pytest.raises(ImageError):
            await attached(fake, digest, about(digest))
    assert elsewhere.requests == []
