"""The credentials that open images for a namespace: its own pull secrets, or the operator's where policy grants them."""

import base64
import binascii
import os
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from lockstep.api.imagesspec import PullCredentials
from lockstep.api.podtemplate import PodTemplate
from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.api.reasons import Reason
from lockstep.controller.cluster import ports
from lockstep.controller.cluster.ports import Cluster, ClusterError
from lockstep.images.image import ImageError
from lockstep.images.limits import Limits
from lockstep.images.open import open_image
from lockstep.images.reference import parse_reference
from lockstep.images.registry.credentials import Credentials, InvalidCredentialsError, parse_docker_config
from lockstep.images.registry.options import RegistryOptions
from lockstep.images.source import ImageSource


@dataclass(frozen=True)
class NamespaceImages:
    """Opens images as the pods of one ModelDeployment may; implements `gathering.subject.Images`."""

    cluster: Cluster
    session: aiohttp.ClientSession
    options: RegistryOptions
    limits: Limits
    namespace: str
    template: PodTemplate

    async def open(self, reference: str, policy: PromotionPolicy) -> tuple[ImageSource, str]:
        """See `Images.open`. Only registries are read: a path on the operator's disk is no image."""
        parse_reference(reference)
        try:
            own = policy.spec.images.credentials is PullCredentials.OPERATOR
            credentials = _operators() if own else await self._namespaces()
        except ClusterError as error:
            message = f"the pull secrets could not be read: {error}"
            raise ImageError(Reason.PULL_SECRET_INVALID, message, retry=True) from error
        return open_image(reference, session=self.session, credentials=credentials, options=self.options, limits=self.limits)

    async def _namespaces(self) -> Credentials:
        account = await self.cluster.get(ports.SERVICE_ACCOUNT, self.namespace, self.template.service_account_name or "default")
        listed = [str(entry.get("name")) for entry in (account or {}).get("imagePullSecrets") or []]
        found = [await self._secret(name, required=True) for name in self.template.image_pull_secrets]
        # The kubelet passes over what a ServiceAccount lists and nobody made.
        found += [await self._secret(name, required=False) for name in listed]
        return Credentials.merge(found)

    async def _secret(self, name: str, *, required: bool) -> Credentials:
        secret = await self.cluster.get(ports.SECRET, self.namespace, name)
        if secret is None:
            if required:
                raise ImageError(Reason.PULL_SECRET_INVALID, f"the pull secret {name} does not exist")
            return Credentials()
        encoded = (secret.get("data") or {}).get(".dockerconfigjson")
        try:
            if encoded is None:
                raise InvalidCredentialsError("it has no .dockerconfigjson")
            return parse_docker_config(base64.b64decode(encoded, validate=True))
        except (InvalidCredentialsError, binascii.Error):
            # Nothing of the secret's content is said or chained.
            message = f"the pull secret {name} holds no .dockerconfigjson that can be read"
            raise ImageError(Reason.PULL_SECRET_INVALID, message) from None


def _operators() -> Credentials:
    """Read the Docker configuration that the platform team mounted for the operator itself."""
    path = Path(os.environ.get("DOCKER_CONFIG", "/nonexistent")) / "config.json"
    try:
        return parse_docker_config(path.read_bytes()) if path.is_file() else Credentials()
    except (OSError, InvalidCredentialsError):
        raise ImageError(Reason.PULL_SECRET_INVALID, "the operator's own registry credentials can't be read") from None
