"""Reads all that is signed of an image, in both of cosign's forms."""

import asyncio
from collections.abc import Mapping

from lockstep.api.reasons import Reason
from lockstep.formats.keys import PublicKey
from lockstep.images.image import ImageError
from lockstep.images.signing import attestations, bundles, signatures
from lockstep.images.signing.signed import Signed
from lockstep.images.source import ImageSource

_SECONDS = 60.0


async def read_signed(source: ImageSource, digest: str, keys: Mapping[str, PublicKey]) -> Signed:
    """Read both of cosign's forms: the tags `sha256-….sig` and `.att`, and bundles that refer to the image.

    Args:
        source: the image's repository.
        digest: digest of the image's manifest; what is signed of an index that led to it does not count.
        keys: the keys that somebody trusts, by fingerprint.

    Raises:
        ImageError: they could not be had, are malformed as manifests, or more than is read (ReferrersExceeded).
    """
    try:
        async with asyncio.timeout(_SECONDS):
            tagged = await signatures.read(source, digest, keys)
            stated = await attestations.read(source, digest, keys)
            more_signatures, more_attestations = await bundles.read(source, digest, keys)
    except TimeoutError as error:
        message = f"signatures and attestations were not read within {_SECONDS:.0f} s"
        raise ImageError(Reason.IMAGE_REGISTRY_UNREACHABLE, message, retry=True) from error
    return Signed(digest, (*tagged, *more_signatures), (*stated, *more_attestations))
