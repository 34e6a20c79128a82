"""Answers a registry's 401: Basic, or a bearer token from the realm that it names (distribution-spec, token specification)."""

import base64
import json
import re
from urllib.parse import urlsplit

import aiohttp

from lockstep.api.reasons import Reason
from lockstep.images.credentials import Credential, Credentials
from lockstep.images.image import ImageError
from lockstep.images.reference import Reference

_TIMEOUT = aiohttp.ClientTimeout(total=20)
_MAX_ANSWER = 1024 * 1024
_PARAMETER = re.compile(r'([a-zA-Z_]+)="([^"]*)"')


class Authenticator:
    """Holds what was agreed with one registry for one repository."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        reference: Reference,
        base: str,
        credentials: Credentials,
        actions: str = "pull",
    ) -> None:
        self._session = session
        self._reference = reference
        self._base = base
        self._scope = f"repository:{reference.repository}:{actions}"
        self._untried: list[Credential | None] = [*credentials.candidates(reference), None]
        self._header: str | None = None
        self._used: Credential | None = None
        self._opened = False
        self._challenge = ""

    def headers(self) -> dict[str, str]:
        """Return the Authorization header that was agreed last."""
        return {"Authorization": self._header} if self._header else {}

    def opened(self) -> None:
        """Note that the registry took the header that was agreed last."""
        self._opened = self._header is not None

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
                header = await self._bearer(parameters, credential)
            elif scheme.lower() == "basic" and credential is not None and not credential.identity_token:
                header = _basic(credential)
            else:
                header = None
            if header is not None and header != self._header:
                self._header = header
                return True
        return False

    async def _bearer(self, parameters: dict[str, str], credential: Credential | None) -> str | None:
        realm = parameters["realm"]
        if not self._may_ask(realm):
            raise ImageError(Reason.IMAGE_UNAUTHORIZED, f"{self._reference.registry} names a token service that is not safe")
        query = {"scope": self._scope}
        if service := parameters.get("service"):
            query["service"] = service
        headers: dict[str, str] = {}
        if credential is not None and self._trusted_with_credentials(realm):
            if credential.identity_token:
                return await self._exchanged(realm, query, credential.identity_token)
            headers["Authorization"] = _basic(credential)
        elif credential is not None:
            return None
        asked = self._session.get(realm, params=query, headers=headers, timeout=_TIMEOUT, allow_redirects=False)
        async with asked as response:
            return await self._token(response)

    async def _exchanged(self, realm: str, query: dict[str, str], token: str) -> str | None:
        """Exchange a refresh token (OAuth 2, RFC 6749 section 6)."""
        form = query | {"grant_type": "refresh_token", "refresh_token": token, "client_id": "lockstep"}
        async with self._session.post(realm, data=form, timeout=_TIMEOUT, allow_redirects=False) as response:
            return await self._token(response)

    async def _token(self, response: aiohttp.ClientResponse) -> str | None:
        if response.status in (400, 401, 403):
            return None
        if response.status != 200:
            limited = response.status == 429
            message = f"the token service of {self._reference.registry} answered {response.status}"
            reason = Reason.IMAGE_REGISTRY_RATE_LIMITED if limited else Reason.IMAGE_REGISTRY_UNREACHABLE
            raise ImageError(reason, message, retry=True, retry_after=retry_after(response) if limited else None)
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > _MAX_ANSWER:
                raise ImageError(Reason.IMAGE_UNAUTHORIZED, "the token service's answer is too large")
        try:
            stated = json.loads(body)
            token = stated.get("token") or stated.get("access_token")
        except (ValueError, AttributeError, RecursionError):
            return None
        return f"Bearer {token}" if isinstance(token, str) and token.isprintable() else None

    def _may_ask(self, realm: str) -> bool:
        parts = urlsplit(realm)
        return parts.scheme == "https" or (parts.scheme == "http" and self._base.startswith("http://"))

    def _trusted_with_credentials(self, realm: str) -> bool:
        """Credentials go to the registry's own host, or over HTTPS to one of the same domain; to nobody else."""
        theirs, ours = urlsplit(realm), urlsplit(self._base)
        if theirs.hostname == ours.hostname:
            return theirs.scheme == ours.scheme or theirs.scheme == "https"
        return theirs.scheme == "https" and _domain(theirs.hostname or "") == _domain(ours.hostname or "")


def _basic(credential: Credential) -> str:
    return "Basic " + base64.b64encode(f"{credential.username}:{credential.password}".encode()).decode()


def retry_after(response: aiohttp.ClientResponse) -> float | None:
    """Return the seconds that a server asks to wait; None where it states none (or a date)."""
    seconds = response.headers.get("Retry-After", "")
    return float(seconds) if re.fullmatch("[0-9]{1,9}", seconds) else None


def _domain(host: str) -> str:
    if host.replace(".", "").isdigit():
        return host
    return ".".join(host.split(".")[-2:])
