"""The readiness audit against a real MLServer, with models and input examples that MLflow wrote, inside an image's root."""

import json
import random
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lockstep.api.server import Server
from lockstep.gates.evidence import AuditFact
from lockstep.readiness.audit import HttpAuditor
from lockstep.readiness.port import Audit
from tests.cluster import images
from tests.cluster.wait import until
from tests.fakes.mlflow_server import free_port
from tests.oracle import recipes
from tests.oracle.chroot import printed

pytestmark = pytest.mark.skipif(not recipes.possible(), reason=recipes.NO_BUILDS)

FOLDER = "mnt/models"
PYTHON = "/opt/mlserver/bin/python"
ENVIRONMENT = {"PATH": "/opt/mlserver/bin:/usr/bin:/bin", "HOME": "/tmp", "GIT_PYTHON_REFRESH": "quiet"}
MAKE = """
import json, pathlib, mlflow, numpy, pandas
from sklearn.linear_model import LogisticRegression

class Column(mlflow.pyfunc.PythonModel):
    def __init__(self, name):
        self.name = name
    def predict(self, context, model_input, params=None):
        return model_input[self.name].to_numpy()

mixed = pandas.DataFrame({"a": [1.5, None, 2.5], "name": ["x", "y", None], "ok": [True, False, True], "n": [1, 2, 3]})
features = pandas.DataFrame(numpy.arange(24.0).reshape(6, 4) % 5, columns=list("abcd"))
folder = pathlib.Path("/mnt/models")

def save(name, runtime, uri, write):
    write(folder / name / "model")
    parameters = {"uri": str(folder / name / uri)}
    settings = {"name": name, "implementation": runtime, "parameters": parameters}
    (folder / name / "model-settings.json").write_text(json.dumps(settings))

def pyfunc(column):
    return lambda path: mlflow.pyfunc.save_model(
        path, python_model=Column(column), input_example=mixed, pip_requirements=["mlflow"])

def sklearn(example, examples):
    fitted = LogisticRegression().fit(examples, [0, 1] * 3)
    return lambda path: mlflow.sklearn.save_model(
        fitted, path, input_example=example, serialization_format="cloudpickle", pip_requirements=["scikit-learn"])

runtime = "mlserver_mlflow.MLflowRuntime"
save("counts", runtime, "model", pyfunc("n"))
save("gaps", runtime, "model", pyfunc("a"))
save("frame", runtime, "model", sklearn(features.head(3), features))
save("one", runtime, "model", sklearn(features[["a"]].head(3), features[["a"]]))
plain = "mlserver_sklearn.SKLearnModel"
save("array", plain, "model/model.pkl", sklearn(features.to_numpy()[:3], features.to_numpy()))
save("columns", plain, "model/model.pkl", sklearn(features.head(3), features))
"""


@dataclass(frozen=True)
class MLServer:
    """A running MLServer and the models that it serves."""

    root: Path
    port: int

    async def audited(self, model: str, example: bytes | None = None, *, seed: int = 1, **changes: Any) -> AuditFact:
        registered = self.root / FOLDER / model / "model/serving_input_example.json"
        server = {"port": self.port, "openInferenceV2": {"modelName": model}}
        audit = Audit(
            pod="iris-1",
            address="127.0.0.1",
            port=self.port,
            hosts=("iris", "iris.team.svc"),
            server=Server.model_validate(server),
            input_example=example or registered.read_bytes(),
            requests=4,
            timeout_seconds=30,
            within_seconds=120,
            **changes,
        )
        return await HttpAuditor(random.Random(seed)).audit(audit)


@pytest.fixture(scope="module")
def mlserver() -> Iterator[MLServer]:
    with images.mounted(recipes.built("models").tag) as root:
        (root / FOLDER).mkdir(parents=True)
        printed(root, [PYTHON, "-c", MAKE], ENVIRONMENT)
        ports = [free_port() for _ in range(3)]
        settings = dict(zip(("http_port", "grpc_port", "metrics_port"), ports, strict=True))
        (root / FOLDER / "settings.json").write_text(json.dumps({"host": "127.0.0.1", "parallel_workers": 0, **settings}))
        words = [shutil.which("chroot") or "/usr/sbin/chroot", str(root), "mlserver", "start", f"/{FOLDER}"]
        with (root / "tmp/server.log").open("wb") as log:
            process = subprocess.Popen(words, env=ENVIRONMENT, stdout=log, stderr=log)
        try:
            until(lambda: _ready(process, root, ports[0]), 120, "MLServer is ready", every=0.3)
            yield MLServer(root, ports[0])
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)


def _ready(process: "subprocess.Popen[bytes]", root: Path, port: int) -> bool:
    assert process.poll() is None, (root / "tmp/server.log").read_text()[-2000:]
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=5) as answer:
            return int(answer.status) == 200
    except OSError:
        return False


@pytest.mark.parametrize("model", ["counts", "frame", "one", "array", "columns"])
async def test_a_good_model_passes_as_whatever_client_it_is_asked(mlserver: MLServer, model: str) -> None:
    for seed in range(3):
        fact = await mlserver.audited(model, seed=seed)
        assert (fact.passed, fact.failure) == (True, None)


async def test_an_example_with_missing_values_is_taken_since_they_are_sent_as_null(mlserver: MLServer) -> None:
    registered = (mlserver.root / FOLDER / "counts/model/serving_input_example.json").read_bytes()
    assert registered.count(b"NaN") == 2, "a missing number and a missing text, as MLflow writes them"
    assert (await mlserver.audited("counts")).passed


async def test_a_prediction_that_is_nan_comes_back_as_null_and_is_refused_unless_the_model_is_listed(
    mlserver: MLServer,
) -> None:
    fact = await mlserver.audited("gaps")
    assert "its answer holds null for 1 of 3 predictions" in str(fact.failure)
    assert (await mlserver.audited("gaps", missing_predictions=True)).passed


async def test_a_model_that_is_not_there_is_not_ready_though_the_server_is(mlserver: MLServer) -> None:
    example = b'{"inputs": [[1.0, 2.0, 3.0, 4.0]]}'
    fact = await mlserver.audited("nobody", example)
    assert "was answered with 404" in str(fact.failure)
    assert (fact.passed, fact.answered) == (False, 0)


async def test_what_the_model_does_not_take_is_refused_with_what_mlserver_says(mlserver: MLServer) -> None:
    example = json.dumps({"dataframe_split": {"columns": ["height"], "data": [[1.5]]}}).encode()
    fact = await mlserver.audited("frame", example)
    assert not fact.passed
    assert "/v2/models/frame/infer with the registered input example was answered with" in str(fact.failure)
