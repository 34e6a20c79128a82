"""Which addresses the operator may not be sent to by an image reference, a redirect or a token service."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network


def _ranges(what: str, *networks: str) -> tuple[tuple[str, Network], ...]:
    return tuple((what, ip_network(network)) for network in networks)


# IANA's special-purpose address registries, and where clouds answer with the credentials of the machine that asks:
# AWS, Google and Azure by link-local and unique local addresses, Alibaba, Azure and Oracle by addresses of their own.
ALWAYS = (
    *_ranges("a loopback address", "127.0.0.0/8", "::1/128"),
    *_ranges("a link-local address", "169.254.0.0/16", "fe80::/10"),
    *_ranges("an unspecified address", "0.0.0.0/8", "::/128"),
    *_ranges("a multicast address", "224.0.0.0/4", "ff00::/8"),
    *_ranges("a reserved address", "240.0.0.0/4"),
    *_ranges("a metadata service", "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"),
    *_ranges("a metadata service", "fd00:ec2::254/128", "fd20:ce::254/128"),
)
_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")


@dataclass(frozen=True)
class Egress:
    """What is refused. Private addresses are not: registries of one's own have them."""

    refused: tuple[tuple[str, Network], ...] = ALWAYS
    """What each range is, in words, and the range."""

    @classmethod
    def for_cluster(cls, cluster: Iterable[Network]) -> "Egress":
        """Return what refuses the cluster's own ranges (of pods and of Services) too."""
        return cls((*ALWAYS, *(("an address of the cluster", network) for network in cluster)))

    def refusal(self, address: str) -> str | None:
        """Say what is wrong with an address; None when it may be reached."""
        try:
            parsed = ip_address(address)
        except ValueError:
            return "no valid address"
        for one in (parsed, *_embedded_addresses(parsed)):
            for what, network in self.refused:
                if one in network:
                    return what
        return None


ANYWHERE = Egress(())
"""For a person's own command, which reaches no more than that person does."""


def _embedded_addresses(address: IPv4Address | IPv6Address) -> list[IPv4Address]:
    """Return the IPv4 addresses to which an IPv6 address leads (RFC 4291 2.5.5, RFC 6052, RFC 3056, RFC 4380)."""
    if isinstance(address, IPv4Address):
        return []
    embedded = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        embedded.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [one for one in embedded if one is not None]
