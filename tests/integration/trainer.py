"""Trains, registers and tampers with models on a real MLflow, and reads their lineage as the operator does."""

import asyncio
import json
import urllib.request
from dataclasses import dataclass

import aiohttp
import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.data.numpy_dataset import from_numpy
from sklearn.linear_model import LogisticRegression

from lockstep.lineage.connection import MLflowCredentials
from lockstep.lineage.lineage import Lineage
from lockstep.lineage.mlflow import MLflowRegistry
from lockstep.training import log_environment

X = [[0.0], [1.0], [2.0], [3.0]]


@dataclass(frozen=True)
class Trained:
    run_id: str
    model_id: str


class World:
    """Trains, registers and tampers, as people do with MLflow."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.client = MlflowClient(uri)

    def train(self, *, record: bool = True) -> Trained:
        with mlflow.start_run() as run:
            mlflow.log_params({"C": 1.0, "random_state": 7})
            mlflow.set_tag("team", "flowers")
            mlflow.log_input(from_numpy(np.array(X), name="iris"))
            info = mlflow.sklearn.log_model(
                LogisticRegression().fit(X, [0, 0, 1, 1]),
                name="model",
                input_example=np.array(X),
                serialization_format="cloudpickle",
                pip_requirements=["scikit-learn==1.9.1"],
            )
            if record:
                log_environment(prove=False, strict=True)
        return Trained(run.info.run_id, info.model_id)

    def register(self, name: str, source: str, run_id: str | None) -> str:
        """Register over REST, where a run id is whatever the caller says."""
        if not self.client.search_registered_models(f"name = '{name}'"):
            self.client.create_registered_model(name)
        body = {"name": name, "source": source} | ({"run_id": run_id} if run_id else {})
        if source.startswith("models:/m-"):
            body["model_id"] = source.removeprefix("models:/")
        answer = self.call("POST", "/api/2.0/mlflow/model-versions/create", json.dumps(body).encode())
        return str(json.loads(answer)["model_version"]["version"])

    def versioned(self, name: str, trained: Trained) -> str:
        return self.register(name, f"models:/{trained.model_id}", trained.run_id)

    def replace(self, trained: Trained, path: str, body: bytes) -> None:
        """Write a logged model's file, as everybody who reaches the artifact proxy can."""
        experiment = self.client.get_run(trained.run_id).info.experiment_id
        self.call("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/models/{trained.model_id}/artifacts/{path}", body)

    def call(self, method: str, path: str, body: bytes) -> bytes:
        request = urllib.request.Request(self.uri + path, data=body, method=method)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return bytes(answer.read())


def read(world: World, name: str, **which: str) -> Lineage:
    async def asked() -> Lineage:
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            registry = MLflowRegistry(session, world.uri, MLflowCredentials(), timeout_seconds=60)
            return await registry.lineage(name=name, **which)

    return asyncio.run(asked())
