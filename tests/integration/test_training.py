"""`log_environment()` in training scripts of their own, against a real MLflow server."""

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mlflow import MlflowClient

from lockstep.api.environmentspec import EnvironmentSpec
from lockstep.environment.comparison.compare import compare
from lockstep.environment.document import EnvironmentDocument, RequiredProof
from lockstep.formats.canonical import sha256_of
from lockstep.formats.storage import ARTIFACT_PATH, digest_parameter, run_artifact
from tests.fakes.mlflow_server import MLflowServer, free_port

ROOT = Path(__file__).resolve().parents[2]
START = """
import mlflow, numpy
from sklearn.linear_model import LogisticRegression
import lockstep.training
X, y = [[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1]
def fit():
    return LogisticRegression().fit(X, y)
def log(model, **more):
    # Requirements are given, since inferring them takes a process of MLflow's own for each model.
    more |= {{"serialization_format": "cloudpickle", "pip_requirements": ["scikit-learn"]}}
    return mlflow.sklearn.log_model(model, name="model", **more)
"""
SCRIPTS = {
    "after": """
        with mlflow.start_run():
            log(fit(), input_example=X)
            lockstep.training.log_environment(extra_packages=["PyYAML"])
    """,
    "before": """
        with mlflow.start_run():
            lockstep.training.log_environment(prove=False)
            log(fit())
    """,
    "autolog": """
        mlflow.sklearn.autolog(serialization_format="cloudpickle")
        fit()
        assert mlflow.active_run() is None
        lockstep.training.log_environment(prove=False)
    """,
    "autolog-before-fit": """
        mlflow.sklearn.autolog(serialization_format="cloudpickle")
        lockstep.training.log_environment(prove=False)
        fit()
    """,
    "autolog-twice": """
        with mlflow.start_run():
            mlflow.log_metric("tried", 1)
        mlflow.sklearn.autolog(serialization_format="cloudpickle")
        for _ in range(2):
            lockstep.training.log_environment(prove=False)
            fit()
    """,
    "after-the-run": """
        with mlflow.start_run():
            log(fit())
        lockstep.training.log_environment(prove=False)
    """,
    "two-models": """
        with mlflow.start_run():
            log(fit())
            log(fit())
            lockstep.training.log_environment(prove=False)
    """,
    "without-a-run": """
        lockstep.training.log_environment(prove=False)
        log(fit())
        assert mlflow.active_run() is None
    """,
    "by-model-id": """
        with mlflow.start_run():
            first, second = log(fit()), log(fit())
        lockstep.training.log_environment(model_id=second.model_id, prove=False)
    """,
    "by-run-id": """
        with mlflow.start_run() as wanted:
            log(fit())
        with mlflow.start_run():
            log(fit())
        lockstep.training.log_environment(run_id=wanted.info.run_id, prove=False)
    """,
    "threads": """
        import threading
        waiting = threading.Barrier(2)
        def train(number):
            with mlflow.start_run():
                lockstep.training.log_environment(prove=False)
                waiting.wait(60)
                log(fit())
        threads = [threading.Thread(target=train, args=(n,)) for n in range(2)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    """,
    "xgboost": """
        import xgboost
        with mlflow.start_run():
            booster = xgboost.XGBClassifier(n_estimators=2, n_jobs=1).fit(X, y).get_booster()
            wrong = ["cloudpickle"]
            mlflow.xgboost.log_model(booster, name="model", pip_requirements=wrong, input_example=numpy.array(X))
            lockstep.training.log_environment()
    """,
    "lightgbm": """
        import lightgbm
        with mlflow.start_run():
            booster = lightgbm.train({"num_threads": 1, "verbose": -1}, lightgbm.Dataset(numpy.array(X), y), 2)
            wrong = ["scikit-surprise==0.1"]
            mlflow.lightgbm.log_model(booster, name="model", pip_requirements=wrong, input_example=numpy.array(X))
            lockstep.training.log_environment()
    """,
    "own-code": """
        import fraud
        with mlflow.start_run():
            wrong = {"pip_requirements": ["cloudpickle"], "input_example": X}
            mlflow.pyfunc.log_model(python_model=fraud.Model(), name="model", **wrong)
            lockstep.training.log_environment()
    """,
    "code-paths": """
        import sys
        sys.path.insert(0, "shared")
        import rates
        with mlflow.start_run():
            wrong = {"pip_requirements": ["cloudpickle"], "input_example": X}
            mlflow.pyfunc.log_model(python_model=rates.Model(), name="model", code_paths=["shared/rates.py"], **wrong)
            # Where it is served there is what code_paths brings, and nothing else.
            sys.path.remove("shared")
            lockstep.training.log_environment()
    """,
    "by-value": """
        class Model(mlflow.pyfunc.PythonModel):
            def predict(self, context, model_input, params=None):
                import pandas
                return pandas.DataFrame(numpy.asarray(model_input) * 2)
        with mlflow.start_run():
            wrong = {"pip_requirements": ["cloudpickle"], "input_example": X}
            mlflow.pyfunc.log_model(python_model=Model(), name="model", **wrong)
            lockstep.training.log_environment()
    """,
    "one-fails": """
        with mlflow.start_run() as run:
            mlflow.initialize_logged_model(name="never uploaded")
            log(fit())
            assert len(lockstep.training.log_environment()) == 1
        try:
            lockstep.training.log_environment(strict=True)
        except lockstep.training.EnvironmentNotLoggedError:
            print("strict raised")
    """,
    "closed-output": """
        import sys
        sys.stdout.close()
        with mlflow.start_run():
            log(fit())
            lockstep.training.log_environment(prove=False)
        lockstep.training.log_environment(model_id="m-none", extra_packages=None)
        lockstep.training.log_environment(run_id="f" * 32)
    """,
}
OWN_CODE = """
import numpy
from mlflow.pyfunc import PythonModel
class Model(PythonModel):
    def predict(self, context, model_input, params=None):
        return numpy.asarray(model_input) * 2
"""

PROCESSES = [
    ["after"],
    ["before"],
    ["autolog"],
    ["autolog-before-fit"],
    ["autolog-twice"],
    ["without-a-run"],
    # These leave nothing behind that the next one would notice.
    ["two-models", "by-model-id", "by-run-id", "threads", "one-fails", "after-the-run"],
    ["closed-output"],
    ["xgboost", "lightgbm"],
    ["own-code", "code-paths", "by-value"],
]
"""What runs in one process; its start, mostly imports, is what takes the time."""


def environment(uri: str) -> dict[str, str]:
    # Autologging infers requirements in a process of its own for each model: it is given up soon, they are not the point.
    quiet = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_REQUIREMENTS_INFERENCE_TIMEOUT": "1",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }
    return os.environ | quiet | {"MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(ROOT / "operator")}


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def run_scripts(folder: Path, names: list[str], uri: str) -> dict[str, str]:
    """Run scripts in one process and return what each of them printed."""
    parts = [f"print('=== {name}')\nmlflow.set_experiment({name!r})\n{textwrap.dedent(SCRIPTS[name])}" for name in names]
    script = folder / "train.py"
    script.write_text(START.replace("{{", "{").replace("}}", "}") + "\n".join(parts))
    if "own-code" in names:
        for own in (folder / "fraud.py", folder / "shared/rates.py"):
            own.parent.mkdir(exist_ok=True)
            own.write_text(OWN_CODE)
    if names in (["after"], ["before"]):
        git(folder, "init", "-q")
        git(folder, "add", "train.py")
        git(folder, "commit", "-q", "-m", "train")
    if names == ["before"]:
        (folder / "features.py").write_text("# not committed")
    done = subprocess.run(
        [sys.executable, "train.py"],
        cwd=folder,
        env=environment(uri),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{names}: {done.stderr[-3000:]}"
    return {said.partition("\n")[0]: said for said in done.stdout.split("=== ")[1:]}


@pytest.fixture(scope="module")
def done(server: MLflowServer, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Run every script, some processes at a time."""
    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(run_scripts, tmp_path_factory.mktemp("train"), names, server.uri) for names in PROCESSES]
        return {name: said for future in running for name, said in future.result().items()}


Done = Mapping[str, str]


class Found:
    """What MLflow holds of one script's experiment."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.client = MlflowClient()
        self.folder = folder
        experiment = self.client.get_experiment_by_name(name)
        assert experiment is not None
        self.runs = list(self.client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"]))
        models = self.client.search_logged_models([experiment.experiment_id])
        self.models = sorted(models, key=lambda model: model.creation_timestamp)

    def digest(self, model_id: str) -> str | None:
        stated = [run.data.params.get(digest_parameter(model_id)) for run in self.runs]
        return next((one for one in stated if one is not None), None)

    def document(self, model_id: str) -> EnvironmentDocument | None:
        model = next(one for one in self.models if one.model_id == model_id)
        kept = [one.path for one in self.client.list_logged_model_artifacts(model_id, "lockstep")]
        if ARTIFACT_PATH not in kept:
            return None
        from mlflow.artifacts import download_artifacts

        path = download_artifacts(f"{model.artifact_location}/{ARTIFACT_PATH}", dst_path=str(self.folder))
        return EnvironmentDocument.parse(Path(path).read_bytes())


@pytest.fixture
def found(request: pytest.FixtureRequest, done: Done, tracking: str, tmp_path: Path) -> Found:
    name = str(request.param)
    return Found(name, tmp_path)


WITH_RUN = ["after", "before", "autolog", "autolog-before-fit", "autolog-twice", "after-the-run", "two-models", "threads"]


@pytest.mark.parametrize("found", WITH_RUN, indirect=True)
def test_every_model_gets_its_document_and_its_run_the_digest(found: Found) -> None:
    assert found.models
    for model in found.models:
        assert model.source_run_id is not None
        document = found.document(model.model_id)
        assert document is not None
        assert found.digest(model.model_id) == document.digest
        assert "scikit-learn" in {package.name for package in document.packages}
        copies = [one.path for one in found.client.list_artifacts(model.source_run_id, "lockstep")]
        assert run_artifact(model.model_id) in copies


@pytest.mark.parametrize(
    ("found", "runs", "models"),
    [
        ("after", 1, 1),
        ("before", 1, 1),
        ("autolog", 1, 1),
        ("autolog-before-fit", 1, 1),
        ("autolog-twice", 3, 2),
        ("two-models", 1, 2),
        ("without-a-run", 0, 1),
        ("by-run-id", 2, 2),
        ("threads", 2, 2),
    ],
    indirect=["found"],
)
def test_no_run_is_ever_created(found: Found, runs: int, models: int) -> None:
    assert (len(found.runs), len(found.models)) == (runs, models)


@pytest.mark.parametrize("name", ["after", "two-models", "by-model-id", "by-run-id"])
def test_it_prints_what_it_attached_to(done: Done, tracking: str, tmp_path: Path, name: str) -> None:
    found = Found(name, tmp_path)
    recorded = [model for model in found.models if found.digest(model.model_id)]
    for model in recorded:
        said = f"lockstep: environment {found.digest(model.model_id)} of model {model.model_id}, run {model.source_run_id}"
        assert said in done[name]
    assert done[name].count("lockstep: environment") == len(recorded)


@pytest.mark.parametrize("found", ["after"], indirect=True)
def test_a_reload_and_a_prediction_prove_what_the_model_needs(found: Found, done: Done) -> None:
    document = found.document(found.models[0].model_id)
    assert document is not None
    assert document.required_proof is RequiredProof.PROVEN
    assert {"scikit-learn", "numpy", "scipy", "joblib", "threadpoolctl", "pyyaml"} <= set(document.required or ())
    assert not {"pytest", "mlflow", "kopf"} & set(document.required or ())
    assert "the packages it needs are proven" in done["after"]


FRAMEWORKS = {
    "xgboost": "xgboost-cpu",
    "lightgbm": "lightgbm",
    "own-code": "numpy",
    "code-paths": "numpy",
    "by-value": "pandas",
}
"""What each model can't do without, though its requirements, written by hand, name it nowhere."""


@pytest.mark.parametrize("found", FRAMEWORKS, indirect=True)
def test_what_a_model_needs_is_proven_whatever_its_requirements_say(found: Found, done: Done) -> None:
    document = found.document(found.models[0].model_id)
    assert document is not None
    assert "the packages it needs are proven" in done[found.name]
    assert document.required_proof is RequiredProof.PROVEN
    assert {FRAMEWORKS[found.name], "numpy"} <= set(document.required or ())
    assert not {"pytest", "mlflow", "kopf", "fastapi", "pyarrow"} & set(document.required or ())


@pytest.mark.parametrize("found", FRAMEWORKS, indirect=True)
def test_an_image_without_the_framework_or_with_another_one_is_told_by_its_name(found: Found) -> None:
    trained = found.document(found.models[0].model_id)
    assert trained is not None
    framework = FRAMEWORKS[found.name]
    others = tuple(package for package in trained.packages if package.name != framework)
    (theirs,) = (package for package in trained.packages if package.name == framework)
    changed = sorted([*others, theirs.model_copy(update={"version": "0.1"})], key=lambda package: package.name)
    said = {
        tuple(one.sentence for one in compare(trained, image, EnvironmentSpec()).differences)
        for packages in (trained.packages, others, tuple(changed))
        if (image := trained.model_copy(update={"packages": packages}))
    }
    was = f"{framework}: trained with {theirs.version}"
    assert said == {(), (f"{was}, missing in the image",), (f"{was}, image has 0.1",)}


@pytest.mark.parametrize(("found", "path"), [("own-code", "fraud.py"), ("code-paths", "rates.py")], indirect=["found"])
def test_a_models_own_code_is_recorded_by_its_digest(found: Found, path: str) -> None:
    document = found.document(found.models[0].model_id)
    assert document is not None
    assert document.required == ("cloudpickle", "numpy")
    assert document.code == {path: sha256_of(OWN_CODE.encode())}
    without = document.model_copy(update={"code": {}})
    (sentence,) = (one.sentence for one in compare(document, without, EnvironmentSpec()).differences)
    assert sentence.startswith(f"{path} trained and is not among the image's own code")


@pytest.mark.parametrize("found", ["xgboost", "lightgbm"], indirect=True)
def test_frameworks_bring_what_they_depend_on_and_nothing_of_their_own_code(found: Found) -> None:
    document = found.document(found.models[0].model_id)
    assert document is not None
    assert {"numpy", "scipy"} <= set(document.required or ())
    assert document.code == {}


@pytest.mark.parametrize(("found", "dirty"), [("after", "false"), ("before", "true")], indirect=["found"])
def test_whether_the_tree_was_the_commit_is_recorded(found: Found, dirty: str) -> None:
    tags = found.runs[0].data.tags
    assert tags["mlflow.source.git.commit"]
    assert tags["lockstep.git.dirty"] == dirty


@pytest.mark.parametrize("found", ["two-models"], indirect=True)
def test_without_git_nothing_is_said_of_the_tree(found: Found) -> None:
    assert "lockstep.git.dirty" not in found.runs[0].data.tags


def test_before_a_model_is_logged_it_says_that_it_waits(done: Done) -> None:
    assert "no model yet; the environment will be recorded with the next model of run" in done["before"]
    assert "with the next model that this process logs" in done["autolog-before-fit"]


@pytest.mark.parametrize("found", ["without-a-run"], indirect=True)
def test_a_model_without_a_run_gets_its_document_alone(found: Found) -> None:
    assert found.document(found.models[0].model_id) is not None
    assert not found.models[0].source_run_id


@pytest.mark.parametrize(("found", "recorded"), [("by-model-id", [1]), ("by-run-id", [0])], indirect=["found"])
def test_a_given_id_names_whose_it_is(found: Found, recorded: list[int]) -> None:
    have = [index for index, model in enumerate(found.models) if found.digest(model.model_id)]
    assert have == recorded


@pytest.mark.parametrize("found", ["one-fails"], indirect=True)
def test_one_model_that_can_not_be_read_keeps_no_other_from_its_document(found: Found, done: Done) -> None:
    assert [bool(found.digest(model.model_id)) for model in found.models] == [False, True]
    assert f"of model {found.models[0].model_id} was NOT recorded" in done["one-fails"]
    assert "strict raised" in done["one-fails"]


@pytest.mark.parametrize("found", ["closed-output"], indirect=True)
def test_nothing_that_goes_wrong_ends_the_job(found: Found) -> None:
    assert found.digest(found.models[0].model_id)


def test_a_second_call_changes_nothing(done: Done, tracking: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from lockstep.training import log_environment

    found = Found("after", tmp_path)
    model = found.models[0]
    before = found.document(model.model_id)
    # This process is another environment than the script: nothing of it may arrive.
    assert log_environment(model_id=model.model_id) == [found.digest(model.model_id)]
    assert log_environment(run_id=found.runs[0].info.run_id) == [found.digest(model.model_id)]
    said = capsys.readouterr().out
    assert said.count("(recorded already)") == 2
    assert "proven" not in said, "what was proven then is not known to this call"
    again = Found("after", tmp_path)
    assert again.document(model.model_id) == before
    assert again.runs[0].data.params == found.runs[0].data.params
    assert len(again.runs) == 1


def test_an_ended_run_without_a_model_is_no_place_to_wait(
    done: Done, tracking: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from lockstep.training import EnvironmentNotLoggedError, log_environment

    metrics_only = Found("autolog-twice", tmp_path).runs[0].info.run_id
    assert log_environment(run_id=metrics_only) == []
    assert "NOT recorded" in capsys.readouterr().out
    with pytest.raises(EnvironmentNotLoggedError, match="has logged no model"):
        log_environment(run_id=metrics_only, strict=True)


@pytest.mark.parametrize("strict", [False, True])
def test_a_server_that_is_down_breaks_the_job_only_if_strict(tmp_path: Path, strict: bool) -> None:
    script = f"""
        import lockstep.training
        lockstep.training.log_environment(model_id="m-{"0" * 32}", strict={strict})
        print("the job goes on")
    """
    down = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "2"}
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=tmp_path,
        env=environment(f"http://127.0.0.1:{free_port()}") | down,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert time.monotonic() - started < 60
    assert ("the job goes on" in done.stdout) is not strict
    assert done.returncode == int(strict)
    said = done.stdout + done.stderr
    assert ("EnvironmentNotLoggedError" if strict else "was NOT recorded") in said
