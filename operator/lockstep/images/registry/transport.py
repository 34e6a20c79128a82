"""Sends the registry client's requests: only where they may go, and with an end to every wait."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from ipaddress import ip_address

import aiohttp
from yarl import URL

from lockstep.api.reasons import Reason
from lockstep.images.image import ImageError
from lockstep.images.limits import Limits
from lockstep.images.registry.options import RegistryOptions
from lockstep.images.registry.pace import Pace, TooSlowError
from lockstep.images.registry.resolver import address_refused

_CHUNK = 256 * 1024
# What is waited for is bounded here, not by the session.
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None)
_MAX_URL = 16 * 1024
_MAX_WHY = 200
"""Characters: the library quotes what it can't read."""


class Transport:
    """Speaks for one registry, whose name every error has."""

    def __init__(self, session: aiohttp.ClientSession, registry: str, options: RegistryOptions, limits: Limits) -> None:
        self._session = session
        self._registry = registry
        self._options = options
        self._limits = limits

    async def send(
        self, method: str, url: URL, headers: Mapping[str, str], form: Mapping[str, str] | bytes | None = None
    ) -> aiohttp.ClientResponse:
        """Send a request, with a form or bytes as its body where it has one, and return the answer once its head is there.

        Redirects are the caller's.

        Raises:
            ImageError: ImageRegistryUnreachable, or RegistryAddressRefused.
        """
        self._check(url)
        # Without this the library offers to take a compressed body, which has another digest.
        plain = {"Accept-Encoding": "identity", **headers}
        try:
            async with asyncio.timeout(self._limits.head_seconds):
                return await self._session.request(
                    method, url, headers=plain, data=form, timeout=_NO_TIMEOUT, allow_redirects=False
                )
        except TimeoutError as error:
            raise self.unreachable_error(f"nothing within {self._limits.head_seconds:g} s") from error
        except aiohttp.ClientError as error:
            raise self.unreachable_error(_describe_failure(error)) from error

    async def chunks(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """Give a body as it arrives.

        Raises:
            ImageError: ImageRegistryUnreachable, when it breaks off or comes too slowly.
        """
        pace = Pace(response.content, self._limits.rate, self._limits.rate_window)
        try:
            while chunk := await pace.read(_CHUNK):
                yield chunk
        except TooSlowError as error:
            raise self.unreachable_error(str(error)) from error
        except aiohttp.ClientError as error:
            raise self.unreachable_error(_describe_failure(error)) from error

    async def body(self, response: aiohttp.ClientResponse, limit: int) -> bytes | None:
        """Return a whole body; None when it has more than `limit` bytes."""
        body = bytearray()
        async for chunk in self.chunks(response):
            body += chunk
            if len(body) > limit:
                return None
        return bytes(body)

    def unreachable_error(self, why: str, retry_after: float | None = None) -> ImageError:
        """Return the error that waiting may help against."""
        message = f"{self._registry} did not answer: {why[:_MAX_WHY]}"
        return ImageError(Reason.IMAGE_REGISTRY_UNREACHABLE, message, retry=True, retry_after=retry_after)

    def _check(self, url: URL) -> None:
        """Refuse an address that stands in the URL itself, which no resolver sees."""
        host, port = url.raw_host or "", url.port or 0
        if not (":" in host or host.replace(".", "").isdigit()):
            return
        try:
            ip_address(host)
        except ValueError:
            # `127.1` and `2130706433` are addresses to some, and names to others.
            raise address_refused(host, port, "an address in a form that not all read alike") from None
        if (why := self._options.refusal(host, port, host)) is not None:
            raise address_refused(host, port, why)


def _describe_failure(error: aiohttp.ClientError) -> str:
    """Say what failed, but no address: which ones a name has inside the cluster is not everybody's business."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "its name can't be looked up"
        case aiohttp.ClientConnectorCertificateError():
            return f"its certificate is not trusted: {error.certificate_error}"
        case aiohttp.ClientConnectorSSLError():
            return f"no TLS with it: {error.os_error.strerror or type(error).__name__}"
        case aiohttp.ClientConnectorError():
            return f"no connection to it: {os.strerror(error.os_error.errno) if error.os_error.errno else 'none came about'}"
    return str(error) or type(error).__name__


def web_url(text: str, base: URL | None = None) -> URL | None:
    """Parse an address of the web; None for every other, and for one with a password in it."""
    if len(text) > _MAX_URL:
        return None
    try:
        # Who joins and splits has to be who connects, or one checks what the other doesn't do.
        url = URL(text) if base is None else base.join(URL(text))
        complete = url.scheme in ("http", "https") and bool(url.raw_host) and url.port is not None
        plain = complete and url.raw_user is None and url.raw_password is None
    except ValueError:
        return None
    return url if plain else None


def origin(url: URL) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port: credentials are for all three together (RFC 6454)."""
    return url.scheme, url.raw_host, url.port
