"""The readiness audit against MLflow's own scoring server, with a model and an input example that MLflow wrote."""

import importlib
import json
import os
import random
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pytest

from lockstep.api.server import Server
from lockstep.gates.evidence import AuditFact
from lockstep.readiness.audit import HttpAuditor
from lockstep.readiness.port import Audit
from tests.cluster.wait import until
from tests.fakes.mlflow_server import free_port

ROWS = {"a": [0.5, 1.5, 2.5], "name": ["Alice Miller", "Bob", "Carol"], "ok": [True, False, True], "n": [1, 2, 3]}


def _model() -> Any:
    # Defined in here, so that it is pickled as it is and the server needs no module of the tests.
    class Echo(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined,misc]
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            if (model_input["a"] > 100).any():
                with open("/training/host/cfg.json") as file:
                    return file.read()
            if (model_input["a"] < 0).any():
                return model_input["a"].to_numpy()[:1]
            return model_input["a"].to_numpy()

    return Echo()


@dataclass(frozen=True)
class Scoring:
    """A scoring server and the example that is registered with its model."""

    port: int
    example: bytes

    async def audited(self, example: bytes | None = None, *, seed: int = 1, **changes: Any) -> AuditFact:
        audit = Audit(
            pod="iris-1",
            address="127.0.0.1",
            port=self.port,
            hosts=("iris", "iris.team.svc"),
            server=Server.model_validate({"port": self.port, "mlflow": {}}),
            input_example=example or self.example,
            requests=5,
            timeout_seconds=20,
            within_seconds=120,
            **changes,
        )
        return await HttpAuditor(random.Random(seed)).audit(audit)

    def edited(self, column: int, value: Any) -> bytes:
        """Return the example with another value in the second row."""
        content = json.loads(self.example)
        content["dataframe_split"]["data"][1][column] = value
        return json.dumps(content).encode()


@pytest.fixture(scope="module")
def scoring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scoring]:
    folder = tmp_path_factory.mktemp("scoring")
    model = folder / "model"
    # pandas has no types.
    frame = importlib.import_module("pandas").DataFrame(ROWS)
    mlflow.pyfunc.save_model(model, python_model=_model(), input_example=frame, pip_requirements=["mlflow"])
    port = free_port()
    # What `mlflow models serve` starts (scoring_server, `get_cmd`).
    command = [sys.executable, "-m", "uvicorn", "--port", str(port), "mlflow.pyfunc.scoring_server.app:app"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    with (folder / "server.log").open("wb") as log:
        environment |= {"__pyfunc_model_path__": str(model)}
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        until(lambda: _ready(port, process, folder / "server.log"), 120, "the scoring server is ready", every=0.3)
        yield Scoring(port, (model / "serving_input_example.json").read_bytes())
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def _ready(port: int, process: "subprocess.Popen[bytes]", log: Path) -> bool:
    assert process.poll() is None, log.read_text()[-2000:]
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5) as answer:
            return int(answer.status) == 200
    except OSError:
        threading.Event().wait(0.1)
        return False


@pytest.mark.parametrize("seed", range(6))
async def test_a_good_model_passes_as_whatever_client_it_is_asked(scoring: Scoring, seed: int) -> None:
    fact = await scoring.audited(seed=seed)
    assert (fact.passed, fact.failure) == (True, None)
    assert fact.answered >= 5


async def test_mlflow_takes_missing_values_as_it_writes_them_and_answers_nan_which_is_no_json(scoring: Scoring) -> None:
    missing = scoring.edited(0, float("nan"))
    assert b"NaN" in missing
    fact = await scoring.audited(missing)
    assert not fact.passed
    assert "its answer holds NaN" in str(fact.failure)
    assert (await scoring.audited(missing, missing_predictions=True)).passed


async def test_a_missing_text_changes_nothing_however_the_rows_are_drawn(scoring: Scoring) -> None:
    for seed in range(4):
        assert (await scoring.audited(scoring.edited(1, float("nan")), seed=seed)).passed


async def test_one_prediction_for_several_rows_is_refused_unless_the_example_is_a_whole(scoring: Scoring) -> None:
    aggregated = scoring.edited(0, -1.0)
    fact = await scoring.audited(aggregated)
    assert "predictions came back" in str(fact.failure)
    assert (await scoring.audited(aggregated, whole_example=True)).passed


async def test_why_a_model_fails_is_the_last_line_of_its_trace(scoring: Scoring) -> None:
    fact = await scoring.audited(scoring.edited(0, 1000.0), whole_example=True)
    assert "was answered with 400: FileNotFoundError: [Errno 2] No such file or directory: '/training/host/cfg.json'" in str(
        fact.failure
    )
    assert "Encountered an unexpected error while evaluating the model" in str(fact.failure)


async def test_the_values_that_mlflow_repeats_in_its_errors_are_not_told(scoring: Scoring) -> None:
    content = json.loads(scoring.example)
    content["dataframe_split"]["columns"][0] = "height"
    fact = await scoring.audited(json.dumps(content).encode(), whole_example=True)
    assert "Model is missing inputs ['a']" in str(fact.failure)
    for value in ("Alice", "Bob", "Carol", "2.5"):
        assert value not in str(fact.failure)
