"""Passwords and tokens: who gets them, and who does not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from lockstep.api.reasons import Reason
from lockstep.images.authentication import Authenticator
from lockstep.images.credentials import Credentials
from lockstep.images.image import ImageError
from lockstep.images.reference import parse_reference
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
        both = Credentials.merged([login(f"{host}/team", "mallory"), login(host)])
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
        assert await read(host, Credentials.merged([login(f"{host}/team", "reader"), login(host)])) == "3.11.2"


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
        for credentials in (login(host), login(host, identitytoken="identity")):
            assert (await refused(host, credentials)).reason is Reason.IMAGE_UNAUTHORIZED
    assert {sent for sent, _ in tokens.requests} == {None}
    assert not any("refresh_token" in form for _, form in tokens.requests)


@pytest.mark.parametrize("realm", ["ftp://127.0.0.1/token", "file:///etc/passwd", "token", ""])
async def test_a_token_service_elsewhere_than_on_the_web_is_refused(realm: str) -> None:
    fake = registry()
    fake.fault = answering(401, WWW_Authenticate=f'Bearer realm="{realm}"')
    async with serving(fake.handle) as host:
        assert (await refused(host, login(host))).reason is Reason.IMAGE_UNAUTHORIZED


async def test_a_registry_over_https_may_not_send_to_a_token_service_over_http() -> None:
    async with aiohttp.ClientSession() as session:
        reference = parse_reference("r.example.com/team/iris")
        authenticator = Authenticator(session, reference, "https://r.example.com", login("r.example.com"))
        with pytest.raises(ImageError) as caught:
            await authenticator.answer('Bearer realm="http://r.example.com/token"')
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
