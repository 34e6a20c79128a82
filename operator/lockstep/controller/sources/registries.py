"""The clients of the MLflow servers that policies name."""

from dataclasses import dataclass

import aiohttp

from lockstep.lineage.connection import MLflowCredentials
from lockstep.lineage.lineage import ModelRegistry
from lockstep.lineage.mlflow import MLflowRegistry


@dataclass(frozen=True)
class MLflowRegistries:
    """Implements `gathering.asking.Registries` with the operator's own credentials."""

    session: aiohttp.ClientSession
    credentials: MLflowCredentials

    def at(self, tracking_uri: str) -> ModelRegistry:
        """See `Registries.at`."""
        return MLflowRegistry(self.session, tracking_uri, self.credentials)
