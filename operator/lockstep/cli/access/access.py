"""What a command needs to reach registries and MLflow: sessions, credentials of the person who runs it."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.api.reasons import Reason
from lockstep.cli.access.logins import Logins, stored_logins
from lockstep.cli.exit import CommandError
from lockstep.images.image import ImageError, ImagePlatform
from lockstep.images.limits import Limits, parse_limits
from lockstep.images.open import open_image
from lockstep.images.registry.egress import ANYWHERE
from lockstep.images.registry.options import RegistryOptions
from lockstep.images.registry.session import registry_session
from lockstep.images.scan.scan import Scanner
from lockstep.images.source import ImageSource
from lockstep.lineage.connection import MLflowCredentials
from lockstep.lineage.lineage import ModelRegistry
from lockstep.lineage.mlflow import MLflowRegistry


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
    logins: Logins

    def at(self, tracking_uri: str) -> ModelRegistry:
        """Return a client for one tracking server."""
        return self.mlflow(tracking_uri)

    def mlflow(self, tracking_uri: str) -> MLflowRegistry:
        """Return a client for one tracking server."""
        return MLflowRegistry(self.session, tracking_uri, MLflowCredentials.from_environment(os.environ))

    async def open(self, reference: str, policy: PromotionPolicy | None = None) -> tuple[ImageSource, str]:
        """Open a reference; which policy governs makes no difference here."""
        return open_image(
            reference,
            session=self.registries,
            credentials=self.logins.credentials,
            options=self.options,
            limits=self.limits,
        )


@asynccontextmanager
async def access(insecure_registries: list[str]) -> AsyncIterator[Access]:
    """Open sessions for the time of a command.

    Raises:
        CommandError: LOCKSTEP_SCAN_LIMITS can't be understood.
        ImageError: with ImageUnauthorized that names the stored credentials which could not be used.
    """
    limits = _limits()
    # Whoever runs the command reaches every one of these addresses without it: a registry on localhost is fine.
    options = RegistryOptions(frozenset(insecure_registries), egress=ANYWHERE)
    # MLflow's server answers kept-alive connections 40 ms later than new ones.
    connector = aiohttp.TCPConnector(force_close=True)
    logins = stored_logins()
    async with (
        aiohttp.ClientSession(connector=connector, auto_decompress=False) as session,
        registry_session(options) as registries,
    ):
        try:
            yield Access(session, registries, options, limits, Scanner(limits), logins)
        except ImageError as error:
            if error.reason is not Reason.IMAGE_UNAUTHORIZED or not logins.unusable:
                raise
            raise ImageError(error.reason, with_login_hint(error.message, logins)) from error


def _limits() -> Limits:
    try:
        return parse_limits(os.environ.get("LOCKSTEP_SCAN_LIMITS", ""))
    except ValueError as error:
        raise CommandError(Reason.SETTING_INVALID, f"LOCKSTEP_SCAN_LIMITS: {error}") from error


def with_login_hint(message: str, logins: Logins) -> str:
    """Return why a registry refused, with what could not be used of the stored credentials."""
    return "; ".join((message, *logins.unusable))


def parse_platform(text: str) -> ImagePlatform:
    """Read `linux/amd64` or `linux/arm64/v8`.

    Raises:
        CommandError: it is neither.
    """
    try:
        return ImagePlatform.parse(text)
    except ValueError as error:
        raise CommandError(Reason.PLATFORM_NOT_FOUND, str(error)) from error
