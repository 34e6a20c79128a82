"""The registry client against real servers on the loopback device."""

import asyncio
import time
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from lockstep.api.reasons import Reason
from lockstep.images.credentials import Credentials
from lockstep.images.image import ImageError
from lockstep.images.limits import Limits
from lockstep.images.reference import parse_reference
from lockstep.images.registry import RegistryOptions, RegistrySource
from lockstep.images.resolve import resolve
from tests.fakes.images import LINUX
from tests.fakes.registry import basic, serving
from tests.fakes.tls import contexts
from tests.fakes.workers import scan
from tests.unit.images.reading import LAYER, answering, client, login, read, refused, registry


async def test_an_open_registry_is_read_without_credentials() -> None:
    fake = registry()
    async with serving(fake.handle) as host:
        assert await read(host) == "3.11.2"
    assert set(fake.authorizations()) == {None}


async def test_a_registry_is_read_over_https_and_only_where_its_certificate_is_trusted(tmp_path: Path) -> None:
    fake = registry()
    server, trusting = contexts(tmp_path)
    async with serving(fake.handle, tls=server) as host:
        reference, limits = parse_reference(f"{host}/team/iris:1"), Limits()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session:
            source = RegistrySource(session, reference, Credentials(), RegistryOptions(), limits)
            image = await resolve(source, "x", "1", LINUX, limits)
            assert (await scan(source, image, limits)).document.python.version == "3.11.2"
        async with aiohttp.ClientSession() as session:
            source = RegistrySource(session, reference, Credentials(), RegistryOptions(), limits)
            with pytest.raises(ImageError) as caught:
                await source.manifest("1")
    assert (caught.value.reason, caught.value.retry) == (Reason.IMAGE_REGISTRY_UNREACHABLE, True)


async def test_credentials_are_not_sent_to_who_does_not_ask() -> None:
    fake = registry()
    async with serving(fake.handle) as host:
        await read(host, login(host))
    assert set(fake.authorizations()) == {None}


@pytest.mark.parametrize("same_host", [True, False])
async def test_a_redirect_to_another_host_gets_no_credentials(same_host: bool) -> None:
    storage, fake = registry(), registry()
    async with serving(storage.handle) as elsewhere, serving(fake.handle) as host:

        async def fault(request: web.BaseRequest) -> web.Response | None:
            if request.headers.get("Authorization") != basic("alice", "s3cret"):
                return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="r"'})
            if "/blobs/" in request.path and "moved" not in request.query:
                target = host if same_host else elsewhere
                return web.Response(status=307, headers={"Location": f"http://{target}{request.path}?moved=1"})
            return None

        fake.fault = fault
        assert await read(host, login(host)) == "3.11.2"
    assert set(storage.authorizations()) == (set() if same_host else {None})


async def test_redirects_without_end_are_refused() -> None:
    fake = registry()
    fake.fault = answering(302, Location="/v2/again")
    async with serving(fake.handle) as host:
        error = await refused(host)
    assert (error.reason, error.retry) == (Reason.IMAGE_REGISTRY_UNREACHABLE, True)
    assert len(fake.requests) == 4


async def test_redirects_elsewhere_than_on_the_web_are_refused() -> None:
    fake = registry()
    fake.fault = answering(302, Location="file:///etc/passwd")
    async with serving(fake.handle) as host:
        assert (await refused(host)).reason is Reason.MANIFEST_INVALID


@pytest.mark.parametrize(
    ("status", "headers", "reason", "retry", "after"),
    [
        (404, {}, Reason.IMAGE_NOT_FOUND, False, None),
        (500, {}, Reason.IMAGE_REGISTRY_UNREACHABLE, True, None),
        (204, {}, Reason.IMAGE_REGISTRY_UNREACHABLE, True, None),
        (401, {}, Reason.IMAGE_UNAUTHORIZED, False, None),
        (403, {}, Reason.IMAGE_UNAUTHORIZED, False, None),
        (429, {"Retry_After": "17"}, Reason.IMAGE_REGISTRY_RATE_LIMITED, True, 17.0),
        (429, {"Retry_After": "Fri, 31 Dec 1999 23:59:59 GMT"}, Reason.IMAGE_REGISTRY_RATE_LIMITED, True, None),
        (429, {"Retry_After": "\u00b2"}, Reason.IMAGE_REGISTRY_RATE_LIMITED, True, None),
        (429, {}, Reason.IMAGE_REGISTRY_RATE_LIMITED, True, None),
    ],
)
async def test_every_answer_has_its_reason(
    status: int, headers: dict[str, str], reason: Reason, retry: bool, after: float | None
) -> None:
    fake = registry()
    fake.fault = answering(status, **headers)
    async with serving(fake.handle) as host:
        error = await refused(host)
    assert (error.reason, error.retry, error.retry_after) == (reason, retry, after)


async def test_a_registry_that_is_not_there_is_unreachable() -> None:
    async with serving(registry().handle) as host:
        pass
    error = await refused(host)
    assert (error.reason, error.retry) == (Reason.IMAGE_REGISTRY_UNREACHABLE, True)


async def test_other_content_than_asked_for_is_refused_and_may_be_tried_again() -> None:
    for kind, other in (("manifests", b'{"layers": []}'), ("blobs", b"other")):
        fake = registry()
        digest = fake.source.tags["1"]
        if kind == "manifests":
            fake.source.index(fake.source.child(digest, LINUX))

        async def fault(request: web.BaseRequest, kind: str = kind, other: bytes = other) -> web.Response | None:
            return web.Response(body=other) if f"/{kind}/sha256:" in request.path else None

        fake.fault = fault
        async with serving(fake.handle) as host:
            assert (await refused(host)).reason is Reason.DIGEST_MISMATCH


async def test_a_body_that_breaks_off_may_be_tried_again() -> None:
    fake = registry()
    wanted = LAYER.descriptor.digest

    async def fault(request: web.BaseRequest) -> web.StreamResponse | None:
        if not request.path.endswith(wanted):
            return None
        response = web.StreamResponse(headers={"Content-Length": str(len(LAYER.blob))})
        await response.prepare(request)
        await response.write(LAYER.blob[:100])
        assert request.transport is not None
        request.transport.abort()
        return response

    fake.fault = fault
    async with serving(fake.handle) as host:
        error = await refused(host)
    assert (error.reason, error.retry) == (Reason.IMAGE_REGISTRY_UNREACHABLE, True)


async def test_a_body_without_end_stops_at_the_deadline() -> None:
    fake = registry()
    release = asyncio.Event()

    async def fault(request: web.BaseRequest) -> web.StreamResponse | None:
        if not request.path.endswith(LAYER.descriptor.digest):
            return None
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(LAYER.blob[:100])
        await release.wait()
        return response

    fake.fault = fault
    async with serving(fake.handle) as host:
        began = time.monotonic()
        error = await refused(host, limits=Limits(seconds=0.3))
        took = time.monotonic() - began
        release.set()
    assert (error.reason, error.retry) == (Reason.SCAN_TIMEOUT, True)
    assert took < 5


async def test_a_manifest_without_end_is_refused() -> None:
    fake = registry()
    fake.source.put(b" " * 5000, "1")
    async with serving(fake.handle) as host:
        assert (await refused(host, limits=Limits(manifest=4000))).reason is Reason.LIMIT_EXCEEDED


async def test_a_header_that_contradicts_the_manifest_is_refused() -> None:
    fake = registry()
    body = fake.source.blobs[fake.source.tags["1"]]

    async def fault(request: web.BaseRequest) -> web.Response | None:
        media_type = "application/vnd.oci.image.index.v1+json; charset=utf-8"
        return web.Response(body=body, headers={"Content-Type": media_type}) if "/manifests/" in request.path else None

    fake.fault = fault
    async with serving(fake.handle) as host:
        assert (await refused(host)).reason is Reason.MANIFEST_INVALID


async def test_the_digest_of_a_tag_is_that_of_the_delivered_bytes() -> None:
    fake = registry()
    async with serving(fake.handle) as host, client(host) as source:
        assert (await source.manifest("1")).digest == fake.source.tags["1"]
        assert source.repository == f"{host}/team/iris"
        with pytest.raises(ImageError):
            await source.manifest("absent")


def test_registries_are_spoken_to_over_https_unless_listed() -> None:
    options = RegistryOptions(frozenset(["r.example.com:5000"]))
    assert options.base_url("r.example.com:5000") == "http://r.example.com:5000"
    assert options.base_url("r.example.com") == "https://r.example.com"
    assert options.base_url("docker.io") == "https://registry-1.docker.io"
