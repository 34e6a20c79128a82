"""`lockstep environment capture | scan | diff`: what they print and how they end."""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from lockstep.api.imagesspec import BaseImage
from lockstep.cli.main import main
from lockstep.environment.document import EnvironmentDocument
from tests.fakes import builders as build
from tests.fakes.images import MemorySource, layer
from tests.fakes.mlflow_server import free_port
from tests.fakes.roots import VENV_SITE, debian, distribution, elf, items, venv

ROOT = Path(__file__).resolve().parents[3]


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def layout(path: Path, version: str = "1.4.2", tag: str = "1") -> Path:
    """Write an image with Python and one package as an OCI layout."""
    files = debian() | venv() | distribution(VENV_SITE, "scikit_learn", version)
    source = MemorySource()
    source.image(
        [layer(*items(files))],
        tag=tag,
        settings={"Entrypoint": ["python", "serve.py"], "Env": ["PATH=/opt/venv/bin:/usr/bin:/bin"]},
    )
    source.write(path, tag)
    return path


BLOCKER = """
import sys
BLOCKED = {"kopf", "kubernetes", "aiohttp", "isal", "zstandard", "prometheus_client", "mlflow", "cryptography"}
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"{name} is not installed in a training job")
sys.meta_path.insert(0, Refuse())
"""


@pytest.mark.parametrize(
    "does",
    [
        "import lockstep.training; lockstep.training.capture_environment()",
        "from lockstep.cli.main import main; sys.exit(main(['environment', 'capture']))",
    ],
)
def test_a_training_job_needs_nothing_of_the_operator(does: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCKER + does],
        env=os.environ | {"PYTHONPATH": str(ROOT / "operator")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_without_mlflow_the_job_goes_on() -> None:
    does = "import lockstep.training; print(lockstep.training.log_environment())"
    done = subprocess.run(
        [sys.executable, "-c", BLOCKER + does],
        env=os.environ | {"PYTHONPATH": str(ROOT / "operator")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "NOT recorded" in done.stdout
    assert done.stdout.endswith("[]\n")


def test_capture_prints_the_document_of_this_process(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["environment", "capture"]) == 0
    document = EnvironmentDocument.parse(capsys.readouterr().out.encode())
    assert {"pydantic", "pytest"} <= {package.name for package in document.packages}
    assert document.python.version == ".".join(map(str, sys.version_info[:3]))


def test_scan_prints_the_document_of_a_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = layout(tmp_path / "image")
    for reference in (f"oci:{path}", f"oci:{path}:1"):
        assert main(["environment", "scan", reference]) == 0
        document = EnvironmentDocument.parse(capsys.readouterr().out.encode())
        assert {package.name: package.version for package in document.packages} == {"scikit-learn": "1.4.2"}


def test_base_prints_the_entry_of_a_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = layer(*items(debian()))
    source = MemorySource()
    source.image([base], settings={"Entrypoint": ["python3"]})
    source.write(tmp_path / "image")
    assert main(["environment", "base", f"oci:{tmp_path / 'image'}:1", "--name", "debian"]) == 0
    (entry,) = yaml.safe_load(capsys.readouterr().out)
    assert BaseImage.model_validate(entry) == BaseImage(name="debian", diffIDs=[base.diff_id])


def test_scan_reads_an_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = layout(tmp_path / "image")
    with tarfile.open(tmp_path / "image.tar", "w") as archive:
        archive.add(path, ".")
    assert main(["env", "scan", f"oci-archive:{tmp_path / 'image.tar'}"]) == 0
    assert json.loads(capsys.readouterr().out)["python"]["version"] == "3.11.2"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["oci:nowhere"], "ImageNotFound"),
        (["oci-archive:nowhere.tar"], "ImageNotFound"),
        (["iris"], "ReferenceInvalid"),
        (["oci:{image}:2"], "ImageNotFound"),
        (["oci:{image}", "--platform", "linux/arm64"], "PlatformNotFound"),
        (["oci:{image}", "--platform", "linux"], "PlatformNotFound"),
        (["127.0.0.1:{port}/iris:1", "--insecure-registry", "127.0.0.1:{port}"], "ImageRegistryUnreachable"),
    ],
)
def test_an_image_that_can_not_be_told_ends_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    image, port = layout(tmp_path / "image"), free_port()
    assert main(["environment", "scan", *(one.format(image=image, port=port) for one in arguments)]) == 2
    said = capsys.readouterr()
    assert said.err.splitlines()[-1].startswith(f"{reason}: ")
    assert said.out == ""


def test_an_image_without_an_interpreter_ends_with_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = MemorySource()
    source.image([layer()], tag="1")
    source.write(tmp_path / "image")
    assert main(["environment", "scan", f"oci:{tmp_path / 'image'}"]) == 2
    assert last_line(capsys).startswith("InterpreterNotFound: ")


def test_an_image_that_does_not_say_what_it_starts_is_shown_with_what_it_could_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = MemorySource()
    files = debian() | venv() | distribution(VENV_SITE, "scikit_learn", "1.4.2") | {"/usr/bin/runit": elf()}
    source.image([layer(*items(files))], tag="1", settings={"Entrypoint": ["runit"]})
    source.write(tmp_path / "image")
    assert main(["environment", "scan", f"oci:{tmp_path / 'image'}"]) == 2
    heading, candidate, reason = capsys.readouterr().err.splitlines()
    assert heading == "what the image could run:"
    assert candidate.startswith("  /opt/venv/bin/python")
    assert candidate.endswith(": cpython 3.11.2, 1 package (scikit-learn 1.4.2)")
    assert reason.startswith("InterpreterAmbiguous: ")


def written(path: Path, **versions: str) -> str:
    path.write_bytes(
        build.document(build.TRAINED | {name.replace("_", "-"): version for name, version in versions.items()}).canonical()
    )
    return str(path)


def test_equal_documents_end_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = written(tmp_path / "a.json"), written(tmp_path / "b.json")
    assert main(["environment", "diff", one, other]) == 0
    assert capsys.readouterr().out.startswith("equal: ")


def test_different_documents_end_with_1_and_name_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = written(tmp_path / "a.json"), written(tmp_path / "b.json", scikit_learn="1.2.0")
    assert main(["environment", "diff", one, other]) == 1
    assert "scikit-learn: trained with 1.4.2, image has 1.2.0" in capsys.readouterr().out
    assert main(["environment", "diff", one, other, "-o", "json"]) == 1
    stated = json.loads(capsys.readouterr().out)
    assert stated["equal"] is False
    assert [difference["subject"] for difference in stated["differences"]] == ["scikit-learn"]


def test_a_document_is_compared_with_an_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = build.document({"scikit-learn": "1.4.2"}, required=True)
    (tmp_path / "a.json").write_bytes(document.canonical())
    image = layout(tmp_path / "image", "1.2.0")
    assert main(["environment", "diff", str(tmp_path / "a.json"), f"oci:{image}"]) == 1
    assert "scikit-learn: trained with 1.4.2, image has 1.2.0" in capsys.readouterr().out


def test_a_policy_changes_what_is_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = written(tmp_path / "a.json"), written(tmp_path / "b.json", scikit_learn="1.2.0")
    rules = "environment: {packages: {ignore: [scikit-learn]}}"
    (tmp_path / "policy.yaml").write_text(
        "apiVersion: lockstep.dev/v1alpha1\nkind: PromotionPolicy\nmetadata: {name: p}\n"
        f"spec:\n  registry: {{trackingURI: http://m}}\n  {rules}\n"
    )
    assert main(["environment", "diff", one, other, "--policy", str(tmp_path / "policy.yaml")]) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("trained", "policy", "reason"),
    [
        ("missing.json", None, "EnvironmentDocumentInvalid"),
        ("broken.json", None, "EnvironmentDocumentInvalid"),
        ("iris", None, "ReferenceInvalid"),
        ("models:/iris/1", None, "RegistryUnreachable"),
        ("good.json", "missing.yaml", "PolicyInvalid"),
        ("good.json", "latin.yaml", "PolicyInvalid"),
        ("good.json", "broken.yaml", "PolicyInvalid"),
        ("good.json", "empty.yaml", "PolicyMissing"),
        ("good.json", "wrong.yaml", "PolicyInvalid"),
        ("good.json", "blocks.yaml", "RequiredSetUnproven"),
    ],
)
def test_what_can_not_be_told_ends_with_2_and_its_reason_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    trained: str,
    policy: str | None,
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    good = written(tmp_path / "good.json")
    head = "apiVersion: lockstep.dev/v1alpha1\nkind: PromotionPolicy\nmetadata: {name: p}\nspec:\n  registry: {trackingURI: http://m}\n"
    (tmp_path / "broken.json").write_text("{}")
    (tmp_path / "latin.yaml").write_bytes(b"kind: \xe9")
    (tmp_path / "broken.yaml").write_text("kind: [\n  a\n")
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "wrong.yaml").write_text(head + "  environment: {python: Major}\n")
    (tmp_path / "blocks.yaml").write_text(head + "  environment: {packages: {unprovenRequiredSet: Block}}\n")
    assert main(["environment", "diff", trained, good, *(["--policy", policy] if policy else [])]) == 2
    assert last_line(capsys).startswith(f"{reason}: ")


def test_a_document_comes_from_standard_input(tmp_path: Path) -> None:
    one = written(tmp_path / "a.json")
    done = subprocess.run(
        [sys.executable, "-m", "lockstep.cli.main", "environment", "diff", "-", one],
        input=Path(one).read_bytes(),
        env=os.environ | {"PYTHONPATH": str(ROOT / "operator")},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
