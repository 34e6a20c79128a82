"""Stores a document with a logged model and its run, and its digest as a run parameter. Speaks MLflow."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockstep.environment.document import EnvironmentDocument
from lockstep.environment.statement import training_statement
from lockstep.formats.dsse import IN_TOTO, seal
from lockstep.formats.keys import PrivateKey
from lockstep.formats.storage import (
    ARTIFACT_PATH,
    DIRTY_TAG,
    RUN_ARTIFACT_DIRECTORY,
    SIGNATURE_PATH,
    digest_parameter,
    run_artifact,
)
from lockstep.training.capture import capture_environment
from lockstep.training.git import dirty_tree
from lockstep.training.required import required_set


@dataclass(frozen=True)
class Attachment:
    """What was recorded, and with what."""

    model_id: str
    run_id: str | None
    digest: str
    known: bool
    """True when the run had a digest for this model already: nothing was changed."""
    why: str | None
    """Why the set of required packages is not proven; None when it is."""


def models_of_run(run_id: str, experiment_id: str) -> list[str]:
    """Return the ids of the models that a run has logged, oldest first."""
    from mlflow import MlflowClient

    client = MlflowClient()
    found: list[Any] = []
    token = None
    while True:
        page = client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'", max_results=50, page_token=token)
        found += page
        token = page.token
        if not token:
            return [model.model_id for model in sorted(found, key=lambda model: model.creation_timestamp)]


def attach(model_id: str, extra: Sequence[str], reload_seconds: float | None, signer: PrivateKey | None = None) -> Attachment:
    """Capture this process's environment and record it for one logged model.

    Args:
        model_id: the logged model.
        extra: names of packages that the caller adds to what the model needs.
        reload_seconds: how long proving what it needs may take; None for no proof.
        signer: signs that this document was recorded for this model of this run; None to leave it self-declared.

    Raises:
        mlflow.exceptions.MlflowException: MLflow does not take it.
        CatalogueError, UnreadableFileError: the environment could not be determined.
    """
    from mlflow import MlflowClient

    client = MlflowClient()
    model = client.get_logged_model(model_id)
    run_id = model.source_run_id or None
    run = client.get_run(run_id) if run_id else None
    recorded = run.data.params.get(digest_parameter(model_id)) if run else None
    if recorded is not None:
        return Attachment(model_id, run_id, recorded, known=True, why=None)
    document, why = _document(model_id, str(model.artifact_location), extra, reload_seconds)
    with tempfile.TemporaryDirectory(prefix="lockstep-") as folder:
        envelope = _sign(document, model_id, run_id, signer)
        _write(Path(folder) / ARTIFACT_PATH, document.canonical())
        if envelope is not None:
            _write(Path(folder) / SIGNATURE_PATH, envelope)
        client.log_model_artifacts(model_id, folder)
        if run_id is not None and run is not None:
            copy = Path(folder) / "copy" / Path(run_artifact(model_id)).name
            _write(copy, document.canonical())
            client.log_artifact(run_id, str(copy), RUN_ARTIFACT_DIRECTORY)
            if envelope is not None:
                _write(copy.with_name(f"{copy.name}.dsse"), envelope)
                client.log_artifact(run_id, str(copy.with_name(f"{copy.name}.dsse")), RUN_ARTIFACT_DIRECTORY)
            _tag_tree(client, run)
            # Last, since it can't be changed any more: who reads it finds the document there.
            client.log_param(run_id, digest_parameter(model_id), document.digest)
    return Attachment(model_id, run_id, document.digest, known=False, why=why)


def _document(
    model_id: str, location: str, extra: Sequence[str], seconds: float | None
) -> tuple[EnvironmentDocument, str | None]:
    if seconds is None:
        return capture_environment(), "no proof was asked for"
    flavors, requirements = _read_flavors(location)
    needed = required_set(f"models:/{model_id}", flavors, requirements, extra, seconds=seconds)
    return capture_environment(required=needed.names, proof=needed.proof, code=needed.code), needed.why


def _read_flavors(location: str) -> tuple[list[str], str]:
    from mlflow.artifacts import download_artifacts
    from mlflow.models import Model

    with tempfile.TemporaryDirectory(prefix="lockstep-") as folder:
        described: Any = Model.load(download_artifacts(f"{location}/MLmodel", dst_path=folder))
        try:
            path = download_artifacts(f"{location}/requirements.txt", dst_path=folder)
            requirements = Path(path).read_text(encoding="utf-8", errors="replace")
        except Exception:  # a model without requirements is a model all the same
            requirements = ""
        return [flavor for flavor in described.flavors if flavor != "python_function"], requirements


def _tag_tree(client: Any, run: Any) -> None:
    """Say of the run whether its commit is all that was trained with; MLflow records the commit of a dirty tree as well."""
    commit = run.data.tags.get("mlflow.source.git.commit")
    dirty = dirty_tree(commit) if commit else None
    # A tree that was dirty once stays so for this run.
    if dirty is not None and run.data.tags.get(DIRTY_TAG) != "true":
        client.set_tag(run.info.run_id, DIRTY_TAG, str(dirty).lower())


def _sign(document: EnvironmentDocument, model_id: str, run_id: str | None, signer: PrivateKey | None) -> bytes | None:
    if signer is None:
        return None
    return seal(IN_TOTO, training_statement(document, model_id=model_id, run_id=run_id), signer)


def _write(path: Path, body: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
