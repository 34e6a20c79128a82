"""Where a document is kept in the model registry: agreed between the training side, which writes, and lineage, which reads."""

ARTIFACT_PATH = "lockstep/environment.json"
"""Path of the document among the logged model's files."""

SIGNATURE_PATH = "lockstep/environment.json.dsse"
"""Path of the document's signature (a DSSE envelope) among the logged model's files."""

RUN_ARTIFACT_DIRECTORY = "lockstep"
"""Directory of the copy among the run's artifacts: `lockstep/environment-<model id>.json`."""


DIRTY_TAG = "lockstep.git.dirty"
"""Run tag: `false` when the working tree was the recorded commit and nothing else, `true` when it was not."""


def run_artifact(model_id: str) -> str:
    """Return the path of the copy among the run's artifacts."""
    return f"{RUN_ARTIFACT_DIRECTORY}/environment-{model_id}.json"


def digest_parameter(model_id: str) -> str:
    """Return the key of the run parameter that holds the document digest.

    It is named by the model's id since a run may log many models; MLflow refuses to change a parameter once it is set.
    """
    return f"lockstep.environment.{model_id}"
