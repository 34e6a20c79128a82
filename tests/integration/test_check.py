"""`lockstep check` and `environment lock | diff | scan` end to end: a real MLflow and an image registry on loopback."""

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pytest
from aiohttp import web
from sklearn.linear_model import LogisticRegression

from lockstep.cli.main import main
from lockstep.environment.document import EnvironmentDocument
from lockstep.formats.canonical import sha256_of
from lockstep.training import log_environment
from tests.fakes.http import serving
from tests.fakes.images import MemorySource, layer
from tests.fakes.mlflow_server import MLflowServer, free_port
from tests.fakes.roots import VENV_SITE, Files, debian, distribution, items, venv

SETTINGS = {"Entrypoint": ["python", "serve.py"], "Env": ["PATH=/opt/venv/bin:/usr/bin:/bin"]}
# What this process can't have in common with a fake image: the tests compare one package.
HEAD = {"apiVersion": "lockstep.dev/v1alpha1"}
RULES = {"libc": "Ignore", "packages": {"ignore": []}}


@dataclass(frozen=True)
class World:
    tracking: str
    registry: str
    run_id: str
    model_id: str
    document: EnvironmentDocument


def image(source: MemorySource, tag: str, versions: dict[str, str], more: Files | None = None) -> None:
    files = debian() | venv() | (more or {})
    for name, version in versions.items():
        # Its file is made up, so that it can't be of the kind of wheel that training had.
        files |= distribution(VENV_SITE, name.replace("-", "_"), version, WHEEL="Wheel-Version: 1.0\n")
    source.image([layer(*items(files))], tag=tag, settings=SETTINGS)


class Registry:
    """The pull half of the OCI distribution API over images in memory, in a thread of its own."""

    def __init__(self, source: MemorySource) -> None:
        self._source = source
        self._started, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self.port = 0

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        kind, wanted = request.path.split("/")[-2:]
        body = self._source.blobs.get(self._source.tags.get(wanted, wanted))
        if body is None:
            return web.Response(status=404)
        stated = json.loads(body)["mediaType"] if kind == "manifests" else "application/octet-stream"
        return web.Response(body=body, headers={"Content-Type": stated, "Docker-Content-Digest": sha256_of(body)})

    async def _serve(self) -> None:
        async with serving(self._answer) as self.port:
            self._started.set()
            await asyncio.to_thread(self._ended.wait)

    def __enter__(self) -> "Registry":
        self._thread.start()
        assert self._started.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(30)


@pytest.fixture(scope="module")
def world(server: MLflowServer) -> Iterator[World]:
    mlflow.set_tracking_uri(server.uri)
    mlflow.set_experiment("check")
    with mlflow.start_run() as run:
        info = mlflow.sklearn.log_model(
            LogisticRegression().fit([[0.0], [1.0]], [0, 1]),
            name="model",
            serialization_format="cloudpickle",
            pip_requirements=["scikit-learn"],
            registered_model_name="checked",
        )
        log_environment(prove=False, strict=True)
    client = mlflow.MlflowClient()
    path = mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/lockstep/environment-{info.model_id}.json")
    document = EnvironmentDocument.parse(Path(path).read_bytes())
    with mlflow.start_run() as bare:
        mlflow.sklearn.log_model(
            LogisticRegression().fit([[0.0], [1.0]], [0, 1]),
            name="model",
            serialization_format="cloudpickle",
            pip_requirements=["scikit-learn"],
            registered_model_name="unrecorded",
        )
    assert client.get_run(bare.info.run_id)
    source = MemorySource()
    versions = {package.name: package.version for package in document.packages}
    image(source, "same", versions)
    image(source, "other", versions | {"scikit-learn": "1.2.0"})
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{info.model_id}"))
    model: Files = {f"/opt/model/{path.relative_to(folder)}": path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    image(source, "model", versions, model)
    image(source, "evil", versions, {**model, "/opt/model/model.pkl": b"others"})
    with Registry(source) as registry:
        yield World(server.uri, f"127.0.0.1:{registry.port}", run.info.run_id, info.model_id, document)


def policy(world: World, folder: Path, **parts: Any) -> str:
    spec = {"registry": {"trackingURI": world.tracking}, "environment": RULES} | parts
    path = folder / "policy.yaml"
    path.write_text(json.dumps(HEAD | {"kind": "PromotionPolicy", "metadata": {"name": "standard"}, "spec": spec}))
    return str(path)


def deployment(
    world: World, folder: Path, tag: str, model: str = "checked", version: str = "1", server: dict[str, Any] | None = None
) -> str:
    spec = {
        "model": {"name": model, "version": version},
        "image": f"{world.registry}/iris:{tag}",
        "server": server or {"mlflow": {}},
    }
    path = folder / f"{tag}.yaml"
    path.write_text(
        json.dumps(HEAD | {"kind": "ModelDeployment", "metadata": {"name": "iris", "namespace": "team"}, "spec": spec})
    )
    return str(path)


def check(world: World, manifest: str, rules: str, *more: str) -> int:
    return main(["check", "-f", manifest, "--policy", rules, "--insecure-registry", world.registry, *more])


def differences_of(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert check(world, deployment(world, tmp_path, "other"), policy(world, tmp_path), "-o", "json") == 1
    return list(json.loads(capsys.readouterr().out)["differences"])


def test_another_version_in_the_image_is_refused_and_named(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = next(package.version for package in world.document.packages if package.name == "scikit-learn")
    assert f"scikit-learn: trained with {trained}, image has 1.2.0" in differences_of(world, tmp_path, capsys)
    assert check(world, deployment(world, tmp_path, "other"), policy(world, tmp_path)) == 1
    said = capsys.readouterr().out
    assert said.startswith("team/iris: refused\n")
    assert "EnvironmentMismatch" in said
    assert "readiness" not in said


def test_the_environment_that_was_trained_in_would_go_on(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = check(world, deployment(world, tmp_path, "same"), policy(world, tmp_path))
    said = capsys.readouterr().out
    assert (status, said.splitlines()[0]) == (0, "team/iris: would go on to the pods"), said


def test_the_model_in_the_image_is_compared_file_by_file(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(world, deployment(world, tmp_path, "model"), policy(world, tmp_path)) == 0
    assert "holds checked 1 at /opt/model" in capsys.readouterr().out
    assert check(world, deployment(world, tmp_path, "evil"), policy(world, tmp_path)) == 1
    said = capsys.readouterr().out
    assert "ModelFilesDiffer" in said
    assert "model.pkl in /opt/model is another file than the one of checked 1" in said


def with_variables(world: World, tmp_path: Path, **variables: str) -> str:
    path = Path(deployment(world, tmp_path, "same"))
    manifest = json.loads(path.read_text())
    manifest["spec"]["template"] = {"env": [{"name": name, "value": value} for name, value in variables.items()]}
    path.write_text(json.dumps(manifest))
    return str(path)


def test_a_variable_that_the_schema_refuses_is_refused_whatever_the_policy_lists(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = with_variables(world, tmp_path, DATABASE_URL="s3cret", PS4="$(id)")
    assert check(world, manifest, policy(world, tmp_path, pods={"variables": {"allowed": ["*"], "dangerous": ["PS4"]}})) == 1
    printed = capsys.readouterr()
    assert printed.out.startswith("team/iris: refused: the API server would not take it\n")
    assert "spec.template.env[1].name: this variable changes which code the server loads" in printed.out
    assert "env[0]" not in printed.out
    assert "SpecInvalid" in printed.err
    assert "s3cret" not in printed.out + printed.err
    assert "$(id)" not in printed.out + printed.err


def test_variables_that_the_schema_takes_are_judged_by_the_policy(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = with_variables(world, tmp_path, DATABASE_URL="s3cret", MLSERVER_MODEL_URI="/elsewhere")
    assert check(world, manifest, policy(world, tmp_path)) == 1
    said = capsys.readouterr().out
    assert "VariableNotAllowed" in said
    assert "name DATABASE_URL in pods.variables.allowed" in said
    assert "s3cret" not in said
    assert check(world, manifest, policy(world, tmp_path, pods={"variables": {"allowed": ["*"]}})) == 1
    said = capsys.readouterr().out
    assert "MLSERVER_MODEL_URI" in said
    assert "DATABASE_URL" not in said
    listed = {"variables": {"allowed": ["*"], "dangerous": ["MLSERVER_MODEL_URI"]}}
    assert check(world, manifest, policy(world, tmp_path, pods=listed)) == 0


def test_a_custom_server_whose_pods_could_not_be_asked_anything_is_refused(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = deployment(world, tmp_path, "same", server={"custom": {"readyPath": "/ping"}})
    assert check(world, manifest, policy(world, tmp_path)) == 1
    said = capsys.readouterr().out
    assert said.startswith("team/iris: refused\n")
    assert "NothingToAsk" in said
    assert "set server.custom.predictPath" in said


def test_what_is_in_audit_mode_would_go_on(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = policy(world, tmp_path, gates=[{"name": "environment", "mode": "Audit"}])
    assert check(world, deployment(world, tmp_path, "other"), rules) == 0
    said = capsys.readouterr().out
    assert said.startswith("team/iris: would go on to the pods\n")
    assert "Rejected (Audit)" in said


@pytest.mark.parametrize(
    ("tag", "model", "version", "status", "reason"),
    [
        ("same", "checked", "9", 1, "VersionNotFound"),
        ("same", "unrecorded", "1", 1, "EnvironmentNotRecorded"),
        ("missing", "checked", "1", 1, "ImageNotFound"),
    ],
)
def test_a_plain_no_is_a_refusal(
    world: World,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tag: str,
    model: str,
    version: str,
    status: int,
    reason: str,
) -> None:
    assert check(world, deployment(world, tmp_path, tag, model, version), policy(world, tmp_path)) == status
    assert reason in capsys.readouterr().out


def test_a_server_that_is_down_could_not_be_told(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = policy(world, tmp_path, registry={"trackingURI": f"http://127.0.0.1:{free_port()}"})
    assert check(world, deployment(world, tmp_path, "same"), rules) == 2
    said = capsys.readouterr()
    assert said.out.startswith("team/iris: could not be determined\n")
    assert said.err.splitlines()[-1].startswith("RegistryUnreachable: ")


@pytest.mark.parametrize(
    ("manifest", "status"),
    [
        ("", 2),
        ("kind: [\n", 2),
        ("kind: ModelDeployment\nspec: {}\n", 1),
        ("kind: ModelDeployment\nspec: 7\n", 1),
        ("kind: ModelDeployment\nspec: {model: {name: i, version: '1'}, image: 'oci:here', server: {mlflow: {}}}\n", 1),
    ],
)
def test_a_manifest_that_the_api_server_refuses_is_refused_and_one_that_can_not_be_read_could_not_be_determined(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], manifest: str, status: int
) -> None:
    path = tmp_path / "manifest.yaml"
    path.write_text(manifest)
    assert check(world, str(path), policy(world, tmp_path)) == status
    assert capsys.readouterr().err.splitlines()[-1].startswith("SpecInvalid: ")


def test_another_address_of_mlflow_is_asked_where_the_policys_is_inside_a_cluster(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = policy(world, tmp_path, registry={"trackingURI": "http://mlflow.mlflow.svc:5000"})
    assert check(world, deployment(world, tmp_path, "same"), rules, "--tracking-uri", world.tracking) == 0
    said = capsys.readouterr()
    assert f"MLflow is asked at {world.tracking} (--tracking-uri)" in said.err


def test_a_lock_pins_what_was_recorded(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    trained = next(package for package in world.document.packages if package.name == "scikit-learn")
    names = ["models:/checked/1", f"models:/{world.model_id}", world.model_id, f"runs:/{world.run_id}", world.run_id]
    for source in names:
        assert main(["environment", "lock", source, "--tracking-uri", world.tracking]) == 0
        said = capsys.readouterr().out
        assert f"scikit-learn=={trained.version}\n" in said
        assert world.document.digest in said


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("models:/unrecorded/1", "EnvironmentNotRecorded"),
        ("models:/checked/9", "VersionNotFound"),
        ("models:/checked@nobody", "AliasNotFound"),
        ("f" * 32, "RunMissing"),
    ],
)
def test_a_lock_of_what_was_not_recorded_could_not_be_told(
    world: World, capsys: pytest.CaptureFixture[str], source: str, reason: str
) -> None:
    assert main(["environment", "lock", source, "--tracking-uri", world.tracking]) == 2
    said = capsys.readouterr()
    assert said.err.splitlines()[-1].startswith(f"{reason}: ")
    assert said.out == ""


def test_an_image_of_a_registry_is_compared_with_a_recorded_model(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--tracking-uri", world.tracking, "--insecure-registry", world.registry]
    assert main(["environment", "diff", "models:/checked/1", f"{world.registry}/iris:other", *options]) == 1
    assert "image has 1.2.0" in capsys.readouterr().out
    for source in (f"runs:/{world.run_id}", world.run_id, world.model_id, f"models:/{world.model_id}"):
        assert main(["environment", "diff", "models:/checked/1", source, *options]) == 0
