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
    """Build and push the controller's image; return its reference by digest, so that another build is another rollout."""
    reference, digest = _pushed("lockstep", REPOSITORY / "Dockerfile", REPOSITORY)
    return f"{reference}@{digest}"


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
        # Without its comments, which name the version: the same packages are one cached layer for every version.
        pins = [line for line in lock.splitlines() if not line.startswith("#")]
        (context / "environment.lock").write_text("\n".join(pins) + "\n")
        (context / "server.lock").write_text(f"mlflow-skinny=={MLFLOW_VERSION}\n")
        shutil.copytree(model, context / "model")
        # The same files with the same times give the same layers, so that a second demo builds nothing.
        for path in [context, *context.rglob("*")]:
            os.utime(path, (0, 0))
        return _built(f"iris:{tag}", HERE / "serving.Dockerfile", context)


def _built(name: str, dockerfile: Path, context: Path) -> str:
    return _pushed(name, dockerfile, context)[0]


def _pushed(name: str, dockerfile: Path, context: Path) -> tuple[str, str]:
    tagged = name if ":" in name else f"{name}:demo"
    reference = f"{images.registry()}/demo/{tagged}"
    with step(f"image {reference}"):
        images.build(f"localhost/demo/{tagged}", dockerfile, context)
        return reference, images.push(f"localhost/demo/{tagged}", reference)


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
