"""docs/first-hour.md on the test node, block by block: all but the chart's installation, which the demo's platform has done."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from examples.demo import kube, platform
from tests.cluster import images
from tests.cluster.paths import KUBECONFIG, REPOSITORY
from tests.pages.blocks import blocks, script

PAGE = blocks(REPOSITORY / "docs" / "first-hour.md")
KINDS = {"image", "cluster", "python", "manifest", "check"}
NAMESPACE = "first-hour"
_MINUTES = 15


def programs(folder: Path) -> Path:
    """Put `docker`, `kubectl` and `helm` on a PATH of their own."""
    folder.mkdir()
    commands = {
        "docker": f'PYTHONPATH="{REPOSITORY}" exec "{sys.executable}" -m tests.e2e.docker "$@"',
        "kubectl": f'exec "{kube.program("kubectl")}" "$@"',
        "helm": f'exec "{kube.program("helm")}" "$@"',
    }
    for name, command in commands.items():
        (folder / name).write_text(f"#!/bin/sh\n{command}\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def absent(platform_images: platform.PlatformImages) -> None:
    """See that nothing of an earlier run is there, nor of this one afterwards."""
    kube.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true", timeout=180)


def test_the_page_works_as_it_is_written(absent: None, mlflow_address: str, tmp_path: Path) -> None:
    registry = images.registry()
    settings = {
        "REGISTRY": f"{registry}/first-hour",
        "MLFLOW_TRACKING_URI": mlflow_address,
        "MLFLOW_IN_CLUSTER": "http://mlflow.mlflow.svc:5000",
        "LOCKSTEP": str(REPOSITORY),
        "KUBECONFIG": str(KUBECONFIG),
        "PATH": f"{programs(tmp_path / 'bin')}{os.pathsep}{os.environ['PATH']}",
        "GIT_AUTHOR_NAME": "first",
        "GIT_AUTHOR_EMAIL": "first@example.com",
        "GIT_COMMITTER_NAME": "first",
        "GIT_COMMITTER_EMAIL": "first@example.com",
    }
    replaced = {
        # The node's registry has no TLS, and the demo's policy has another name.
        "lockstep check": f"lockstep check --insecure-registry {registry}",
        "ppol standard": "ppol demo",
    }
    work = tmp_path / "work"
    work.mkdir()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LOCKSTEP_", "MLFLOW_", "PYTHON"))}
    done = subprocess.run(
        ["bash", "-c", script(PAGE, KINDS, replaced=replaced)],
        cwd=work,
        env=inherited | settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=_MINUTES * 60,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-6000:]
    assert "the packages it needs are proven" in said
    assert "first-hour/iris: would go on to the pods" in said
    assert "first-hour/iris: Promoted: " in said
    assert "first-hour/iris: refused" in said
    assert "first-hour/iris: the environment gate refuses the candidate" in said
    assert "image has 1.8.0" in said
    assert kube.get("namespace", NAMESPACE) is None, "the page removes what it made"
