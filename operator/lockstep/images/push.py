"""Writes to a registry (distribution-spec, "Pushing"): small blobs in one piece, and manifests under a tag."""

from urllib.parse import urljoin, urlsplit

import aiohttp

from lockstep.api.reasons import Reason
from lockstep.canonical import sha256_of
from lockstep.images.authentication import Authenticator, retry_after
from lockstep.images.credentials import Credentials
from lockstep.images.image import ImageError
from lockstep.images.reference import Reference
from lockstep.images.registry import RegistryOptions

_TIMEOUT = aiohttp.ClientTimeout(total=120)


class RegistryPush:
    """Writes to one repository with the credentials of the person who runs a command. The operator never writes."""

    def __init__(
        self, session: aiohttp.ClientSession, reference: Reference, credentials: Credentials, options: RegistryOptions
    ) -> None:
        self._session = session
        self._reference = reference
        self._base = options.base_url(reference.registry)
        self._authenticator = Authenticator(session, reference, self._base, credentials, "pull,push")

    async def blob(self, body: bytes) -> str:
        """Store a blob and return its digest.

        Raises:
            ImageError: the registry does not take it.
        """
        digest = sha256_of(body)
        start = f"{self._base}/v2/{self._reference.repository}/blobs/uploads/"
        headers = await self._send("POST", start, b"", {}, 202)
        location = urljoin(start, headers.get("Location", ""))
        glue = "&" if urlsplit(location).query else "?"
        await self._send("PUT", f"{location}{glue}digest={digest}", body, {"Content-Type": "application/octet-stream"}, 201)
        return digest

    async def manifest(self, tag: str, media_type: str, body: bytes) -> str:
        """Store a manifest under a tag and return its digest.

        Raises:
            ImageError: the registry does not take it.
        """
        url = f"{self._base}/v2/{self._reference.repository}/manifests/{tag}"
        await self._send("PUT", url, body, {"Content-Type": media_type}, 201)
        return sha256_of(body)

    async def _send(self, method: str, url: str, body: bytes, headers: dict[str, str], expected: int) -> dict[str, str]:
        """Send until one of the credentials is taken, and return the answer's headers."""
        if urlsplit(url)[:2] != urlsplit(self._base)[:2]:
            # Elsewhere the credentials would go to whoever the registry names.
            raise ImageError(
                Reason.IMAGE_REGISTRY_UNREACHABLE, f"{self._reference.registry} wants uploads sent to another host"
            )
        while True:
            try:
                async with self._session.request(
                    method,
                    url,
                    data=body,
                    headers=headers | self._authenticator.headers(),
                    timeout=_TIMEOUT,
                    allow_redirects=False,
                ) as response:
                    if response.status == expected:
                        self._authenticator.opened()
                        return dict(response.headers)
                    if response.status not in (401, 403):
                        raise self._refused(response)
                    challenge = response.headers.get("WWW-Authenticate", "")
            except (aiohttp.ClientError, TimeoutError) as error:
                message = f"{self._reference.registry} did not answer: {str(error) or type(error).__name__}"
                raise ImageError(Reason.IMAGE_REGISTRY_UNREACHABLE, message, retry=True) from error
            if not await self._authenticator.answer(challenge):
                message = f"{self._reference.registry} does not let these credentials write to {self._reference.repository}"
                raise ImageError(Reason.IMAGE_UNAUTHORIZED, message)

    def _refused(self, response: aiohttp.ClientResponse) -> ImageError:
        message = f"{self._reference.registry} answered {response.status} to what was to be stored"
        if response.status == 429:
            return ImageError(Reason.IMAGE_REGISTRY_RATE_LIMITED, message, retry=True, retry_after=retry_after(response))
        return ImageError(Reason.IMAGE_REGISTRY_UNREACHABLE, message, retry=response.status >= 500)
