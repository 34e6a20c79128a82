"""The resources of Lockstep's API, each written once: manifests, clients, watches and CRDs take them from here."""

from dataclasses import dataclass
from typing import Any

GROUP = "lockstep.dev"
VERSION = "v1alpha1"

Object = dict[str, Any]
"""A Kubernetes object as plain JSON data."""


@dataclass(frozen=True)
class Kind:
    """One resource of the Kubernetes API."""

    group: str
    """Empty for the core group."""
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """`apiVersion` as manifests write it."""
        return f"{self.group}/{self.version}" if self.group else self.version


MODEL_DEPLOYMENT = Kind(GROUP, VERSION, "modeldeployments", "ModelDeployment")
PROMOTION_POLICY = Kind(GROUP, VERSION, "promotionpolicies", "PromotionPolicy", namespaced=False)
ENVIRONMENT_RECORD = Kind(GROUP, VERSION, "environmentrecords", "EnvironmentRecord")
LAYER_RECORD = Kind(GROUP, VERSION, "layerrecords", "LayerRecord")
LINEAGE_PIN = Kind(GROUP, VERSION, "lineagepins", "LineagePin")
LINEAGE_RELEASE = Kind(GROUP, VERSION, "lineagereleases", "LineageRelease")
PROMOTION_RECORD = Kind(GROUP, VERSION, "promotionrecords", "PromotionRecord")
