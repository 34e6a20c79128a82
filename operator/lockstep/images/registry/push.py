"""Writes to a registry (distribution-spec, "Pushing"): small blobs in one piece, and manifests under a tag."""

from collections.abc import Mapping
from dataclasses import replace

import aiohttp
from yarl import URL

from lockstep.api.reasons import Reason
from lockstep.formats.canonical import sha256_of
from lockstep.images.image import ImageError
from lockstep.images.limits import Limits
from lockstep.images.reference import Reference
from lockstep.images.registry.authentication import Authenticator, retry_after
from lockstep.images.registry.credentials import Credentials
from lockstep.images.registry.options import RegistryOptions
from lockstep.images.registry.transport import Transport, origin, web_url

_SECONDS = 120.0


class RegistryPush:
    """Writes to one repository with the credentials of the person who runs a command. The operator never writes."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        reference: Reference,
        credentials: Credentials,
        options: RegistryOptions,
        limits: Limits,
    ) -> None:
        self._reference = reference
        self._base = options.base_url(reference.registry)
        # The answer's head comes after the whole body has been sent.
        self._transport = Transport(session, reference.registry, options, replace(limits, head_seconds=_SECONDS))
        self._authenticator = Authenticator(self._transport, reference, self._base, credentials, options, "pull,push")

    async def blob(self, body: bytes) -> str:
        """Store a blob and return its digest.

        Raises:
            ImageError: the registry does not take it.
        """
        digest = sha256_of(body)
        start = f"{self._base}/v2/{self._reference.repository}/blobs/uploads/"
        headers = await self._send("POST", URL(start), b"", {}, 202)
        location = web_url(headers.get("Location", ""), URL(start))
        if location is None or origin(location) != origin(URL(start)):
            # Elsewhere the credentials would go to whoever the registry names.
            message = f"{self._reference.registry} wants uploads sent to another host"
            raise ImageError(Reason.IMAGE_REGISTRY_UNREACHABLE, message)
        target = location.update_query({"digest": digest})
        await self._send("PUT", target, body, {"Content-Type": "application/octet-stream"}, 201)
        return digest

    async def manifest(self, tag: str, media_type: str, body: bytes) -> str:
        """Store a manifest under a tag and return its digest.

        Raises:
            ImageError: the registry does not take it.
        """
        url = URL(f"{self._base}/v2/{self._reference.repository}/manifests/{tag}")
        await self._send("PUT", url, body, {"Content-Type": media_type}, 201)
        return sha256_of(body)

    async def _send(self, method: str, url: URL, body: bytes, headers: dict[str, str], expected: int) -> Mapping[str, str]:
        """Send until one of the credentials is taken, and return the answer's headers."""
        while True:
            response = await self._transport.send(method, url, headers | self._authenticator.headers(), body)
            response.close()
            if response.status == expected:
                self._authenticator.note_accepted()
                return response.headers
            if response.status not in (401, 403):
                raise self._refusal(response)
            if not await self._authenticator.answer(response.headers.get("WWW-Authenticate", "")):
                message = f"{self._reference.registry} does not let these credentials write to {self._reference.repository}"
                raise ImageError(Reason.IMAGE_UNAUTHORIZED, message + self._authenticator.describe_withheld())

    def _refusal(self, response: aiohttp.ClientResponse) -> ImageError:
        message = f"{self._reference.registry} answered {response.status} to what was to be stored"
        if response.status == 429:
            return ImageError(Reason.IMAGE_REGISTRY_RATE_LIMITED, message, retry=True, retry_after=retry_after(response))
        return ImageError(Reason.IMAGE_REGISTRY_UNREACHABLE, message, retry=response.status >= 500)
