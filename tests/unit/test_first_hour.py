"""docs/first-hour.md holds together: every file, command, option and manifest of it is one that there is."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from lockstep.cli.admission.admission import problems_of
from lockstep.cli.admission.text import documents
from lockstep.cli.main import parser
from lockstep.environment.catalogue.describe import describe
from lockstep.environment.catalogue.launch.launch import Launch
from lockstep.gates.rules import rootfilesystem
from tests.fakes import builders as build
from tests.fakes.roots import debian, tree, venv
from tests.pages.blocks import Block, blocks, script
from tests.unit.environment.catalogue.servers.test_serving import MLFLOW

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "first-hour.md"
BLOCKS = blocks(PAGE)
KINDS = {"settings", "image", "install", "cluster", "python", "manifest", "check"}
COMMANDS = [block for block in BLOCKS if block.language == "bash"]


def test_every_block_says_what_it_is_for() -> None:
    assert len(COMMANDS) > 15
    assert {block.words[0] for block in COMMANDS} == KINDS
    assert [block.words[0] for block in BLOCKS if block.is_file] == ["train.py", "serving.Dockerfile"]


def test_the_whole_page_is_a_script_that_a_shell_can_read() -> None:
    done = subprocess.run(["bash", "-n"], input=script(BLOCKS, KINDS), capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr


def test_the_script_trains_and_calls_lockstep() -> None:
    (train,) = (block for block in BLOCKS if block.words == ("train.py",))
    compile(train.text, "train.py", "exec")
    assert "lockstep.training.log_environment()" in train.text


def test_the_image_of_the_page_can_serve_from_a_read_only_root_file_system() -> None:
    (dockerfile,) = (block.text for block in BLOCKS if block.words == ("serving.Dockerfile",))
    lines = dict(line.split(" ", 1) for line in dockerfile.splitlines() if re.match(r"(ENV|WORKDIR|CMD) ", line))
    variables = dict(word.split("=", 1) for word in lines["ENV"].split())
    variables["PATH"] = variables["PATH"].replace("$PATH", "/usr/bin:/bin")
    launch = Launch(tuple(json.loads(lines["CMD"])), variables, lines["WORKDIR"])
    document = describe(tree(debian(), venv(), MLFLOW), launch, machine="x86_64", collector="test")
    assert rootfilesystem.judge("environment", build.image(), build.scan(document=document), build.policy()) is None
    assert variables["HOME"] != "/tmp", "where it lies on Python's path, it is one that pods can write to"


def test_every_lockstep_command_has_arguments_that_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    lines = [line for block in COMMANDS for line in block.text.splitlines()]
    commands = [line.partition("#")[0] for line in lines if re.match(r"(kubectl )?lockstep ", line)]
    assert len(commands) >= 5
    for command in commands:
        words = [word.strip("\"'") for word in command.removeprefix("kubectl ").split()]
        parser().parse_args(words[1:])


def test_the_manifest_of_the_page_is_one_that_the_api_server_takes(tmp_path: Path) -> None:
    found = [block for block in BLOCKS if block.words == ("manifest",)]
    settings = "export REGISTRY=registry.example.com/ml VERSION=1\n"
    subprocess.run(
        ["bash", "-c", settings + script(found, {"manifest"})], check=True, cwd=tmp_path, timeout=30, capture_output=True
    )
    (manifest,) = documents((tmp_path / "iris.yaml").read_text())
    assert problems_of(manifest) == []
    assert manifest["spec"]["image"] == "registry.example.com/ml/first-hour:1", "mended in the end"


def test_values_of_the_chart_that_the_page_sets_exist() -> None:
    text = " ".join(block.text for block in COMMANDS)
    values = (ROOT / "charts" / "lockstep" / "values.schema.json").read_text()
    for value in re.findall(r"--set ([a-zA-Z.]+)=", text):
        assert all(f'"{part}"' in values for part in value.split(".")), value


def test_what_the_page_links_to_exists() -> None:
    for target in re.findall(r"\]\(([^)#]+\.md)(?:#[^)]*)?\)", PAGE.read_text()):
        assert (PAGE.parent / target).exists(), target


def test_a_block_that_is_refused_has_to_be_refused() -> None:
    refused = Block("bash", ("check", "refused"), "exit 1\n")
    passes = Block("bash", ("check", "refused"), "true\n")
    for block, status in ((refused, 0), (passes, 90)):
        done = subprocess.run(["bash", "-c", script([block], {"check"})], check=False, capture_output=True, timeout=30)
        assert done.returncode == status
