"""The client of the OCI distribution API, for reading: manifests and blobs, with the authentication that registries ask for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

import aiohttp

from lockstep.api.reasons import Reason
from lockstep.canonical import sha256_of
from lockstep.images.authentication import Authenticator, retry_after
from lockstep.images.credentials import Credentials
from lockstep.images.image import Descriptor, ImageError
from lockstep.images.limits import Limits
from lockstep.images.reference import Reference
from lockstep.images.referrers import INDEX, MAX_PAGES, bounded, fallback_tag, next_page, parse_referrers
from lockstep.images.resolve import ACCEPTED
from lockstep.images.source import Manifest, media_type_of

_CHUNK = 256 * 1024
_MAX_REDIRECTS = 3
_MANIFEST_TIMEOUT = aiohttp.ClientTimeout(total=20)
# A blob may take as long as the scan's deadline allows; silence may not.
_BLOB_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=30)


@dataclass(frozen=True)
class RegistryOptions:
    """What the platform team says of registries."""

    insecure: frozenset[str] = frozenset()
    """Registries (host or host:port) that are spoken to over plain HTTP."""

    def base_url(self, registry: str) -> str:
        """Return the URL of a registry's API."""
        host = "registry-1.docker.io" if registry == "docker.io" else registry
        return f"{'http' if registry in self.insecure else 'https'}://{host}"


class RegistrySource:
    """Reads one repository of a registry."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        reference: Reference,
        credentials: Credentials,
        options: RegistryOptions,
        limits: Limits,
    ) -> None:
        self._session = session
        self._reference = reference
        self._base = options.base_url(reference.registry)
        self._limits = limits
        self._authenticator = Authenticator(session, reference, self._base, credentials)

    @property
    def repository(self) -> str:
        """`registry/repository`."""
        return self._reference.name

    async def manifest(self, wanted: str) -> Manifest:
        """See `ImageSource.manifest`."""
        url = f"{self._base}/v2/{self._reference.repository}/manifests/{wanted}"
        async with self._get(url, _MANIFEST_TIMEOUT, {"Accept": ACCEPTED}, wanted) as response:
            body = await self._bounded(response, self._limits.manifest)
            digest = sha256_of(body)
            if wanted.startswith("sha256:") and digest != wanted:
                message = f"{self._reference.registry} delivered other content under {wanted}"
                raise ImageError(Reason.DIGEST_MISMATCH, message, retry=True)
            stated = media_type_of(body)
            delivered = response.headers.get("Content-Type", "").partition(";")[0].strip()
            if delivered.startswith(("application/vnd.oci.", "application/vnd.docker.")) and delivered != stated:
                raise ImageError(Reason.MANIFEST_INVALID, f"the manifest says that it is {stated}, its header {delivered}")
            return Manifest(stated, digest, body)

    async def _bounded(self, response: aiohttp.ClientResponse, limit: int) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK):
            body += chunk
            if len(body) > limit:
                raise ImageError(Reason.LIMIT_EXCEEDED, f"the manifest has more than {limit} bytes")
        return bytes(body)

    @asynccontextmanager
    async def blob(self, descriptor: Descriptor) -> AsyncIterator[AsyncIterator[bytes]]:
        """See `ImageSource.blob`."""
        url = f"{self._base}/v2/{self._reference.repository}/blobs/{descriptor.digest}"
        async with self._get(url, _BLOB_TIMEOUT, {}, descriptor.digest) as response:
            yield self._chunks(response)

    async def referrers(self, digest: str, artifact_type: str) -> list[Descriptor]:
        """See `ImageSource.referrers`. The registry's filter is not relied on: it may ignore it."""
        first = f"{self._base}/v2/{self._reference.repository}/referrers/{digest}?artifactType={quote(artifact_type, safe='')}"
        url: str | None = first
        found: list[Descriptor] = []
        for _ in range(MAX_PAGES):
            if url is None:
                return found
            try:
                async with self._get(url, _MANIFEST_TIMEOUT, {"Accept": INDEX}, "referrers") as response:
                    body = await self._bounded(response, self._limits.manifest)
                    following = next_page(response.headers.get("Link", ""), url)
            except ImageError as error:
                if error.reason is not Reason.IMAGE_NOT_FOUND or url != first:
                    raise
                return await self._fallback(digest, artifact_type)
            found = bounded(found + parse_referrers(body, artifact_type))
            url = following
        raise ImageError(Reason.REFERRERS_EXCEEDED, f"the list of the image's referrers has more than {MAX_PAGES} pages")

    async def _fallback(self, digest: str, artifact_type: str) -> list[Descriptor]:
        """Read the list where a registry without the referrers API has it: under a tag (distribution-spec 1.1)."""
        try:
            listed = await self.manifest(fallback_tag(digest))
        except ImageError as error:
            if error.reason is Reason.IMAGE_NOT_FOUND:
                return []
            raise
        return bounded(parse_referrers(listed.body, artifact_type))

    async def _chunks(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        try:
            async for chunk in response.content.iter_chunked(_CHUNK):
                yield chunk
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unreachable(error) from error

    @asynccontextmanager
    async def _get(
        self, url: str, patience: aiohttp.ClientTimeout, headers: dict[str, str], what: str
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            response = await self._authorised(url, patience, headers)
            try:
                self._check(response, what)
                yield response
            finally:
                response.close()
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError) as error:
            raise self._unreachable(error) from error

    async def _authorised(self, url: str, patience: aiohttp.ClientTimeout, headers: dict[str, str]) -> aiohttp.ClientResponse:
        """Ask with each of the credentials in turn until one opens the repository, anonymously last."""
        response = await self._following(url, patience, headers | self._authenticator.headers())
        while response.status in (401, 403):
            challenge = response.headers.get("WWW-Authenticate", "")
            response.close()
            if not await self._authenticator.answer(challenge):
                message = f"{self._reference.registry} does not let these credentials read {self._reference.repository}"
                raise ImageError(Reason.IMAGE_UNAUTHORIZED, message)
            response = await self._following(url, patience, headers | self._authenticator.headers())
        self._authenticator.opened()
        return response

    async def _following(self, url: str, patience: aiohttp.ClientTimeout, headers: dict[str, str]) -> aiohttp.ClientResponse:
        """Follow redirects; credentials never go to another host, nor from HTTPS to HTTP."""
        for _ in range(_MAX_REDIRECTS + 1):
            response = await self._session.get(url, headers=headers, timeout=patience, allow_redirects=False)
            if response.status not in (301, 302, 303, 307, 308):
                return response
            target = urljoin(url, response.headers.get("Location", ""))
            response.close()
            before, after = urlsplit(url), urlsplit(target)
            if after.scheme not in ("http", "https") or (before.scheme == "https" and after.scheme != "https"):
                raise ImageError(Reason.MANIFEST_INVALID, f"{self._reference.registry} redirects to an insecure address")
            if before.netloc != after.netloc:
                headers = {key: value for key, value in headers.items() if key != "Authorization"}
            url = target
        raise ImageError(Reason.IMAGE_REGISTRY_UNREACHABLE, f"{self._reference.registry} redirects too often", retry=True)

    def _check(self, response: aiohttp.ClientResponse, what: str) -> None:
        if response.status == 200:
            return
        where = f"{self._reference.registry} answered {response.status}"
        if response.status == 404:
            raise ImageError(Reason.IMAGE_NOT_FOUND, f"{self._reference.name} has no {what}")
        if response.status == 429:
            raise ImageError(Reason.IMAGE_REGISTRY_RATE_LIMITED, where, retry=True, retry_after=retry_after(response))
        raise ImageError(Reason.IMAGE_REGISTRY_UNREACHABLE, where, retry=True)

    def _unreachable(self, error: BaseException) -> ImageError:
        why = str(error) or type(error).__name__
        message = f"{self._reference.registry} did not answer: {why}"
        return ImageError(Reason.IMAGE_REGISTRY_UNREACHABLE, message, retry=True)
