"""Registers model versions in the real MLflow, with the environment document of an image and whatever fault a test wants."""

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from lockstep.environment.document import EnvironmentDocument
from lockstep.formats.storage import ARTIFACT_PATH, digest_parameter


@dataclass(frozen=True)
class Registered:
    """One registered version and where it comes from."""

    name: str
    version: str
    model_id: str
    run_id: str


class Models:
    """Trains nothing: logs one tiny model a version, so that a test has a lineage of its own within a second."""

    def __init__(self, tracking_uri: str) -> None:
        self.uri = tracking_uri
        os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "20"
        mlflow.set_tracking_uri(tracking_uri)
        mlflow.set_experiment("e2e")
        self.client = MlflowClient(tracking_uri)

    def register(
        self,
        name: str,
        document: EnvironmentDocument | None,
        *,
        finished: bool = True,
        digest: str | None = None,
        parameter: bool = True,
    ) -> Registered:
        """Log a model in a run of its own and register it.

        Args:
            name: name of the registered model.
            document: the environment to record; None to record none.
            finished: False leaves the run RUNNING.
            digest: what the run's parameter says instead of the document's digest.
            parameter: False records the document without the parameter.
        """
        run = self.client.create_run(_experiment(self.uri))
        with mlflow.start_run(run_id=run.info.run_id):
            mlflow.log_param("random_state", 7)
            info = mlflow.pyfunc.log_model(
                name="model", python_model=_predict, input_example=[1.0], pip_requirements=["cloudpickle"]
            )
            if document is not None:
                self.attach(info.model_id, document)
                if parameter:
                    mlflow.log_param(digest_parameter(info.model_id), digest or document.digest)
        if not finished:
            # start_run ends what it entered, so that the status is set back afterwards.
            self.client.set_terminated(run.info.run_id, "RUNNING")
        version = mlflow.register_model(info.model_uri, name)
        return Registered(name, str(version.version), info.model_id, run.info.run_id)

    def claim(self, name: str, source: str, *, run_id: str | None = None, model_id: str | None = None) -> str:
        """Register a version that claims a source and a run, whatever they are worth, and return its number."""
        with suppress(MlflowException):
            self.client.create_registered_model(name)
        version = self.client.create_model_version(name, source, run_id=run_id, model_id=model_id)
        return str(version.version)

    def artifacts(self, model_id: str) -> str:
        """Return where the files of a logged model are."""
        return str(self.client.get_logged_model(model_id).artifact_location)

    def runless(self) -> str:
        """Log a model that no run made and return its id."""
        made = self.client.create_logged_model(_experiment(self.uri))
        return str(self.client.finalize_logged_model(made.model_id, "READY").model_id)

    def attach(self, model_id: str, document: EnvironmentDocument) -> None:
        """Store a document with a logged model, in place of the one that is there."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / ARTIFACT_PATH
            path.parent.mkdir(parents=True)
            path.write_bytes(document.canonical())
            self.client.log_model_artifacts(model_id, folder)


@cache
def _experiment(_: str) -> str:
    found = mlflow.get_experiment_by_name("e2e")
    assert found is not None
    return str(found.experiment_id)


def _predict(model_input: list[float]) -> list[float]:
    return model_input


def document_of(text: str) -> EnvironmentDocument:
    """Read the document that `lockstep environment scan` printed."""
    return EnvironmentDocument.parse(json.dumps(json.loads(text)).encode())


def changed(document: EnvironmentDocument, package: str, version: str) -> EnvironmentDocument:
    """Return a document with one package of another version."""
    payload: dict[str, Any] = document.payload()
    for entry in payload["packages"]:
        if entry["name"] == package:
            entry["version"] = version
    return EnvironmentDocument.model_validate(payload)
