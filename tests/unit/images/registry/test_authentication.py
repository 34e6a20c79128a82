"""Passwords and tokens: who gets them, and who does not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from lockstep.api.reasons import Reason
from lockstep.images.image import ImageError
from lockstep.images.limits import Limits
from lockstep.images.reference import parse_reference
from lockstep.images.registry.authentication import Authenticator
from lockstep.images.registry.client import RegistrySource
from lockstep.images.registry.credentials import Credentials
from lockstep.images.registry.options import RegistryOptions
from lockstep.images.registry.session import registry_session
from lockstep.images.registry.transport import Transport
from tests.fakes.registry import FakeRegistry, basic, serving
from tests.unit.images.reading import answering, login, read, refused, registry


def asking(scheme: str, accepted: str) -> Any:
    async def fault(request: web.BaseRequest) -> web.Response | None:
        if request.headers.get("Authorization") == accepted:
            return None
        return web.Response(status=401, headers={"WWW-Authenticate": scheme})

    return fault


async def test_a_registry_may_ask_for_a_password() -> None:
    fake = registry()
    fake.fault = asking('Basic realm="r"', basic("alice", "s3cret"))
    async with serving(fake.handle) as host:
        assert await read(host, login(host)) == "3.11.2"
        error = await refused(host, login(host, "mallory"))
        assert error.reason is Reason.IMAGE_UNAUTHORIZED
        assert not error.retry
        assert (await refused(host)).reason is Reason.IMAGE_UNAUTHORIZED


async def test_credentials_are_tried_one_after_the_other() -> None:
    fake = registry()
    fake.fault = asking('Basic realm="r"', basic("alice", "s3cret"))
    async with serving(fake.handle) as host:
        both = Credentials.merge([login(f"{host}/team", "mallory"), login(host)])
        assert await read(host, both) == "3.11.2"


async def test_the_next_credential_is_tried_when_the_first_may_not_read() -> None:
    fake = registry()

    async def fault(request: web.BaseRequest) -> web.Response | None:
        given = request.headers.get("Authorization")
        if given is None:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="r"'})
        return None if given == basic("alice", "s3cret") else web.Response(status=403)

    fake.fault = fault
    async with serving(fake.handle) as host:
        assert await read(host, Credentials.merge([login(f"{host}/team", "reader"), login(host)])) == "3.11.2"


class TokenService:
    """Gives tokens to whom it knows, and counts how often each is taken."""

    def __init__(self, uses: int = 1000) -> None:
        self.realm = ""
        self.requests: list[tuple[str | None, dict[str, str]]] = []
        self.left: dict[str, int] = {}
        self.uses = uses
        self.answer: web.Response | None = None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        form = dict(await request.post()) if request.method == "POST" else dict(request.query)
        self.requests.append((request.headers.get("Authorization"), {key: str(value) for key, value in form.items()}))
        if self.answer is not None:
            return self.answer
        known = form.get("refresh_token") == "identity" or request.headers.get("Authorization") == basic("alice", "s3cret")
        if not known:
            return web.json_response({"token": "anonymous"})
        token = f"token-{len(self.requests)}"
        self.left[token] = self.uses
        return web.json_response({"access_token" if form.get("grant_type") else "token": token})

    async def fault(self, request: web.BaseRequest) -> web.Response | None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.left.get(token, 0) > 0:
            self.left[token] -= 1
            return None
        challenge = f'Bearer realm="{self.realm}",service="registry",scope="repository:other:push"'
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})


@asynccontextmanager
async def with_tokens(tokens: TokenService, realm_host: str = "127.0.0.1") -> AsyncIterator[tuple[FakeRegistry, str]]:
    fake = registry()
    fake.fault = tokens.fault
    async with serving(tokens.handle) as service, serving(fake.handle) as host:
        tokens.realm = f"http://{realm_host}:{service.rpartition(':')[2]}/token"
        yield fake, host


async def test_a_registry_may_send_for_a_token() -> None:
    tokens = TokenService()
    async with with_tokens(tokens) as (_, host):
        assert await read(host, login(host)) == "3.11.2"
    ((sent, query),) = tokens.requests
    assert sent == basic("alice", "s3cret")
    assert query == {"service": "registry", "scope": "repository:team/iris:pull"}


async def test_an_identity_token_is_exchanged() -> None:
    tokens = TokenService()
    async with with_tokens(tokens) as (_, host):
        assert await read(host, login(host, identitytoken="identity")) == "3.11.2"
    ((sent, form),) = tokens.requests
    assert sent is None
    assert form["grant_type"] == "refresh_token"
    assert form["refresh_token"] == "identity"


async def test_a_token_that_expires_on_the_way_is_renewed() -> None:
    tokens = TokenService(uses=1)
    async with with_tokens(tokens) as (_, host):
        assert await read(host, login(host)) == "3.11.2"
    assert len(tokens.requests) == 3
    assert {sent for sent, _ in tokens.requests} == {basic("alice", "s3cret")}


async def test_without_a_login_an_anonymous_token_is_tried() -> None:
    tokens = TokenService()
    async with with_tokens(tokens) as (_, host):
        assert (await refused(host)).reason is Reason.IMAGE_UNAUTHORIZED
        tokens.left["anonymous"] = 99
        assert await read(host) == "3.11.2"
    assert {sent for sent, _ in tokens.requests} == {None}


async def test_a_token_service_on_another_host_gets_no_credentials() -> None:
    tokens = TokenService()
    async with with_tokens(tokens, "localhost") as (_, host):
        service = URL(tokens.realm)
        options = RegistryOptions(frozenset([host, f"{service.host}:{service.port}"]))
        for credentials in (login(host), login(host, identitytoken="identity")):
            error = await refused(host, credentials, options=options)
            assert error.reason is Reason.IMAGE_UNAUTHORIZED
            assert "its token service localhost got none" in error.message
    assert {sent for sent, _ in tokens.requests} == {None}
    assert not any("refresh_token" in form for _, form in tokens.requests)


@pytest.mark.parametrize(
    "realm",
    ["ftp://127.0.0.1/token", "file:///etc/passwd", "token", "", "http://[", "http://h:99999/", "http://u:p@127.0.0.1/"],
)
async def test_a_token_service_elsewhere_than_on_the_web_is_refused(realm: str) -> None:
    fake = registry()
    fake.fault = answering(401, WWW_Authenticate=f'Bearer realm="{realm}"')
    async with serving(fake.handle) as host:
        assert (await refused(host, login(host))).reason is Reason.IMAGE_UNAUTHORIZED


@pytest.mark.parametrize(
    ("realm", "asked", "trusted"),
    [
        ("https://registry.example.com/token", True, True),
        ("https://REGISTRY.example.com:8443/token", True, True),
        ("https://example.com/token", True, True),
        ("https://listed.example.org/token", True, True),
        ("https://listed.example.org:8443/token", True, False),
        ("http://listed.example.org/token", False, False),
        ("http://registry.example.com/token", False, False),
        ("https://auth.example.com/token", True, False),
        ("https://com/token", True, False),
        ("https://try.example.com/token", True, False),
        ("https://registry.example.com.evil.org/token", True, False),
        ("https://auth.docker.io/token", True, False),
    ],
)
def test_credentials_go_to_the_registrys_own_host_and_to_listed_ones(realm: str, asked: bool, trusted: bool) -> None:
    options = RegistryOptions(token_services=frozenset(["Listed.example.org"]))
    base = URL("https://registry.example.com")
    assert options.may_ask(URL(realm), base) is asked
    assert options.may_have_credentials(URL(realm), base) is trusted


def test_two_parties_under_one_suffix_are_not_one() -> None:
    for ours, theirs in (("registry.bank.co.uk", "evil.co.uk"), ("bank.azurecr.io", "evil.azurecr.io")):
        assert not RegistryOptions().may_have_credentials(URL(f"https://{theirs}/token"), URL(f"https://{ours}"))


def test_docker_hub_has_its_token_service() -> None:
    options = RegistryOptions()
    hub = URL(options.base_url("docker.io"))
    assert options.may_have_credentials(URL("https://auth.docker.io/token"), hub)
    assert not options.may_have_credentials(URL("http://auth.docker.io/token"), hub)
    assert not options.may_have_credentials(URL("https://auth.docker.io.evil.org/token"), hub)


def test_plain_http_is_for_the_same_host_or_a_listed_one() -> None:
    options = RegistryOptions(insecure=frozenset(["r.example.com:5000", "tokens.example.com"]))
    base = URL(options.base_url("r.example.com:5000"))
    assert options.may_ask(URL("http://r.example.com:5001/token"), base)
    assert options.may_ask(URL("http://tokens.example.com/token"), base)
    assert not options.may_have_credentials(URL("http://tokens.example.com/token"), base)
    assert not options.may_ask(URL("http://10.0.0.1/latest"), base)


async def test_a_registry_over_https_may_not_send_to_a_token_service_over_http() -> None:
    options = RegistryOptions()
    async with registry_session(options) as session:
        reference = parse_reference("r.example.com/team/iris")
        transport = Transport(session, reference.registry, options, Limits())
        authenticator = Authenticator(transport, reference, "https://r.example.com", login("r.example.com"), options)
        with pytest.raises(ImageError) as caught:
            await authenticator.answer('Bearer realm="http://r.example.com/token"')
    assert caught.value.reason is Reason.IMAGE_UNAUTHORIZED


async def test_no_more_credentials_are_tried_than_a_registry_bears() -> None:
    fake = registry()
    fake.fault = asking('Basic realm="r"', basic("nobody", ""))
    async with serving(fake.handle) as host:
        many = Credentials.merge([login(host, f"user-{number}") for number in range(100)])
        assert (await refused(host, many)).reason is Reason.IMAGE_UNAUTHORIZED
    assert len(fake.requests) == 17


async def test_the_storage_that_a_registry_sends_to_can_not_ask_for_its_credentials() -> None:
    storage, fake, tokens = registry(), registry(), TokenService()
    async with serving(storage.handle) as elsewhere, serving(fake.handle) as host, serving(tokens.handle) as service:
        storage.fault = answering(401, WWW_Authenticate=f'Bearer realm="http://{service}/token"')

        async def fault(request: web.BaseRequest) -> web.Response | None:
            if request.headers.get("Authorization") != basic("alice", "s3cret"):
                return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="r"'})
            return web.Response(status=307, headers={"Location": f"http://{elsewhere}{request.path}"})

        fake.fault = fault
        error = await refused(host, login(host))
    assert (error.reason, error.retry) == (Reason.IMAGE_REGISTRY_UNREACHABLE, True)
    assert tokens.requests == []
    assert set(storage.authorizations()) == {None}


@pytest.mark.parametrize("kept", [True, False], ids=["a session that keeps cookies", "the registry client's"])
async def test_a_login_of_one_namespace_opens_nothing_for_another(kept: bool) -> None:
    """Registries with a web interface answer a login with a cookie, and take it for one."""
    fake = registry()

    async def fault(request: web.BaseRequest) -> web.StreamResponse | None:
        if request.cookies.get("sid") == "alice":
            return None
        if request.headers.get("Authorization") != basic("alice", "s3cret"):
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="r"'})
        body = fake.source.blobs[fake.source.tags["1"]]
        return web.Response(body=body, headers={"Set-Cookie": "sid=alice; Path=/"})

    fake.fault = fault
    async with serving(fake.handle) as host:
        options = RegistryOptions(frozenset([host]))
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) if kept else registry_session(options) as session:
            reference = parse_reference(f"{host}/team/iris:1")
            await RegistrySource(session, reference, login(host), options, Limits()).manifest("1")
            stranger = RegistrySource(session, reference, Credentials(), options, Limits())
            if kept:
                assert await stranger.manifest("1"), "so the test would see it"
                return
            with pytest.raises(ImageError) as caught:
                await stranger.manifest("1")
            assert caught.value.reason is Reason.IMAGE_UNAUTHORIZED


@pytest.mark.parametrize(
    ("answer", "reason", "retry"),
    [
        (web.Response(status=503), Reason.IMAGE_REGISTRY_UNREACHABLE, True),
        (web.Response(status=429, headers={"Retry-After": "9"}), Reason.IMAGE_REGISTRY_RATE_LIMITED, True),
        (web.Response(status=403), Reason.IMAGE_UNAUTHORIZED, False),
        (web.Response(text="no json"), Reason.IMAGE_UNAUTHORIZED, False),
        (web.Response(text="[" * 100_000), Reason.IMAGE_UNAUTHORIZED, False),
        (web.Response(text='{"token": 1}'), Reason.IMAGE_UNAUTHORIZED, False),
        (web.Response(text='{"token": "a\\r\\nX-Evil: 1"}'), Reason.IMAGE_UNAUTHORIZED, False),
        (web.Response(text=" " * (2 << 20)), Reason.IMAGE_UNAUTHORIZED, False),
    ],
)
async def test_a_token_service_may_fail(answer: web.Response, reason: Reason, retry: bool) -> None:
    tokens = TokenService()
    tokens.answer = answer
    async with with_tokens(tokens) as (_, host):
        error = await refused(host)
    assert (error.reason, error.retry) == (reason, retry)
    assert error.retry_after == (9.0 if reason is Reason.IMAGE_REGISTRY_RATE_LIMITED else None)
