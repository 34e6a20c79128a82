"""The frame of the command line: what is missing is named, files are written as a whole, refusals say what helps."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from lockstep import __version__
from lockstep.cli.access.logins import stored_logins
from lockstep.cli.exit import CommandError
from lockstep.cli.main import COMMANDS, ENVIRONMENT, main, parser
from lockstep.cli.output import write
from lockstep.cli.reference import page
from tests.fakes import builders as build
from tests.fakes.http import serving
from tests.fakes.mlflow_server import free_port

ROOT = Path(__file__).resolve().parents[3]
BLOCKER = """
import sys
BLOCKED = {blocked!r}
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Refuse())
from lockstep.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def without(blocked: set[str], *words: str, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line where some packages are not installed."""
    return subprocess.run(
        [sys.executable, "-c", BLOCKER.format(blocked=blocked), *words],
        env=os.environ | {"PYTHONPATH": str(ROOT / "operator")} | ({"PATH": str(path)} if path else {}),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


# --- what is not installed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "package", "extra"),
    [
        (["environment", "lock", "models:/iris/1", "-o", "requirements.txt"], "aiohttp", "images"),
        (["environment", "scan", "r.example.com/a:1"], "zstandard", "images"),
        (["environment", "scan", "r.example.com/a:1"], "isal", "images"),
        (["check", "-f", "m.yaml", "--policy", "p.yaml"], "cel_expr_python", "check"),
        (["check", "-f", "m.yaml", "--policy", "p.yaml"], "aiohttp", "check"),
        (["environment", "diff", "a.json", "a.json", "--policy", "p.yaml"], "cel_expr_python", "check"),
    ],
)
def test_a_package_that_is_missing_is_named_with_what_brings_it(
    tmp_path: Path, words: list[str], package: str, extra: str
) -> None:
    (tmp_path / "a.json").write_bytes(build.document(build.TRAINED).canonical())
    (tmp_path / "p.yaml").write_text(
        "apiVersion: lockstep.dev/v1alpha1\nkind: PromotionPolicy\nmetadata: {name: p}\n"
        "spec: {registry: {trackingURI: 'http://m'}}\n"
    )
    done = without({package}, *words, cwd=tmp_path)
    assert done.returncode == 2
    expected = f'DependencyMissing: the Python package {package} is missing: pip install "lockstep-gate[{extra}]"'
    assert done.stderr.splitlines()[-1] == expected
    assert not (tmp_path / "requirements.txt").exists(), "nothing is left behind"


def test_two_documents_are_compared_without_what_manifests_need(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(build.document(build.TRAINED).canonical())
    done = without({"cel_expr_python"}, "environment", "diff", "a.json", "a.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_package_of_our_own_that_is_broken_is_no_missing_dependency(tmp_path: Path) -> None:
    done = without({"lockstep.images"} | {"lockstep"}, cwd=tmp_path)
    assert "DependencyMissing" not in done.stderr


# --- files --------------------------------------------------------------------------------------------------------------


def test_a_file_is_written_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "requirements.txt"
    target.write_text("before\n")
    write(str(target), "after\n")
    assert target.read_text() == "after\n"
    assert target.stat().st_mode & 0o777 == 0o666 & ~_umask()
    assert [one.name for one in tmp_path.iterdir()] == ["requirements.txt"]
    with pytest.raises(CommandError, match=r"OutputNotWritten: .*No such file"):
        write(str(tmp_path / "missing" / "requirements.txt"), "x")


def _umask() -> int:
    present = os.umask(0o022)
    os.umask(present)
    return present


def test_a_lock_that_fails_leaves_the_file_as_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "requirements.txt"
    target.write_text("before\n")
    words = ["environment", "lock", "models:/iris/1", "-o", str(target), "--tracking-uri", f"http://127.0.0.1:{free_port()}"]
    assert main(words) == 2
    assert last_line(capsys).startswith("RegistryUnreachable: ")
    assert target.read_text() == "before\n"


# --- kubectl ------------------------------------------------------------------------------------------------------------


def kubectl(folder: Path, script: str) -> None:
    program = folder / "kubectl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_without_kubectl_the_program_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["explain", "iris"]) == 2
    assert last_line(capsys).startswith("DependencyMissing: kubectl is not on the PATH")


def test_what_kubectl_says_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    kubectl(tmp_path, "echo 'Error from server (NotFound): iris' >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert main(["explain", "iris"]) == 2
    assert last_line(capsys) == "KubectlFailed: Error from server (NotFound): iris"


def test_programs_get_an_explanation_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = {"name": "environment", "outcome": "Rejected", "reason": "EnvironmentMismatch", "message": "differs"}
    spec = build.spec().model_dump(mode="json", by_alias=True, exclude_none=True)
    found = {"metadata": {"name": "iris", "namespace": "team"}, "spec": spec, "status": {"candidate": {"gates": [gate]}}}
    (tmp_path / "iris.json").write_text(json.dumps(found))
    kubectl(tmp_path, f"cat {tmp_path / 'iris.json'}")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert main(["explain", "iris", "-n", "team", "-o", "json"]) == 0
    stated = json.loads(capsys.readouterr().out)
    assert (stated["name"], stated["summary"]) == ("iris", "the environment gate refuses the candidate")
    assert stated["blocking"]["reason"] == "EnvironmentMismatch"
    assert stated["status"]["candidate"]["gates"][0]["name"] == "environment"


# --- registries ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def refusing() -> AsyncIterator[int]:
    """A registry that wants credentials, without TLS."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="r"'})

    async with serving(answer) as port:
        yield port


async def scan(*words: str) -> "subprocess.CompletedProcess[bytes]":
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "lockstep.cli.main",
        "environment",
        "scan",
        *words,
        env=os.environ | {"PYTHONPATH": str(ROOT / "operator")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, error = await asyncio.wait_for(process.communicate(), 60)
    return subprocess.CompletedProcess(words, process.returncode or 0, out, error)


async def test_a_registry_without_tls_says_which_option_helps(refusing: int) -> None:
    done = await scan(f"127.0.0.1:{refusing}/iris:1")
    last = done.stderr.decode().splitlines()[-1]
    assert last.startswith("ImageRegistryUnreachable: ")
    assert last.endswith("where it speaks plain HTTP, name it: --insecure-registry HOST:PORT")


async def test_a_login_that_can_not_be_read_is_said_where_credentials_are_wanted(
    refusing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "missing.json"))
    (tmp_path / "config.json").write_text('{"auths": {')
    host = f"127.0.0.1:{refusing}"
    last = (await scan(f"{host}/iris:1", "--insecure-registry", host)).stderr.decode().splitlines()[-1]
    assert last.startswith("ImageUnauthorized: ")
    assert f"{tmp_path / 'missing.json'} can't be read: No such file" in last
    assert f"{tmp_path / 'config.json'} can't be read: it is no Docker configuration" in last


AUTH = {"r.example.com": {"auth": "YTpi"}}


@pytest.mark.parametrize(
    ("content", "usable", "said"),
    [
        ({"auths": AUTH}, 1, []),
        ({"HttpHeaders": {}}, 0, []),
        ({"credsStore": "desktop", "auths": {"r.example.com": {}}}, 0, ["leaves credentials to a helper (desktop)"]),
        ({"credHelpers": {"r.example.com": "gcloud"}}, 0, ["leaves credentials to a helper (gcloud)"]),
        ({"credHelpers": {"a": "gcloud"}, "auths": AUTH}, 1, ["leaves credentials to a helper (gcloud)"]),
        ({"auths": []}, 0, ["can't be read"]),
        ([], 0, ["can't be read"]),
    ],
)
def test_what_is_stored_is_used_or_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: object, usable: int, said: list[str]
) -> None:
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps(content))
    found = stored_logins()
    assert len(found.credentials.by_key) == usable
    assert len(found.unusable) == len(said)
    assert all(part in sentence for part, sentence in zip(said, found.unusable, strict=True))


def test_where_nobody_logged_in_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert stored_logins().unusable == ()


# --- the table ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", [*ENVIRONMENT, *COMMANDS], ids=lambda row: row.name)
def test_every_command_has_help(row: object, capsys: pytest.CaptureFixture[str]) -> None:
    group = ["environment"] if row in ENVIRONMENT else []
    with pytest.raises(SystemExit) as ended:
        parser().parse_args([*group, str(getattr(row, "name", "")), "--help"])
    assert ended.value.code == 0
    assert "usage: lockstep" in capsys.readouterr().out


@pytest.mark.parametrize("source", ["m-4801aa", "models:/m-4801aa", "f" * 32, f"runs:/{'f' * 32}", "models:/iris@champion"])
def test_diff_takes_what_lock_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str) -> None:
    (tmp_path / "a.json").write_bytes(build.document(build.TRAINED).canonical())
    uri = ["--tracking-uri", f"http://127.0.0.1:{free_port()}"]
    assert main(["environment", "diff", source, str(tmp_path / "a.json"), *uri]) == 2
    assert last_line(capsys).startswith("RegistryUnreachable: ")
    assert main(["environment", "lock", source, *uri]) == 2
    assert last_line(capsys).startswith("RegistryUnreachable: ")


def test_the_page_about_the_command_line_is_what_the_commands_say() -> None:
    assert (ROOT / "docs" / "cli.md").read_text() == page(__version__)


def test_an_explanation_needs_none_of_the_extras(tmp_path: Path) -> None:
    spec = build.spec().model_dump(mode="json", by_alias=True, exclude_none=True)
    (tmp_path / "iris.json").write_text(json.dumps({"metadata": {"name": "iris", "namespace": "team"}, "spec": spec}))
    kubectl(tmp_path, f"/bin/cat {tmp_path / 'iris.json'}")
    blocked = {"aiohttp", "cryptography", "isal", "zstandard", "kopf", "kubernetes", "mlflow", "cel_expr_python", "yarl"}
    done = without(blocked, "explain", "iris", cwd=tmp_path, path=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("team/iris: ")
