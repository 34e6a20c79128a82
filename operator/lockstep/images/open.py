"""Opens whatever a reference names: a registry's repository, or an OCI layout (`oci:DIR[:TAG]`, `oci-archive:FILE`)."""

from pathlib import Path

import aiohttp

from lockstep.api.reasons import Reason
from lockstep.images.image import ImageError
from lockstep.images.layout import LayoutSource
from lockstep.images.limits import Limits
from lockstep.images.reference import parse_reference
from lockstep.images.registry.client import RegistrySource
from lockstep.images.registry.credentials import Credentials
from lockstep.images.registry.options import RegistryOptions
from lockstep.images.source import ImageSource

_LAYOUT, _ARCHIVE, _DOCKER = "oci:", "oci-archive:", "docker-archive:"


def is_local(reference: str) -> bool:
    """Return whether a reference names a layout on disk."""
    return reference.startswith((_LAYOUT, _ARCHIVE, _DOCKER))


def open_image(
    reference: str,
    *,
    session: aiohttp.ClientSession,
    credentials: Credentials,
    options: RegistryOptions,
    limits: Limits,
) -> tuple[ImageSource, str]:
    """Return where to read, and the tag or digest to ask for.

    Raises:
        ImageError: ReferenceInvalid, or ImageNotFound for a layout that does not exist.
    """
    if reference.startswith(_ARCHIVE):
        return LayoutSource.archive(Path(reference.removeprefix(_ARCHIVE))), ""
    if reference.startswith(_DOCKER):
        path = reference.removeprefix(_DOCKER)
        advice = f"convert it: skopeo copy {_DOCKER}{path} {_ARCHIVE}image.tar, then give {_ARCHIVE}image.tar"
        raise ImageError(Reason.REFERENCE_INVALID, f"archives of docker save are not read; {advice}")
    if reference.startswith(_LAYOUT):
        path, _, tag = reference.removeprefix(_LAYOUT).partition(":")
        return LayoutSource.directory(Path(path)), tag
    parsed = parse_reference(reference)
    return RegistrySource(session, parsed, credentials, options, limits), parsed.wanted
