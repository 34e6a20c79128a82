"""Registry credentials as `.dockerconfigjson` holds them (Kubernetes "Config file format for image pull Secrets")."""

import base64
import binascii
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from lockstep.images.reference import Reference

_DOCKER_HUB = ("index.docker.io", "registry-1.docker.io")


@dataclass(frozen=True)
class Credential:
    """User and password for one registry, or an identity token (OAuth 2 refresh token)."""

    username: str
    password: str = field(repr=False)
    identity_token: str | None = field(default=None, repr=False)


class InvalidCredentialsError(ValueError):
    """The file can't be read. The message holds nothing of its content."""


@dataclass(frozen=True)
class Credentials:
    """Credentials by registry or registry/path."""

    by_key: tuple[tuple[str, Credential], ...] = ()

    def candidates(self, reference: Reference) -> list[Credential]:
        """Return the credentials that may open a repository, the most specific first, as the kubelet tries them."""
        matching = [(key, credential) for key, credential in self.by_key if _matches(key, reference)]
        return [credential for _, credential in sorted(matching, key=lambda pair: pair[0].count("/"), reverse=True)]

    @classmethod
    def merge(cls, parts: Iterable["Credentials"]) -> "Credentials":
        """Join the credentials of several files; earlier ones are tried first."""
        return cls(tuple(entry for part in parts for entry in part.by_key))


def parse_docker_config(body: bytes) -> Credentials:
    """Read a `.dockerconfigjson` or `~/.docker/config.json`.

    Raises:
        InvalidCredentialsError: not JSON of that form.
    """
    try:
        auths = json.loads(body)["auths"]
        entries = [(_key(key), _credential(entry)) for key, entry in auths.items()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error):
        # No cause is chained: it could quote what must not be shown.
        raise InvalidCredentialsError("it is no Docker configuration with auths") from None
    return Credentials(tuple((key, credential) for key, credential in entries if credential is not None))


def _key(key: str) -> str:
    bare = key.removeprefix("https://").removeprefix("http://").rstrip("/")
    for suffix in ("/v1", "/v2"):
        bare = bare.removesuffix(suffix)
    return bare


def _credential(entry: dict[str, Any]) -> Credential | None:
    username, password = entry.get("username", ""), entry.get("password", "")
    if entry.get("auth"):
        username, _, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
    token = entry.get("identitytoken") or None
    if not all(isinstance(value, str) for value in (username, password, token or "")):
        raise TypeError("not text")
    return Credential(username, password, token) if username or token else None


def _matches(key: str, reference: Reference) -> bool:
    host, slash, path = key.partition("/")
    registry = reference.registry
    hosts = (registry, *_DOCKER_HUB) if registry == "docker.io" else (registry,)
    # A wildcard stands for one label, as in the kubelet.
    if not any(fnmatchcase(one, host) and one.count(".") == host.count(".") for one in hosts):
        return False
    return not slash or reference.repository == path or reference.repository.startswith(f"{path}/")
