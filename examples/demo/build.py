"""The images of the demo, built as anybody builds them and pushed to the cluster's registry."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.cluster import images
from tests.cluster.paths import CACHE, REPOSITORY
from tests.cluster.say import step

HERE = Path(__file__).parent / "images"
MLFLOW_VERSION = "3.17.2"


def operator_image() -> str:
    """Build and push the controller's image; return its reference."""
    return _built("lockstep", REPOSITORY / "Dockerfile", REPOSITORY)


def mlflow_image() -> str:
    """Build and push the image of MLflow's server and of the training job."""
    return _built("mlflow", HERE / "mlflow.Dockerfile", REPOSITORY)


def prometheus_image() -> str:
    """Build and push Prometheus."""
    return _built("prometheus", HERE / "prometheus.Dockerfile", HERE)


def serving_image(tag: str, lock: str, model: Path) -> str:
    """Build and push a serving image from a locked environment and a downloaded model.

    Args:
        tag: tag of the image in the repository `iris`.
        lock: text of the requirements that `lockstep environment lock` printed.
        model: folder of the model.
    """
    with tempfile.TemporaryDirectory(prefix="lockstep-serving-") as folder:
        context = Path(folder)
        (context / "environment.lock").write_text(lock)
        (context / "server.lock").write_text(f"mlflow-skinny=={MLFLOW_VERSION}\n")
        shutil.copytree(model, context / "model")
        # The same files with the same times give the same layers, so that a second demo builds nothing.
        for path in [context, *context.rglob("*")]:
            os.utime(path, (0, 0))
        return _built(f"iris:{tag}", HERE / "serving.Dockerfile", context)


def _built(name: str, dockerfile: Path, context: Path) -> str:
    local = f"localhost/demo/{name}" if ":" in name else f"localhost/demo/{name}:demo"
    reference = f"{images.registry()}/demo/{name}" if ":" in name else f"{images.registry()}/demo/{name}:demo"
    with step(f"image {reference}"):
        images.build(local, dockerfile, context)
        images.push(local, reference)
    return reference


def downloaded_model(tracking_uri: str, version: str) -> Path:
    """Download a registered model into the cache and return its folder."""
    os.environ["MLFLOW_TRACKING_URI"] = tracking_uri
    target = CACHE / "demo" / "model"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    command = [sys.executable, "-m", "mlflow", "artifacts", "download", "-u", f"models:/iris/{version}", "-d", str(target)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    # It names where it was downloaded from and would make each build another.
    (target / "registered_model_meta").unlink(missing_ok=True)
    return target
