"""Opens images on behalf of ModelDeployments."""

from dataclasses import dataclass
from typing import Protocol

import aiohttp

from lockstep.api.modeldeployment import ModelDeployment
from lockstep.controller.cluster.ports import Cluster
from lockstep.controller.settings import Settings
from lockstep.controller.sources.pullsecrets import NamespaceImages
from lockstep.gathering.subject import Images
from lockstep.images.limits import Limits
from lockstep.images.registry.egress import Egress
from lockstep.images.registry.options import RegistryOptions


class ImagesOf(Protocol):
    """Gives each ModelDeployment what opens images for it."""

    def of(self, owner: ModelDeployment) -> Images:
        """Return what opens images as the pods of `owner` may."""
        ...


@dataclass(frozen=True)
class ImageAccess:
    """Implements `ImagesOf`: gives each ModelDeployment the view of the registries that its own pods have."""

    cluster: Cluster
    session: aiohttp.ClientSession
    options: RegistryOptions
    limits: Limits

    def of(self, owner: ModelDeployment) -> Images:
        """See `ImagesOf.of`."""
        return NamespaceImages(self.cluster, self.session, self.options, self.limits, owner.namespace, owner.spec.template)


def registry_options(settings: Settings) -> RegistryOptions:
    """Return what the chart says of registries."""
    return RegistryOptions(
        insecure=settings.insecure_registries,
        private=settings.private_registries,
        token_services=settings.token_services,
        egress=Egress.for_cluster(settings.cluster_ranges),
    )
