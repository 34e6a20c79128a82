"""The client of the OCI distribution API, for reading: manifests and blobs, with the authentication that registries ask for."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import quote

import aiohttp
from yarl import URL

from lockstep.api.reasons import Reason
from lockstep.formats.canonical import sha256_of
from lockstep.images.image import Descriptor, ImageError
from lockstep.images.limits import Limits
from lockstep.images.reference import Reference
from lockstep.images.registry.authentication import Authenticator, retry_after
from lockstep.images.registry.credentials import Credentials
from lockstep.images.registry.options import RegistryOptions
from lockstep.images.registry.referrers import INDEX, MAX_PAGES, fallback_tag, limit_referrers, next_page, parse_referrers
from lockstep.images.registry.transport import Transport, origin, web_url
from lockstep.images.resolve import ACCEPTED
from lockstep.images.source import Manifest, media_type_of

_MAX_REDIRECTS = 3


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
        self._reference = reference
        self._base = options.base_url(reference.registry)
        self._limits = limits
        self._transport = Transport(session, reference.registry, options, limits)
        self._authenticator = Authenticator(self._transport, reference, self._base, credentials, options)

    @property
    def repository(self) -> str:
        """`registry/repository`."""
        return self._reference.name

    async def manifest(self, wanted: str) -> Manifest:
        """See `ImageSource.manifest`."""
        url = f"{self._base}/v2/{self._reference.repository}/manifests/{wanted}"
        async with self._get(url, {"Accept": ACCEPTED}, wanted) as response:
            body = await self._transport.body(response, self._limits.manifest)
            if body is None:
                raise ImageError(Reason.LIMIT_EXCEEDED, f"the manifest has more than {self._limits.manifest} bytes")
            digest = sha256_of(body)
            # What the header says is no evidence (distribution-spec, "Pulling manifests"), but a contradiction is.
            header = response.headers.get("Docker-Content-Digest", "")
            for named in (wanted, header):
                if named.startswith("sha256:") and digest != named:
                    message = f"{self._reference.registry} delivered other content under {named[:71]}"
                    raise ImageError(Reason.DIGEST_MISMATCH, message, retry=True)
            stated = media_type_of(body)
            delivered = response.headers.get("Content-Type", "").partition(";")[0].strip()
            if delivered.startswith(("application/vnd.oci.", "application/vnd.docker.")) and delivered != stated:
                raise ImageError(Reason.MANIFEST_INVALID, f"the manifest says that it is {stated}, its header {delivered}")
            return Manifest(stated, digest, body)

    @asynccontextmanager
    async def blob(self, descriptor: Descriptor) -> AsyncIterator[AsyncIterator[bytes]]:
        """See `ImageSource.blob`."""
        url = f"{self._base}/v2/{self._reference.repository}/blobs/{descriptor.digest}"
        async with self._get(url, {}, descriptor.digest) as response:
            yield self._chunks(response, descriptor)

    async def referrers(self, digest: str, artifact_type: str) -> list[Descriptor]:
        """See `ImageSource.referrers`. The registry's filter is not relied on: it may ignore it."""
        first = f"{self._base}/v2/{self._reference.repository}/referrers/{digest}?artifactType={quote(artifact_type, safe='')}"
        url: str | None = first
        descriptors: list[Descriptor] = []
        for _ in range(MAX_PAGES):
            if url is None:
                return descriptors
            try:
                async with self._get(url, {"Accept": INDEX}, "referrers") as response:
                    body = await self._transport.body(response, self._limits.manifest)
                    following = next_page(response.headers.get("Link", ""), url)
            except ImageError as error:
                if error.reason is not Reason.IMAGE_NOT_FOUND or url != first:
                    raise
                return await self._read_fallback_tag(digest, artifact_type)
            if body is None:
                raise ImageError(Reason.REFERRERS_EXCEEDED, f"a list of referrers has more than {self._limits.manifest} bytes")
            descriptors = limit_referrers(descriptors + parse_referrers(body, artifact_type))
            url = following
        raise ImageError(Reason.REFERRERS_EXCEEDED, f"the list of the image's referrers has more than {MAX_PAGES} pages")

    async def _read_fallback_tag(self, digest: str, artifact_type: str) -> list[Descriptor]:
        """Read the list where a registry without the referrers API has it: under a tag (distribution-spec 1.1)."""
        try:
            listed = await self.manifest(fallback_tag(digest))
        except ImageError as error:
            if error.reason is Reason.IMAGE_NOT_FOUND:
                return []
            raise
        return limit_referrers(parse_referrers(listed.body, artifact_type))

    async def _chunks(self, response: aiohttp.ClientResponse, descriptor: Descriptor) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._transport.chunks(response):
            size += len(chunk)
            if size > descriptor.size:
                message = f"{self._reference.registry} delivered more than the {descriptor.size} bytes of {descriptor.digest}"
                raise ImageError(Reason.DIGEST_MISMATCH, message, retry=True)
            yield chunk

    @asynccontextmanager
    async def _get(self, url: str, headers: dict[str, str], what: str) -> AsyncIterator[aiohttp.ClientResponse]:
        response = await self._send_authorised(URL(url), headers)
        try:
            self._check_status(response, what)
            yield response
        finally:
            response.close()

    async def _send_authorised(self, url: URL, headers: dict[str, str]) -> aiohttp.ClientResponse:
        """Ask with each of the credentials in turn until one opens the repository, anonymously last."""
        response = await self._send_following_redirects(url, headers | self._authenticator.headers())
        while response.status in (401, 403):
            challenge = response.headers.get("WWW-Authenticate", "")
            response.close()
            if origin(response.url) != origin(url):
                # Whoever the registry sends to for a blob has no say in who gets its credentials (CVE-2020-15157).
                raise self._transport.unreachable_error(f"the storage that it redirects to answered {response.status}")
            if not await self._authenticator.answer(challenge):
                message = f"{self._reference.registry} does not let these credentials read {self._reference.repository}"
                raise ImageError(Reason.IMAGE_UNAUTHORIZED, message + self._authenticator.describe_withheld())
            response = await self._send_following_redirects(url, headers | self._authenticator.headers())
        self._authenticator.note_accepted()
        return response

    async def _send_following_redirects(self, url: URL, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        """Follow redirects; credentials never go to another host, and nothing from HTTPS to HTTP."""
        for _ in range(_MAX_REDIRECTS + 1):
            response = await self._transport.send("GET", url, headers)
            if response.status not in (301, 302, 303, 307, 308):
                return response
            target = web_url(response.headers.get("Location", ""), url)
            response.close()
            if target is None or (url.scheme == "https" and target.scheme != "https"):
                raise ImageError(Reason.MANIFEST_INVALID, f"{self._reference.registry} redirects to an insecure address")
            if origin(target) != origin(url):
                headers = {key: value for key, value in headers.items() if key != "Authorization"}
            url = target
        raise self._transport.unreachable_error("it redirects too often")

    def _check_status(self, response: aiohttp.ClientResponse, what: str) -> None:
        if response.status == 200:
            return
        if response.status == 404:
            raise ImageError(Reason.IMAGE_NOT_FOUND, f"{self._reference.name} has no {what}")
        wait = retry_after(response)
        if response.status == 429:
            message = f"{self._reference.registry} answered 429"
            raise ImageError(Reason.IMAGE_REGISTRY_RATE_LIMITED, message, retry=True, retry_after=wait)
        raise self._transport.unreachable_error(f"status {response.status}", wait)
