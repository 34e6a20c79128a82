"""What the platform team says of registries: which are listed for what, and which addresses nobody may be sent to."""

from dataclasses import dataclass, field

from yarl import URL

from lockstep.images.registry.egress import Egress

_HTTP, _HTTPS = 80, 443
_DOCKER_HUB = "registry-1.docker.io"
_DOCKER_HUB_TOKENS = "auth.docker.io"


@dataclass(frozen=True)
class RegistryOptions:
    """Lists of `host` or `host:port`; without a port, the one of plain HTTP or HTTPS is meant."""

    insecure: frozenset[str] = frozenset()
    """Registries that are spoken to over plain HTTP, wherever they are."""
    private: frozenset[str] = frozenset()
    """Registries, storages and token services that may have an address which is refused otherwise."""
    token_services: frozenset[str] = frozenset()
    """Token services that get a registry's credentials although they are on another host."""
    egress: Egress = field(default_factory=Egress)

    def base_url(self, registry: str) -> str:
        """Return the URL of a registry's API."""
        host = _DOCKER_HUB if registry == "docker.io" else registry
        return f"{'http' if registry in self.insecure else 'https'}://{host}"

    def refusal(self, host: str, port: int, address: str) -> str | None:
        """Say why an address to which a host leads may not be reached; None when it may."""
        if _is_listed(self.insecure, host, port, _HTTP) or _is_listed(self.private, host, port, _HTTPS):
            return None
        return self.egress.refusal(address)

    def may_ask(self, realm: URL, base: URL) -> bool:
        """Return whether a token service may be asked at all: over HTTPS, or where plain HTTP is listed for it or its host."""
        if realm.scheme == "https":
            return True
        listed = realm.host is not None and _is_listed(self.insecure, realm.host, realm.port or _HTTP, _HTTP)
        return base.scheme == "http" and (listed or realm.host == base.host)

    def may_have_credentials(self, realm: URL, base: URL) -> bool:
        """Return whether a token service gets the registry's credentials.

        It does on the registry's own host, on a domain above it (which governs its name anyway), and where it is listed.
        A sibling does not: which domains are one party's can't be determined from their names (`co.uk`, `azurecr.io`).
        """
        theirs, ours = realm.host or "", base.host or ""
        if theirs == ours:
            return realm.scheme in ("https", base.scheme)
        above = "." in theirs and ours.endswith(f".{theirs}")
        hub = (ours, theirs) == (_DOCKER_HUB, _DOCKER_HUB_TOKENS)
        return realm.scheme == "https" and (above or hub or _is_listed(self.token_services, theirs, realm.port or 0, _HTTPS))


def _is_listed(entries: frozenset[str], host: str, port: int, default: int) -> bool:
    """Return whether a list holds a host with this port, or the host alone where the port is the default."""
    bare = f"[{host}]" if ":" in host else host
    names = {f"{bare}:{port}", bare} if port == default else {f"{bare}:{port}"}
    return any(entry.lower() in names for entry in entries)
