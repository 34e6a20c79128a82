"""What a command needs to reach registries and MLflow: sessions, credentials of the person who runs it."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.api.reasons import Reason
from lockstep.cli.status import CommandError
from lockstep.images.credentials import Credentials, InvalidCredentialsError, parse_docker_config
from lockstep.images.egress import ANYWHERE
from lockstep.images.image import ImagePlatform
from lockstep.images.limits import Limits
from lockstep.images.open import open_image
from lockstep.images.options import RegistryOptions
from lockstep.images.scan import Scanner
from lockstep.images.session import registry_session
from lockstep.images.source import ImageSource
from lockstep.lineage.lineage import ModelRegistry
from lockstep.lineage.mlflow import MLflowCredentials, MLflowRegistry


@dataclass(frozen=True)
class Access:
    """Reads images and lineage with the credentials of the person who runs the command."""

    session: aiohttp.ClientSession
    """For MLflow."""
    registries: aiohttp.ClientSession
    """For image registries."""
    options: RegistryOptions
    limits: Limits
    scanner: Scanner

    def at(self, tracking_uri: str) -> ModelRegistry:
        """Return a client for one tracking server."""
        return self.mlflow(tracking_uri)

    def mlflow(self, tracking_uri: str) -> MLflowRegistry:
        """Return a client for one tracking server."""
        return MLflowRegistry(self.session, tracking_uri, mlflow_credentials())

    async def open(self, reference: str, policy: PromotionPolicy | None = None) -> tuple[ImageSource, str]:
        """Open a reference; which policy governs makes no difference here."""
        return open_image(
            reference, session=self.registries, credentials=docker_credentials(), options=self.options, limits=self.limits
        )


@asynccontextmanager
async def access(insecure_registries: list[str]) -> AsyncIterator[Access]:
    """Open sessions for the time of a command."""
    # Whoever runs the command reaches every one of these addresses without it: a registry on localhost is fine.
    options = RegistryOptions(frozenset(insecure_registries), egress=ANYWHERE)
    # MLflow's server answers kept-alive connections 40 ms later than new ones.
    connector = aiohttp.TCPConnector(force_close=True)
    async with (
        aiohttp.ClientSession(connector=connector, auto_decompress=False) as session,
        registry_session(options) as registries,
    ):
        limits = Limits()
        yield Access(session, registries, options, limits, Scanner(limits))


def mlflow_credentials() -> MLflowCredentials:
    """Read MLflow's own variables (mlflow.org, "Authentication")."""
    return MLflowCredentials(
        username=os.environ.get("MLFLOW_TRACKING_USERNAME"),
        password=os.environ.get("MLFLOW_TRACKING_PASSWORD"),
        token=os.environ.get("MLFLOW_TRACKING_TOKEN"),
    )


def docker_credentials() -> Credentials:
    """Read the files in which Docker, Podman and Buildah keep what people logged in with.

    Raises:
        CommandError: a file can't be read.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    candidates = [
        Path(os.environ["REGISTRY_AUTH_FILE"]) if "REGISTRY_AUTH_FILE" in os.environ else None,
        Path(runtime) / "containers" / "auth.json" if runtime else None,
        Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json",
    ]
    found: list[Credentials] = []
    for path in candidates:
        if path is None or not path.is_file():
            continue
        try:
            found.append(parse_docker_config(path.read_bytes()))
        except (OSError, InvalidCredentialsError):
            # A file with a credential helper alone has no auths: it is no fault of it.
            continue
    return Credentials.merged(found)


def parse_platform(text: str) -> ImagePlatform:
    """Read `linux/amd64` or `linux/arm64/v8`.

    Raises:
        CommandError: it is neither.
    """
    try:
        return ImagePlatform.parse(text)
    except ValueError as error:
        raise CommandError(Reason.PLATFORM_NOT_FOUND, str(error)) from error
