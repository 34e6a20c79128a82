"""Referrers: what else in a repository says that it is about an image (distribution-spec 1.1, "Listing Referrers")."""

import re
from typing import Any

from yarl import URL

from lockstep.api.reasons import Reason
from lockstep.formats.canonical import strict_json
from lockstep.images.image import Descriptor, ImageError
from lockstep.images.registry.transport import origin, web_url

MAX_REFERRERS = 64
"""Referrers of one kind that are read of one image. Whoever may push can add more; then nothing is said of the image."""
MAX_PAGES = 16
INDEX = "application/vnd.oci.image.index.v1+json"
_UNSTATED = ("", "application/vnd.oci.empty.v1+json")
"""Artifact types that say nothing: go-containerregistry, and so cosign 2, writes the second one into the fallback index."""
_NEXT = re.compile(r'<([^<>]{1,2048})>\s*;\s*rel="?next"?')


def fallback_tag(digest: str) -> str:
    """Return the tag under which a registry without the referrers API keeps the list."""
    return digest.replace(":", "-")


def parse_referrers(body: bytes, artifact_type: str) -> list[Descriptor]:
    """Return the manifests of one page that are, or may be, of an artifact type.

    Raises:
        ImageError: ManifestInvalid, the page is no image index.
    """
    try:
        stated = strict_json(body)
    except ValueError as error:
        raise _invalid_error("is no JSON, or has a key twice") from error
    entries = stated.get("manifests") if isinstance(stated, dict) and stated.get("mediaType", INDEX) == INDEX else None
    if not isinstance(entries, list):
        raise _invalid_error("is no image index")
    return [_descriptor(one) for one in entries if _may_have_type(one, artifact_type)]


def limit_referrers(descriptors: list[Descriptor]) -> list[Descriptor]:
    """Return what was found.

    Raises:
        ImageError: ReferrersExceeded, it is more than is read.
    """
    if len(descriptors) > MAX_REFERRERS:
        message = f"the image has more than {MAX_REFERRERS} referrers that may be signatures or attestations"
        raise ImageError(Reason.REFERRERS_EXCEEDED, message)
    return descriptors


def next_page(link: str, url: str) -> str | None:
    """Return the address of the next page (RFC 8288); None on the last.

    Raises:
        ImageError: ManifestInvalid, it leads to another host, which is not asked.
    """
    match = _NEXT.search(link)
    if match is None:
        return None
    target = web_url(str(match[1]), URL(url))
    if target is None or origin(target) != origin(URL(url)):
        raise _invalid_error("goes on at another host")
    return str(target)


def _may_have_type(entry: Any, artifact_type: str) -> bool:
    return isinstance(entry, dict) and (entry.get("artifactType") or "") in (artifact_type, *_UNSTATED)


def _descriptor(entry: dict[str, Any]) -> Descriptor:
    kind, digest, size = entry.get("mediaType"), entry.get("digest"), entry.get("size")
    if not isinstance(kind, str) or not isinstance(size, int) or size < 0:
        raise _invalid_error("has an entry without media type or size")
    if not isinstance(digest, str) or re.fullmatch(r"sha256:[0-9a-f]{64}", digest, re.ASCII) is None:
        raise _invalid_error("has an entry without a sha256 digest")
    return Descriptor(kind, digest, size)


def _invalid_error(why: str) -> ImageError:
    return ImageError(Reason.MANIFEST_INVALID, f"the list of the image's referrers {why}")
