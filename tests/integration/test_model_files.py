"""The files of registered models on a real MLflow: pinned, changed, downloaded in every way, and compared with an image."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import mlflow
import pytest
from sklearn.linear_model import LogisticRegression

from lockstep.api.modeldeployment import GateOutcome
from lockstep.api.reasons import Reason
from lockstep.formats.modelfiles import ModelFile, ModelFiles
from lockstep.gates import image as image_gate
from lockstep.gates import lineage as gate
from lockstep.gates.evidence import LineagePins
from lockstep.gates.gate import Result
from lockstep.images.limits import Limits
from lockstep.images.scan.result import ImageModel
from lockstep.lineage.connection import MLflowCredentials
from lockstep.lineage.lineage import Lineage, Place
from lockstep.lineage.mlflow import MLflowRegistry
from lockstep.lineage.reading import Known, Progress, ReadingLimits, listing
from lockstep.lineage.reading import read as read_files
from tests.fakes import builders as build
from tests.fakes.images import MemorySource, layer
from tests.fakes.mlflow_server import MLflowServer
from tests.fakes.roots import Files, debian, items, venv
from tests.fakes.workers import scan
from tests.integration.trainer import Trained, World, X, read


@pytest.fixture(scope="module")
def world(server: MLflowServer) -> World:
    mlflow.set_tracking_uri(server.uri)
    mlflow.set_experiment("files")
    return World(server.uri)


@pytest.fixture
def trained(world: World) -> Trained:
    return world.train()


def files_of(uri: str, place: Place | None) -> ModelFiles:
    assert place is not None

    async def asked() -> ModelFiles:
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            registry = MLflowRegistry(session, uri, MLflowCredentials(), timeout_seconds=60)
            sizes = await listing(registry, place, ReadingLimits())
            return await read_files(registry, place, sizes, ReadingLimits(), progress=Progress(), known=Known())

    return asyncio.run(asked())


def judged(world: World, lineage: Lineage, pins: LineagePins | None = None) -> Result:
    return gate.GATE.evaluate(build.evidence(lineage=lineage, files=files_of(world.uri, lineage.place), pins=pins))


def pinned(world: World, name: str, version: str) -> LineagePins:
    """Look at a version for the first time."""
    lineage = read(world, name, version=version)
    assert judged(world, lineage).outcome is GateOutcome.PASSED, judged(world, lineage)
    return gate.pins_of(lineage, first_seen=build.NOW, files=files_of(world.uri, lineage.place))


def image_with(*folders: tuple[str, Path]) -> tuple[ImageModel, ...]:
    """Scan an image into which these folders were copied."""
    files: Files = dict(debian() | venv())
    for target, folder in folders:
        files |= {f"{target}/{path.relative_to(folder)}": path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    async def scanned() -> tuple[ImageModel, ...]:
        source = MemorySource()
        source.image([layer(*items(files))], settings={"Entrypoint": ["/opt/venv/bin/python"]})
        return (await scan(source, await source.resolved(), Limits())).models

    return asyncio.run(scanned())


def judged_image(lineage: Lineage, pins: LineagePins, *models: ImageModel) -> Result:
    document = build.document().model_copy(update={"start": build.start(model=models[0].path)})
    return image_gate.GATE.evaluate(
        build.evidence(lineage=lineage, pins=pins, scan=build.scan(models=models, document=document))
    )


# --- what is pinned -------------------------------------------------------------------------------------------------------


def test_all_files_of_a_version_are_listed_and_read_but_for_the_recorded_environment(world: World, trained: Trained) -> None:
    version = world.versioned("whole", trained)
    pins = pinned(world, "whole", version)
    assert pins.files is not None
    stock = {"MLmodel", "conda.yaml", "input_example.json", "model.pkl", "python_env.yaml", "requirements.txt"}
    assert set(pins.files.files) == stock | {"serving_input_example.json"}
    assert read(world, "whole", version=version).environment_document is not None, "it is there, with a pin of its own"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("serving_input_example.json", "serving_input_example.json is another file"),
        ("model.pkl", "model.pkl is another file"),
        ("requirements.txt", "requirements.txt is another file"),
        ("conda.yaml", "conda.yaml is another file"),
        ("code/evil.py", "code/evil.py was added"),
        ("MLmodel.bak", "MLmodel.bak was added"),
    ],
)
def test_a_file_that_is_replaced_or_added_after_a_version_was_first_seen_is_named(
    world: World, trained: Trained, path: str, says: str
) -> None:
    name = f"edited-{path.replace('/', '-')}"
    version = world.versioned(name, trained)
    pins = pinned(world, name, version)
    known = pins.files.files.get(path) if pins.files else None
    world.replace(trained, path, b"x" * (known.size if known else 7))
    result = judged(world, read(world, name, version=version), pins)
    assert (result.outcome, result.reason) == (GateOutcome.REJECTED, Reason.LINEAGE_CHANGED)
    assert says in result.message


def test_weights_of_another_run_of_the_same_size_are_found(world: World, trained: Trained, server: MLflowServer) -> None:
    version = world.versioned("weights", trained)
    pins = pinned(world, "weights", version)
    (weights,) = server.artifacts.glob(f"*/models/{trained.model_id}/artifacts/model.pkl")
    body = weights.read_bytes()
    world.replace(trained, "model.pkl", body[:-1] + bytes([body[-1] ^ 1]))
    result = judged(world, read(world, "weights", version=version), pins)
    assert result.reason is Reason.LINEAGE_CHANGED
    assert "model.pkl is another file" in result.message


def test_a_file_that_is_deleted_is_missing(world: World, trained: Trained) -> None:
    version = world.versioned("deleting", trained)
    pins = pinned(world, "deleting", version)
    experiment = world.client.get_run(trained.run_id).info.experiment_id
    path = f"{experiment}/models/{trained.model_id}/artifacts/conda.yaml"
    world.call("DELETE", f"/api/2.0/mlflow-artifacts/artifacts/{path}", b"")
    assert "conda.yaml is missing" in judged(world, read(world, "deleting", version=version), pins).message


def test_what_a_team_does_after_a_version_was_registered_changes_nothing(world: World, trained: Trained) -> None:
    version = world.versioned("lively", trained)
    pins = pinned(world, "lively", version)
    client = world.client
    client.set_registered_model_alias("lively", "champion", version)
    client.set_model_version_tag("lively", version, "reviewed", "yes")
    client.update_model_version("lively", version, description="better")
    client.log_metric(trained.run_id, "late", 1.0)
    mlflow.pyfunc.load_model(f"models:/lively/{version}")
    client.copy_model_version(f"models:/lively/{version}", "lively-copy")
    assert judged(world, read(world, "lively", version=version), pins).outcome is GateOutcome.PASSED


def test_a_copy_of_a_copy_has_the_files_of_the_original(world: World, trained: Trained) -> None:
    version = world.versioned("first", trained)
    copy = world.client.copy_model_version(f"models:/first/{version}", "second")
    again = world.client.copy_model_version(f"models:/second/{copy.version}", "third")
    assert pinned(world, "third", str(again.version)).files == pinned(world, "first", version).files


def old_style(world: World, *, folder: str = "model") -> tuple[str, str]:
    """Log a model's files as plain artifacts of a run, as MLflow 2 does; return the run and where the files are."""
    made = Path(mlflow.artifacts.download_artifacts(f"models:/{world.train(record=False).model_id}"))
    with mlflow.start_run() as run:
        text = (made / "MLmodel").read_text()
        model_id = next(line for line in text.splitlines() if line.startswith("model_id: "))
        old = next(line for line in text.splitlines() if line.startswith("run_id: "))
        text = text.replace(f"{model_id}\n", "").replace(old, f"run_id: {run.info.run_id}")
        (made / "MLmodel").write_text(text)
        (made / "registered_model_meta").unlink()
        mlflow.log_artifacts(str(made), folder)
        mlflow.log_artifact(str(made / "MLmodel"), "elsewhere")
    return run.info.run_id, f"{run.info.artifact_uri}/{folder}"


@pytest.mark.parametrize("folder", ["model", "deep/er/model"])
def test_a_version_whose_files_are_plain_artifacts_of_a_run_is_pinned_too(world: World, folder: str) -> None:
    run_id, source = old_style(world, folder=folder)
    name = f"old-{folder.replace('/', '-')}"
    version = world.register(name, source, run_id)
    lineage = read(world, name, version=version)
    assert (lineage.model_id, lineage.mlmodel_run_id) == (None, run_id)
    files = files_of(world.uri, lineage.place)
    assert {"MLmodel", "model.pkl"} <= set(files.files)
    assert "elsewhere/MLmodel" not in files.files
    policy = build.policy(environment={"evidence": "ModelRequirements"})
    assert (
        gate.GATE.evaluate(build.evidence(lineage=lineage, files=files, pins=None, policy=policy)).outcome is GateOutcome.PASSED
    )


# --- what people build images from ----------------------------------------------------------------------------------------


def downloaded(world: World, uri: str, target: Path) -> Path:
    command = [sys.executable, "-m", "mlflow", "artifacts", "download", "-u", uri, "-d", str(target)]
    subprocess.run(command, check=True, capture_output=True, timeout=120, env=_environment(world))
    return target


def loaded(world: World, uri: str, target: Path) -> Path:
    target.mkdir()
    mlflow.pyfunc.load_model(uri, dst_path=str(target))
    return target


def dockerfile(world: World, uri: str, target: Path) -> Path:
    command = [sys.executable, "-m", "mlflow", "models", "generate-dockerfile", "-m", uri, "-d", str(target)]
    subprocess.run(command, check=True, capture_output=True, timeout=120, env=_environment(world))
    assert "COPY model_dir /opt/ml/model" in (target / "Dockerfile").read_text()
    return target / "model_dir"


def _environment(world: World) -> dict[str, str]:
    return os.environ | {"MLFLOW_TRACKING_URI": world.uri}


@pytest.mark.parametrize("how", [downloaded, loaded, dockerfile])
@pytest.mark.parametrize("by_name", [True, False])
def test_an_image_with_the_model_as_mlflow_gives_it_passes(
    world: World, trained: Trained, tmp_path: Path, how: object, by_name: bool
) -> None:
    name = f"built-{by_name}-{getattr(how, '__name__', '')}"
    version = world.versioned(name, trained)
    uri = f"models:/{name}/{version}" if by_name else f"models:/{trained.model_id}"
    folder = how(world, uri, tmp_path / "model")  # type: ignore[operator]
    assert (folder / "registered_model_meta").is_file(), "MLflow adds it"
    lineage, pins = read(world, name, version=version), pinned(world, name, version)
    (model,) = image_with(("/opt/ml/model", folder))
    result = judged_image(lineage, pins, model)
    assert result.outcome is GateOutcome.PASSED, result.message
    (folder / "registered_model_meta").unlink()
    assert judged_image(lineage, pins, *image_with(("/srv/model", folder))).outcome is GateOutcome.PASSED


def test_an_image_with_other_weights_under_the_registered_mlmodel_is_refused_by_name(
    world: World, trained: Trained, tmp_path: Path
) -> None:
    other = world.train()
    version = world.versioned("swapped", trained)
    folder = downloaded(world, f"models:/{trained.model_id}", tmp_path / "model")
    weights = downloaded(world, f"models:/{other.model_id}", tmp_path / "other") / "model.pkl"
    (folder / "model.pkl").write_bytes(weights.read_bytes() + b" ")
    lineage, pins = read(world, "swapped", version=version), pinned(world, "swapped", version)
    result = judged_image(lineage, pins, *image_with(("/opt/model", folder)))
    assert result.reason is Reason.MODEL_FILES_DIFFER
    assert f"model.pkl in /opt/model is another file than the one of swapped {version}" in result.message


# --- servers --------------------------------------------------------------------------------------------------------------

MEGABYTES = 700
_CHILD = """
import asyncio, json, resource, sys, time
import aiohttp
from lockstep.lineage.connection import MLflowCredentials
from lockstep.lineage.lineage import Place
from lockstep.lineage.mlflow import MLflowRegistry
from lockstep.lineage.reading import Known, Progress, ReadingLimits, listing, read

async def main():
    place = Place(**json.loads(sys.argv[2]))
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        registry = MLflowRegistry(session, sys.argv[1], MLflowCredentials())
        sizes = await listing(registry, place, ReadingLimits())
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        files = await read(registry, place, sizes, ReadingLimits(), progress=Progress(), known=Known())
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
        print(json.dumps([files.files["weights.bin"].sha256, files.size, grown]))

asyncio.run(main())
"""


def test_a_large_file_is_read_as_a_stream_with_memory_for_a_small_part_of_it(
    world: World, trained: Trained, server: MLflowServer
) -> None:
    version = world.versioned("large", trained)
    (folder,) = server.artifacts.glob(f"*/models/{trained.model_id}/artifacts")
    with (folder / "weights.bin").open("wb") as weights:
        weights.truncate(MEGABYTES << 20)
    place = read(world, "large", version=version).place
    assert place is not None
    command = [sys.executable, "-c", _CHILD, world.uri, json.dumps(vars(place))]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=300)
    sha256, size, grown = json.loads(done.stdout)
    told = subprocess.run(["sha256sum", folder / "weights.bin"], check=True, stdout=subprocess.PIPE, text=True).stdout
    assert sha256 == f"sha256:{told.split()[0]}"
    assert size > MEGABYTES << 20
    assert grown < 64, f"{grown} MB for {MEGABYTES} MB"
    (folder / "weights.bin").unlink()


@pytest.fixture(scope="module")
def unproxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MLflowServer]:
    """A server that hands no artifacts through; its own disk is where clients write."""
    folder = tmp_path_factory.mktemp("unproxied")
    with MLflowServer(folder, "--no-serve-artifacts", "--default-artifact-root", str(folder / "root")) as started:
        yield started


def test_a_server_that_proxies_nothing_and_can_read_its_files_is_checked_as_well(
    unproxied: MLflowServer, server: MLflowServer, tmp_path: Path
) -> None:
    mlflow.set_tracking_uri(unproxied.uri)
    try:
        mlflow.set_experiment("unproxied")
        world = World(unproxied.uri)
        trained = world.train()
        version = world.versioned("direct", trained)
        pins = pinned(world, "direct", version)
        folder = downloaded(world, f"models:/direct/{version}", tmp_path / "model")
        lineage = read(world, "direct", version=version)
        assert judged_image(lineage, pins, *image_with(("/opt/model", folder))).outcome is GateOutcome.PASSED
        stored = Path(lineage.artifact_uri.removeprefix("file://"))
        (stored / "model.pkl").write_bytes(b"others")
        assert judged(world, read(world, "direct", version=version), pins).reason is Reason.LINEAGE_CHANGED
    finally:
        mlflow.set_tracking_uri(server.uri)


def test_a_storage_that_the_server_can_not_read_is_told_as_such_and_passes_nothing(
    unproxied: MLflowServer,
) -> None:
    """As where clients write to a bucket and the tracking server has no credentials, or no library, for it."""
    world = World(unproxied.uri)
    experiment = world.client.create_experiment("bucket", artifact_location="s3://bucket/root")
    run = world.client.create_run(experiment)
    world.client.set_terminated(run.info.run_id, "FINISHED")
    made = world.client.create_logged_model(experiment, source_run_id=run.info.run_id)
    world.client.finalize_logged_model(made.model_id, "READY")
    version = world.register("bucket", f"models:/{made.model_id}", run.info.run_id)
    lineage = read(world, "bucket", version=version)
    assert lineage.artifact_uri.startswith("s3://bucket/root")
    for rule in ("IfReadable", "Required", "Ignore"):
        policy = build.policy(lineage={"modelFiles": rule})
        result = gate.GATE.evaluate(build.evidence(lineage=lineage, files=None, pins=None, policy=policy))
        assert (result.outcome, result.reason) == (GateOutcome.RETRY, Reason.MODEL_FILES_UNREADABLE)
    assert "s3://bucket/root" in result.message
    assert "500" in result.message


def test_a_version_that_leads_elsewhere_than_its_run_is_refused_where_files_count(world: World, trained: Trained) -> None:
    version = world.register("elsewhere", "s3://bucket/model", trained.run_id)
    lineage = read(world, "elsewhere", version=version)
    assert lineage.place is None
    assert lineage.unreadable is not None, "the server can't read it either"
    told = replace(lineage, unreadable=None, mlmodel_run_id=trained.run_id)
    result = gate.GATE.evaluate(build.evidence(lineage=told, files=build.unknown(Reason.WAITING), pins=None))
    assert (result.outcome, result.reason) == (GateOutcome.REJECTED, Reason.LINEAGE_CONFLICT)


def test_the_list_has_the_digests_that_anybody_can_compute(world: World, trained: Trained, tmp_path: Path) -> None:
    version = world.versioned("digests", trained)
    folder = downloaded(world, f"models:/{trained.model_id}", tmp_path / "model")
    told = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            line = subprocess.run(["sha256sum", path], check=True, stdout=subprocess.PIPE, text=True).stdout
            told[str(path.relative_to(folder))] = ModelFile(f"sha256:{line.split()[0]}", path.stat().st_size)
    assert ModelFiles.of(told) == pinned(world, "digests", version).files


def test_a_model_without_a_signature_or_example_has_files_too(world: World) -> None:
    with mlflow.start_run() as run:
        info = mlflow.sklearn.log_model(
            LogisticRegression().fit(X, [0, 0, 1, 1]),
            name="bare",
            serialization_format="cloudpickle",
            pip_requirements=["scikit-learn"],
        )
    version = world.versioned("bare", Trained(run.info.run_id, info.model_id))
    lineage = read(world, "bare", version=version)
    assert set(files_of(world.uri, lineage.place).files) >= {"MLmodel", "model.pkl"}
    assert lineage.input_example is None
