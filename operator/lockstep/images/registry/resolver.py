"""Looks names up for the registry client, and gives it only addresses that it may reach."""

import socket

from aiohttp.abc import AbstractResolver, ResolveResult

from lockstep.api.reasons import Reason
from lockstep.images.image import ImageError
from lockstep.images.registry.options import RegistryOptions


class GuardedResolver(AbstractResolver):
    """Wraps a resolver. What it returns is what is connected to: nobody looks the name up again after the check."""

    def __init__(self, inner: AbstractResolver, options: RegistryOptions) -> None:
        self._inner = inner
        self._options = options

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AddressFamily.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a name that may be reached.

        Raises:
            ImageError: RegistryAddressRefused, where it has no other.
            OSError: the name can't be looked up.
        """
        try:
            addresses = await self._inner.resolve(host, port, family)
        except UnicodeError as error:
            # A label of more than 63 characters, which no name has (RFC 1035 2.3.4).
            raise OSError(f"{host[:100]!r} is no name") from error
        refusals = [self._options.refusal(host, port, result["host"]) for result in addresses]
        allowed = [result for result, refusal in zip(addresses, refusals, strict=True) if refusal is None]
        if addresses and not allowed:
            raise address_refused(host, port, refusals[0] or "")
        return allowed

    async def close(self) -> None:
        """Close what is wrapped."""
        await self._inner.close()


def address_refused(host: str, port: int, why: str) -> ImageError:
    """Return the refusal of a host. It says what kind of address it has, not which: that is the cluster's business."""
    return ImageError(Reason.REGISTRY_ADDRESS_REFUSED, f"{host[:253]}:{port} leads to {why}, where images are not read from")
