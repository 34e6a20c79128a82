"""`lockstep check`: what it reads, what it refuses without asking anybody, and whom it asks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lockstep.cli.access.registry import is_inside_a_cluster, tracking_of
from lockstep.cli.admission.text import documents
from lockstep.cli.main import main
from tests.fakes import manifests as written
from tests.fakes.mlflow_server import free_port

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def policy(folder: Path, **spec: object) -> str:
    path = folder / "policy.yaml"
    path.write_text(written.policy(registry={"trackingURI": f"http://127.0.0.1:{free_port()}"}, **spec))
    return str(path)


def check(folder: Path, *more: str, rules: str | None = None) -> int:
    return main(["check", "--policy", rules or policy(folder), *more])


def test_a_manifest_that_kubectl_refuses_is_refused_and_the_field_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "iris.yaml").write_text(written.deployment(replica=2, template={"volumez": []}))
    assert check(tmp_path, "-f", str(tmp_path / "iris.yaml")) == 1
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "default/iris: refused: the API server would not take it",
        "  unknown field spec.replica; did you mean spec.replicas?",
        "  " + said.out.splitlines()[2].strip(),
    ]
    last = said.err.splitlines()[-1]
    assert last.startswith("SpecInvalid: ")
    assert "did you mean spec.replicas?" in last


def test_programs_get_the_fields_that_are_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "iris.yaml").write_text(written.deployment(replicas="2"))
    assert check(tmp_path, "-f", str(tmp_path / "iris.yaml"), "-o", "json") == 1
    stated = json.loads(capsys.readouterr().out)
    assert (stated["name"], stated["exitStatus"], stated["gates"]) == ("iris", 1, [])
    assert stated["problems"] == [{"field": "spec.replicas", "message": 'it has to be of type integer, and is "2"'}]


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"lineage": {"requires": ["GitCommit"]}}, "spec.lineage.require?"),
        ({"environment": {"packages": {"levels": "Content"}}}, "spec.environment.packages.level?"),
        ({"images": {"signatures": [written.RULE | {"threshold": 2}]}}, "threshold must not be larger"),
        ({"images": {"signatures": [written.RULE]}}, "key"),
    ],
)
def test_a_policy_that_is_laxer_than_it_looks_decides_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spec: dict[str, object], named: str
) -> None:
    (tmp_path / "iris.yaml").write_text(written.deployment())
    assert check(tmp_path, "-f", str(tmp_path / "iris.yaml"), rules=policy(tmp_path, **spec)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[-1].startswith("PolicyInvalid: ")
    assert named in said.err


def test_a_policy_beside_the_manifests_is_checked_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = written.deployment(replica=2) + "---\n" + written.policy(lineage={"requires": []})
    (tmp_path / "both.yaml").write_text(both)
    assert check(tmp_path, "-f", str(tmp_path / "both.yaml")) == 1
    assert "PromotionPolicy tried: refused" in capsys.readouterr().out


def test_folders_documents_and_lists_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(name: str) -> str:
        return written.deployment(name, replica=1)

    folder = tmp_path / "deploy"
    (folder / "below").mkdir(parents=True)
    (folder / "b.yaml").write_text(broken("b1") + "---\nkind: Service\n---\n" + broken("b2"))
    (folder / "a.yml").write_text(json.dumps({"kind": "List", "items": [json.loads(json.dumps(_object(broken("a1"))))]}))
    (folder / "c.json").write_text(json.dumps(_object(broken("c1"))))
    (folder / "notes.txt").write_text("{")
    (folder / "below" / "d.yaml").write_text(broken("d1"))
    rules = policy(tmp_path)

    def names(*arguments: str) -> list[str]:
        assert check(tmp_path, *arguments, rules=rules) == 1
        return [line.split(":")[0].partition("/")[2] for line in capsys.readouterr().out.splitlines() if line[0] != " "]

    assert names("-f", str(folder)) == ["a1", "b1", "b2", "c1"]
    assert names("-R", "-f", str(folder)) == ["a1", "b1", "b2", "d1", "c1"]
    assert names("-f", str(folder / "c.json"), "-f", str(folder / "a.yml")) == ["c1", "a1"]


def test_a_manifest_comes_from_standard_input(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lockstep.cli.main", "check", "-f", "-", "--policy", policy(tmp_path)],
        input=written.deployment("e1", replica=1).encode(),
        env=os.environ | {"PYTHONPATH": str(ROOT / "operator")},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith(b"default/e1: refused")


def _object(text: str) -> object:
    return documents(text)[0]


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [("", "holds no ModelDeployment"), ("kind: Service\n", "holds no ModelDeployment"), ("kind: [\n", "SpecInvalid")],
)
def test_a_file_without_a_model_deployment_could_not_be_determined(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], manifest: str, reason: str
) -> None:
    (tmp_path / "m.yaml").write_text(manifest)
    assert check(tmp_path, "-f", str(tmp_path / "m.yaml")) == 2
    assert reason in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("uri", "inside"),
    [
        ("http://mlflow.mlflow.svc:5000", True),
        ("http://mlflow.mlflow.svc.cluster.local:5000", True),
        ("http://mlflow.mlflow.svc.corp.internal", True),
        ("http://mlflow:5000", True),
        ("https://mlflow.example.com", False),
        ("http://localhost:5000", False),
        ("http://127.0.0.1:5000", False),
        ("http://[::1]:5000", False),
        ("http://svc.example.com", False),
        ("http://[", False),
    ],
)
def test_addresses_inside_a_cluster_are_told_apart(uri: str, inside: bool) -> None:
    assert is_inside_a_cluster(uri) is inside


def test_what_is_given_is_asked_and_a_variable_only_where_the_policy_names_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    inside, outside = "http://mlflow.mlflow.svc:5000", "https://mlflow.example.com"
    assert tracking_of(inside, None).hint
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://laptop:5000")
    assert tracking_of(inside, None).uri == "http://laptop:5000"
    assert tracking_of(outside, None).uri == outside
    assert tracking_of(outside, "http://given:1").uri == "http://given:1"
    sentence = tracking_of(inside, None).sentence
    assert sentence == f"MLflow is asked at http://laptop:5000 (MLFLOW_TRACKING_URI); the policy says {inside}"


def test_who_is_asked_is_said_and_a_cluster_address_that_does_not_answer_says_what_to_give(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    (tmp_path / "iris.yaml").write_text(written.deployment(image=f"127.0.0.1:{port}/iris:1"))
    rules = tmp_path / "policy.yaml"
    rules.write_text(written.policy(registry={"trackingURI": "http://mlflow.mlflow.svc:5000"}))
    assert check(tmp_path, "-f", str(tmp_path / "iris.yaml"), rules=str(rules)) == 2
    said = capsys.readouterr()
    assert "MLflow is asked at http://mlflow.mlflow.svc:5000 (the policy)" in said.err
    assert "give the one from here by --tracking-uri or MLFLOW_TRACKING_URI" in said.err.splitlines()[-1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    assert check(tmp_path, "-f", str(tmp_path / "iris.yaml"), rules=str(rules)) == 2
    said = capsys.readouterr()
    assert f"MLflow at http://127.0.0.1:{port} did not answer" in said.out
    assert "(MLFLOW_TRACKING_URI)" in said.err
