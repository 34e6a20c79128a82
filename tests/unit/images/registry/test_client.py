"""The registry client against real servers on the loopback device."""

import asyncio
import contextlib
import gzip
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from lockstep.api.reasons import Reason
from lockstep.images.image import Descriptor, ImageError
from lockstep.images.limits import Limits
from lockstep.images.reference import parse_reference
from lockstep.images.registry.client import RegistrySource
from lockstep.images.registry.credentials import Credentials
from lockstep.images.registry.options import RegistryOptions
from lockstep.images.resolve import resolve
from tests.fakes.images import LINUX
from tests.fakes.registry import FakeRegistry, basic, serving
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
        reference, limits, options = (
            parse_reference(f"{host}/team/iris:1"),
            Limits(),
            RegistryOptions(private=frozenset([host])),
        )
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session:
            source = RegistrySource(session, reference, Credentials(), options, limits)
            image = await resolve(source, "1", LINUX, limits)
            assert (await scan(source, image, limits)).document.python.version == "3.11.2"
        async with aiohttp.ClientSession() as session:
            source = RegistrySource(session, reference, Credentials(), options, limits)
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


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "ftp://127.0.0.1/", "http://[", "http://h:99999/", "http://u:p@127.0.0.1/"],
)
async def test_redirects_elsewhere_than_on_the_web_are_refused(location: str) -> None:
    fake = registry()
    fake.fault = answering(302, Location=location)
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
        (429, {"Retry_After": "999999999"}, Reason.IMAGE_REGISTRY_RATE_LIMITED, True, 3600.0),
        (429, {"Retry_After": "Fri, 31 Dec 2199 23:59:59 GMT"}, Reason.IMAGE_REGISTRY_RATE_LIMITED, True, 3600.0),
        (429, {"Retry_After": "Fri, 99 Dec 99999"}, Reason.IMAGE_REGISTRY_RATE_LIMITED, True, None),
        (503, {"Retry_After": "17"}, Reason.IMAGE_REGISTRY_UNREACHABLE, True, 17.0),
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
    named = f"localhost:{host.rpartition(':')[2]}"
    error = await refused(named)
    assert (error.reason, error.retry) == (Reason.IMAGE_REGISTRY_UNREACHABLE, True)
    assert error.message == f"{named} did not answer: no connection to it: Connection refused"


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


async def test_a_redirect_from_https_to_http_is_refused(tmp_path: Path) -> None:
    fake, plain = registry(), registry()
    server, trusting = contexts(tmp_path)
    async with serving(plain.handle) as elsewhere, serving(fake.handle, tls=server) as host:
        fake.fault = answering(307, Location=f"http://{elsewhere}/v2/team/iris/manifests/1")
        options = RegistryOptions(private=frozenset([host]), insecure=frozenset([elsewhere]))
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session:
            source = RegistrySource(session, parse_reference(f"{host}/team/iris:1"), Credentials(), options, Limits())
            with pytest.raises(ImageError) as caught:
                await source.manifest("1")
    assert caught.value.reason is Reason.MANIFEST_INVALID
    assert plain.requests == []


async def test_a_digest_header_that_contradicts_the_body_is_refused() -> None:
    fake = registry()
    body = fake.source.blobs[fake.source.tags["1"]]

    async def fault(request: web.BaseRequest) -> web.Response | None:
        headers = {"Docker-Content-Digest": f"sha256:{'0' * 64}"}
        return web.Response(body=body, headers=headers) if "/manifests/" in request.path else None

    fake.fault = fault
    async with serving(fake.handle) as host:
        error = await refused(host)
    assert (error.reason, error.retry) == (Reason.DIGEST_MISMATCH, True)


async def test_bodies_are_asked_for_and_taken_as_they_are() -> None:
    fake = registry()

    async def fault(request: web.BaseRequest) -> web.StreamResponse | None:
        if request.headers.get("Accept-Encoding") == "identity":
            return None
        return web.Response(body=gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"})

    fake.fault = fault
    async with serving(fake.handle) as host:
        assert await read(host) == "3.11.2"


async def test_a_layer_that_is_said_to_be_encoded_is_not_decoded_for_its_digest() -> None:
    """Object stores keep `Content-Encoding: gzip` beside a layer that is gzip itself."""
    fake = registry()

    async def fault(request: web.BaseRequest) -> web.StreamResponse | None:
        if not request.path.endswith(LAYER.descriptor.digest):
            return None
        return web.Response(body=LAYER.blob, headers={"Content-Encoding": "gzip"})

    fake.fault = fault
    async with serving(fake.handle) as host:
        assert await read(host) == "3.11.2"


@pytest.mark.parametrize("kind", ["manifests", "config", "layer"])
async def test_a_chunked_body_without_end_is_given_up_at_its_size(kind: str) -> None:
    fake = registry()
    written = 0

    async def fault(request: web.BaseRequest) -> web.StreamResponse | None:
        nonlocal written
        digest = request.path.endswith(LAYER.descriptor.digest)
        if kind != ("manifests" if "/manifests/" in request.path else "layer" if digest else "config"):
            return None
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        while written < 1 << 30:
            try:
                await response.write(bytes(65536))
            except ConnectionError:
                break
            written += 65536
        return response

    fake.fault = fault
    async with serving(fake.handle) as host:
        error = await refused(host)
    assert error.reason is (Reason.LIMIT_EXCEEDED if kind == "manifests" else Reason.DIGEST_MISMATCH)
    assert written < 32 << 20


async def test_a_blob_is_not_delivered_beyond_its_size() -> None:
    fake = registry()
    digest = fake.source.put(b"0123456789")
    async with serving(fake.handle) as host, client(host) as source, source.blob(Descriptor("", digest, 9)) as chunks:
        with pytest.raises(ImageError) as caught:
            await anext(chunks)
    assert (caught.value.reason, caught.value.retry) == (Reason.DIGEST_MISMATCH, True)


@pytest.mark.parametrize("length", [10, 10_000_000])
async def test_a_length_that_lies_is_found_out(length: int) -> None:
    fake = registry()

    async def fault(request: web.BaseRequest) -> web.StreamResponse | None:
        if not request.path.endswith(LAYER.descriptor.digest):
            return None
        response = web.StreamResponse(headers={"Content-Length": str(length)})
        await response.prepare(request)
        assert request.transport is not None
        request.transport.write(LAYER.blob)
        request.transport.close()
        return response

    fake.fault = fault
    async with serving(fake.handle) as host:
        error = await refused(host)
    assert error.reason in (Reason.DIGEST_MISMATCH, Reason.IMAGE_REGISTRY_UNREACHABLE)
    assert error.retry


async def test_proxies_of_the_process_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    fake = registry()
    async with serving(fake.handle) as host:
        assert await read(host) == "3.11.2"


# --- slowness -----------------------------------------------------------------------------------------------------------

IMPATIENT = Limits(head_seconds=0.2, rate=1_000_000, rate_window=0.2)


async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
    """Answer with a head, then with a byte now and then, for as long as somebody listens."""
    with contextlib.suppress(ConnectionError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)


@asynccontextmanager
async def trickling(head: bytes) -> AsyncIterator[str]:
    tasks: set[asyncio.Task[None]] = set()

    def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(trickle(reader, writer, head)))

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


HEADS = {
    "nothing": b"",
    "head": b"HTTP/1.1 200 OK\r\nX-Slow: ",
    "body": b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
async def test_a_registry_that_trickles_is_given_up(head: bytes) -> None:
    async with asyncio.timeout(20), trickling(head) as host:
        error = await refused(host, limits=IMPATIENT)
    assert (error.reason, error.retry) == (Reason.IMAGE_REGISTRY_UNREACHABLE, True)


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
async def test_a_token_service_that_trickles_is_given_up(head: bytes) -> None:
    fake = registry()
    async with asyncio.timeout(20), trickling(head) as service, serving(fake.handle) as host:
        fake.fault = answering(401, WWW_Authenticate=f'Bearer realm="http://{service}/token"')
        error = await refused(host, login(host), limits=IMPATIENT)
    assert (error.reason, error.retry) == (Reason.IMAGE_REGISTRY_UNREACHABLE, True)


def stalling() -> tuple[FakeRegistry, asyncio.Event]:
    """Return a registry that sends the beginning of the layer and no more until it is released."""
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
    return fake, release


async def test_a_layer_that_trickles_is_given_up_before_the_scans_deadline() -> None:
    fake, release = stalling()
    async with serving(fake.handle) as host:
        error = await refused(host, limits=IMPATIENT)
        release.set()
    assert (error.reason, error.retry) == (Reason.IMAGE_REGISTRY_UNREACHABLE, True)


async def test_a_body_without_end_stops_at_the_deadline() -> None:
    fake, release = stalling()
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


async def test_an_error_of_the_library_is_told_in_short() -> None:
    fake = registry()
    fake.fault = answering(200, X_Long="h" * 9000)
    async with serving(fake.handle) as host:
        error = await refused(host)
    assert error.reason is Reason.IMAGE_REGISTRY_UNREACHABLE
    assert len(error.message) < 400


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
