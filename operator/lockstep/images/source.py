"""The port through which manifests and blobs are read, whatever holds them: a registry, a directory, an archive."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from lockstep.api.reasons import Reason
from lockstep.formats.canonical import strict_json
from lockstep.images.image import Descriptor, ImageError


@dataclass(frozen=True)
class Manifest:
    """A manifest or index as it was delivered, with the digest of exactly these bytes."""

    media_type: str
    digest: str
    body: bytes


class ImageSource(Protocol):
    """Reads one repository. Every call has a timeout; what is delivered is not yet verified beyond a manifest's digest."""

    @property
    def repository(self) -> str:
        """`registry/repository`, or what stands for it."""
        ...

    async def manifest(self, wanted: str) -> Manifest:
        """Read a manifest or index by tag or digest.

        Raises:
            ImageError: it does not exist, can't be had, or does not have the digest that it was asked by.
        """
        ...

    def blob(self, descriptor: Descriptor) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open a blob for reading in chunks.

        Raises:
            ImageError: it does not exist or can't be had.
        """
        ...

    async def referrers(self, digest: str, artifact_type: str) -> list[Descriptor]:
        """List the manifests that say that they are about `digest` and are, or may be, of an artifact type.

        Raises:
            ImageError: they can't be had, or are more than is read (ReferrersExceeded).
        """
        ...


_KEYS = ("mediaType", "manifests", "layers", "config", "schemaVersion")


def media_type_of(body: bytes) -> str:
    """Return the media type that a manifest states, else the OCI type that its fields suggest (a manifest need not state it).

    Raises:
        ImageError: it is no JSON object.
    """
    try:
        stated: Any = strict_json(body)
    except ValueError as error:
        raise ImageError(Reason.MANIFEST_INVALID, f"the manifest is no JSON that all read alike: {error}") from error
    if not isinstance(stated, dict):
        raise ImageError(Reason.MANIFEST_INVALID, "the manifest is no JSON object")
    if wrong := sorted(key for key in stated if key not in _KEYS and key.casefold() in {known.casefold() for known in _KEYS}):
        # Go, and so every container runtime, reads keys without regard to case.
        raise ImageError(Reason.MANIFEST_INVALID, f"the manifest has the key {wrong[0]!r}, which some take for another")
    if "manifests" in stated and "layers" in stated:
        raise ImageError(Reason.MANIFEST_INVALID, "the manifest is an index and an image at once")
    implied = (
        "application/vnd.oci.image.index.v1+json" if "manifests" in stated else "application/vnd.oci.image.manifest.v1+json"
    )
    return str(stated.get("mediaType") or implied)
