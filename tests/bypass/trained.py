"""Changes in MLflow after a version was first seen, by who trains."""

import tempfile
from pathlib import Path

from tests.bypass.attempt import Attempts, Outcome, Result, held
from tests.bypass.scene import Scene

attempts = Attempts()


def _edited(scene: Scene, name: str, text: str) -> Result:
    """Have a version of its own promoted, edit one of its files in MLflow, and ask for another revision of it."""
    made = scene.world.models.register(f"bypass-{scene.namespace}", scene.world.document)
    model = {"name": made.name, "version": made.version}
    first = scene.deploy(model=model) or scene.settled()
    if first != "promoted":
        return Result(Outcome.DEGRADED, f"the version was refused before anything was edited: {first}")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_text(text)
        scene.world.models.client.log_model_artifacts(made.model_id, folder)
    scene.deploy(model=model, template={"terminationGracePeriodSeconds": 61})
    state = scene.settled()
    return held(state) if state != "promoted" else Result(Outcome.BYPASSED, "the next revision was promoted without a word")


@attempts.attempt("E1", "who trains", "the registered input example is replaced")
def input_example(scene: Scene) -> Result:
    return _edited(scene, "serving_input_example.json", '{"inputs": [2.0]}')


@attempts.attempt("E2", "who trains", "the model's weights are replaced")
def weights(scene: Scene) -> Result:
    return _edited(scene, "python_model.pkl", "other weights")


@attempts.attempt("E2b", "who trains", "a file is added to the model")
def addition(scene: Scene) -> Result:
    return _edited(scene, "sitecustomize.py", "EVIL = True\n")


@attempts.attempt("E3", "who trains", "the MLmodel file is edited")
def mlmodel(scene: Scene) -> Result:
    return _edited(scene, "MLmodel", "run_id: other\n")
