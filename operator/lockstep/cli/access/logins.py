"""The registry credentials that Docker, Podman and Buildah keep for the person who runs a command."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lockstep.images.registry.credentials import Credentials, InvalidCredentialsError, parse_docker_config


@dataclass(frozen=True)
class Logins:
    """What was found, and why some of it can't be used."""

    credentials: Credentials
    unusable: tuple[str, ...] = ()
    """One sentence for each file that can't be read, or whose credentials are kept by a helper, which is not run."""


def stored_logins() -> Logins:
    """Read every file that there is. One that can't be read is no error before a registry wants credentials."""
    found: list[Credentials] = []
    unusable: list[str] = []
    for path in _files():
        try:
            body = path.read_bytes()
            helpers = _helpers(body)
            unusable += [f"{path} leaves credentials to a helper ({helpers}), which is not run"] if helpers else []
            found.append(parse_docker_config(body))
        except OSError as error:
            unusable.append(f"{path} can't be read: {error.strerror or error}")
        except InvalidCredentialsError as error:
            unusable += [] if _has_no_auths(body) else [f"{path} can't be read: {error}"]
    return Logins(Credentials.merge(found), tuple(unusable))


def _files() -> Iterator[Path]:
    """Yield what exists, and what was named, whether it exists or not (containers-auth.json(5), docker-config)."""
    named = os.environ.get("REGISTRY_AUTH_FILE")
    if named:
        yield Path(named)
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    implied = [Path(runtime) / "containers" / "auth.json"] if runtime else []
    implied.append(Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json")
    for path in implied:
        if path.exists():
            yield path


def _parse(body: bytes) -> dict[str, object]:
    try:
        settings = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return settings if isinstance(settings, dict) else {}


def _helpers(body: bytes) -> str:
    settings = _parse(body)
    store, by_host = settings.get("credsStore"), settings.get("credHelpers")
    named = [store] if isinstance(store, str) and store else []
    named += sorted({str(name) for name in by_host.values()}) if isinstance(by_host, dict) else []
    return ", ".join(named)


def _has_no_auths(body: bytes) -> bool:
    """Return whether a file has other settings alone, which is no fault of it."""
    settings = _parse(body)
    return bool(settings) and "auths" not in settings
