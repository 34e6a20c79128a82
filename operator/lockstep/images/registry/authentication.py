"""Answers a registry's 401: Basic, or a bearer token from the realm that it names (distribution-spec, token specification)."""

import base64
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
from yarl import URL

from lockstep.api.reasons import Reason
from lockstep.images.image import ImageError
from lockstep.images.reference import Reference
from lockstep.images.registry.credentials import Credential, Credentials
from lockstep.images.registry.options import RegistryOptions
from lockstep.images.registry.transport import Transport, web_url

_MAX_TRIED = 16
"""Credentials for one registry that are tried: each costs the registry a request."""
_MAX_WAIT = 3600.0
"""Seconds: what asks to wait longer is asked again all the same."""
_MAX_ANSWER = 1024 * 1024
_PARAMETER = re.compile(r'([a-zA-Z_]+)="([^"]*)"')


class Authenticator:
    """Holds what was agreed with one registry for one repository."""

    def __init__(
        self,
        transport: Transport,
        reference: Reference,
        base: str,
        credentials: Credentials,
        options: RegistryOptions,
        actions: str = "pull",
    ) -> None:
        self._transport = transport
        self._reference = reference
        self._base = URL(base)
        self._scope = f"repository:{reference.repository}:{actions}"
        self._options = options
        self._untried: list[Credential | None] = [*credentials.candidates(reference)[:_MAX_TRIED], None]
        self._header: str | None = None
        self._used: Credential | None = None
        self._opened = False
        self._challenge = ""
        self._withheld_from: str | None = None

    def headers(self) -> dict[str, str]:
        """Return the Authorization header that was agreed last."""
        return {"Authorization": self._header} if self._header else {}

    def note_accepted(self) -> None:
        """Note that the registry took the header that was agreed last."""
        self._opened = self._header is not None

    def describe_withheld(self) -> str:
        """Say from which token service the credentials were kept, as the end of a sentence; empty when from none."""
        if self._withheld_from is None:
            return ""
        return f"; its token service {self._withheld_from} got none, since it is on another host that is not listed for it"

    async def answer(self, challenge: str) -> bool:
        """Answer a challenge with the next credential; False when there is none left.

        Raises:
            ImageError: the token service did not answer.
        """
        # A refusal (403) names no scheme: the next credential is tried as the registry asked for the last.
        self._challenge = challenge or self._challenge
        scheme, _, rest = self._challenge.partition(" ")
        parameters = {key.lower(): value for key, value in _PARAMETER.findall(rest)}
        if self._opened:
            # Tokens are short-lived, scans are not: what opened the repository before is worth a new token.
            self._opened, self._header = False, None
            self._untried.insert(0, self._used)
        while self._untried:
            credential = self._used = self._untried.pop(0)
            if scheme.lower() == "bearer" and parameters.get("realm"):
                header = await self._bearer_header(parameters, credential)
            elif scheme.lower() == "basic" and credential is not None and not credential.identity_token:
                header = _basic_header(credential)
            else:
                header = None
            if header is not None and header != self._header:
                self._header = header
                return True
        return False

    async def _bearer_header(self, parameters: dict[str, str], credential: Credential | None) -> str | None:
        realm = web_url(parameters["realm"])
        if realm is None or not self._options.may_ask(realm, self._base):
            raise ImageError(Reason.IMAGE_UNAUTHORIZED, f"{self._reference.registry} names a token service that is not safe")
        query = {"scope": self._scope}
        if service := parameters.get("service"):
            query["service"] = service
        headers: dict[str, str] = {}
        if credential is not None:
            if not self._options.may_have_credentials(realm, self._base):
                self._withheld_from = (realm.raw_host or "")[:253]
                return None
            if credential.identity_token:
                return await self._exchange_token(realm, query, credential.identity_token)
            headers["Authorization"] = _basic_header(credential)
        return await self._read_token(await self._transport.send("GET", realm.extend_query(query), headers))

    async def _exchange_token(self, realm: URL, query: Mapping[str, str], token: str) -> str | None:
        """Exchange a refresh token (OAuth 2, RFC 6749 section 6)."""
        form = {**query, "grant_type": "refresh_token", "refresh_token": token, "client_id": "lockstep"}
        return await self._read_token(await self._transport.send("POST", realm, {}, form))

    async def _read_token(self, response: aiohttp.ClientResponse) -> str | None:
        try:
            if response.status in (400, 401, 403):
                return None
            if response.status != 200:
                raise self._token_error(response)
            body = await self._transport.body(response, _MAX_ANSWER)
        finally:
            response.close()
        if body is None:
            raise ImageError(Reason.IMAGE_UNAUTHORIZED, "the token service's answer is too large")
        try:
            stated = json.loads(body)
            token = stated.get("token") or stated.get("access_token")
        except (ValueError, AttributeError, RecursionError):
            return None
        return f"Bearer {token}" if isinstance(token, str) and token.isascii() and token.isprintable() else None

    def _token_error(self, response: aiohttp.ClientResponse) -> ImageError:
        wait = retry_after(response)
        if response.status != 429:
            return self._transport.unreachable_error(f"its token service has status {response.status}", wait)
        message = f"the token service of {self._reference.registry} answered 429"
        return ImageError(Reason.IMAGE_REGISTRY_RATE_LIMITED, message, retry=True, retry_after=wait)


def _basic_header(credential: Credential) -> str:
    return "Basic " + base64.b64encode(f"{credential.username}:{credential.password}".encode()).decode()


def retry_after(response: aiohttp.ClientResponse) -> float | None:
    """Return the seconds that a server asks to wait, by number or by date (RFC 9110 10.2.3), at most an hour; None for none."""
    stated = response.headers.get("Retry-After", "")
    if re.fullmatch("[0-9]{1,9}", stated):
        return min(float(stated), _MAX_WAIT)
    try:
        until = parsedate_to_datetime(stated)
        seconds = (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return None
    return min(seconds, _MAX_WAIT) if seconds > 0 else None
