"""docs/first-hour.md without a cluster: its training job, its lock and its check, with the real MLflow of the tests."""

import os
import re
import subprocess
import sys
from pathlib import Path

from lockstep.cli.manifests import read_policy
from tests.fakes.mlflow_server import MLflowServer, free_port
from tests.pages.blocks import blocks, script

ROOT = Path(__file__).resolve().parents[2]
PAGE = blocks(ROOT / "docs" / "first-hour.md")
POLICY = """\
apiVersion: lockstep.dev/v1alpha1
kind: PromotionPolicy
metadata: {name: standard}
spec:
  registry: {trackingURI: "http://mlflow.mlflow.svc:5000"}
  lineage: {require: [GitCommit, Signature]}
"""


def programs(folder: Path) -> Path:
    """Put the programs of this process's environment on a PATH of their own, as an activated environment has them."""
    folder.mkdir()
    for name, module in (("lockstep", "lockstep.cli.main"), ("mlflow", "mlflow"), ("python", "")):
        run = f'exec "{sys.executable}" ' + (f"-m {module} " if module else "") + '"$@"'
        (folder / name).write_text(f"#!/bin/sh\n{run}\n")
        (folder / name).chmod(0o755)
    return folder


def test_the_page_works_up_to_the_image_without_a_cluster(server: MLflowServer, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    assert read_policy(str(tmp_path / "policy.yaml"))
    registry = f"127.0.0.1:{free_port()}/ml"
    settings = {
        "REGISTRY": registry,
        "MLFLOW_TRACKING_URI": server.uri,
        "LOCKSTEP": str(ROOT),
        "PATH": f"{programs(tmp_path / 'bin')}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT / "operator"), *filter(None, sys.path)]),
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@example.com",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@example.com",
    }
    # The environment of the tests stands for the one that the page installs; what is refused is another image's.
    installed = [
        block for block in PAGE if block.is_file or not ({"refused"} & {*block.words} or "python3 -m venv" in block.text)
    ]
    replaced = {"lockstep check": f"lockstep check --insecure-registry {registry.partition('/')[0]}"}
    done = subprocess.run(
        ["bash", "-c", script(installed, {"python", "manifest", "check"}, replaced=replaced)],
        cwd=tmp_path,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    said = done.stdout + done.stderr
    assert "the packages it needs are proven" in said
    assert re.search(r"^scikit-learn==\d", (tmp_path / "requirements.txt").read_text(), re.MULTILINE)
    assert "scikit-learn==1.8.0" not in (tmp_path / "requirements.txt").read_text()
    assert (tmp_path / "model" / "MLmodel").exists()
    # The lineage holds, Git commit and signature included; no image was pushed, and there the script ends.
    assert re.search(r"^lineage +Passed", done.stdout, re.MULTILINE), said
    assert f"MLflow is asked at {server.uri} (MLFLOW_TRACKING_URI)" in said
    assert "ImageRegistryUnreachable: " in done.stderr.splitlines()[-1]
    assert done.returncode == 2
