"""The node as a kind cluster, where Docker or Podman and kind exist; and the check of its configuration where not."""

import json
import os
import re
import shutil
import tempfile
from functools import cache
from pathlib import Path

from tests.cluster.paths import KUBECONFIG, REPOSITORY, STATE
from tests.cluster.processes import run, succeeds
from tests.cluster.say import ClusterError, say, step
from tests.cluster.wait import until

CONFIG = REPOSITORY / "kind-config.yaml"
NAME = "lockstep"
REGISTRY = "lockstep-registry:5000"
"""The registry by the name that nodes and pods know it by."""

PUBLISHED = "localhost:5000"
"""The same registry from this machine."""

BASE = "docker.io/library/python:3.11-slim-bookworm"
_CONTAINER = REGISTRY.partition(":")[0]
_KIND_MODULE = "sigs.k8s.io/kind"
_KIND_VERSION = "v0.30.0"
_CHOICE = "LOCKSTEP_NODE"


@cache
def engine() -> str | None:
    """Return the container engine that runs here, or None; a client without its daemon does not count."""
    return next((name for name in ("docker", "podman") if shutil.which(name) and succeeds(name, "info")), None)


def chosen() -> bool:
    """Return whether the node is a kind cluster on this machine.

    Raises:
        ClusterError: the environment asks for kind, and it is missing.
    """
    choice = os.environ.get(_CHOICE, "")
    if choice not in ("", "kind", "sandbox"):
        raise ClusterError(f"{_CHOICE}={choice} means nothing: set it to kind or sandbox")
    if choice == "sandbox" or (not choice and shutil.which("kind") is None):
        return False
    available = shutil.which("kind") is not None and engine() is not None
    if choice == "kind" and not available:
        raise ClusterError(f"{_CHOICE}=kind needs kind and a running Docker or Podman: install and start them")
    return available


def up() -> None:
    """Create the kind cluster and its registry, or leave them alone if they are there."""
    STATE.mkdir(parents=True, exist_ok=True)
    if NAME not in _kind("get", "clusters").split():
        with step("create the kind cluster"):
            _kind("create", "cluster", "--name", NAME, "--config", CONFIG, "--kubeconfig", KUBECONFIG, "--wait", "180s")
    else:
        _kind("export", "kubeconfig", "--name", NAME, "--kubeconfig", KUBECONFIG)
    if not succeeds(_engine(), "inspect", _CONTAINER):
        with step("start the registry"):
            published = ("--publish", f"127.0.0.1:{PUBLISHED.partition(':')[2]}:5000")
            deletes = ("--env", "REGISTRY_STORAGE_DELETE_ENABLED=true")
            image = "docker.io/library/registry:2"
            run(_engine(), "run", "--detach", "--name", _CONTAINER, "--network", "kind", *published, *deletes, image)
    elif json.loads(run(_engine(), "inspect", _CONTAINER))[0]["State"]["Status"] != "running":
        run(_engine(), "start", _CONTAINER)
    folder = f"/etc/containerd/certs.d/{REGISTRY}"
    script = f"mkdir -p {folder} && cat > {folder}/hosts.toml"
    for node in _kind("get", "nodes", "--name", NAME).split():
        run(_engine(), "exec", "--interactive", node, "sh", "-c", script, stdin=f'[host."http://{REGISTRY}"]\n')
    until(ready, 120, "the kind node is Ready")
    say(f"The kind cluster is up and Ready: export KUBECONFIG={KUBECONFIG}")


def down() -> None:
    """Delete the kind cluster and its registry."""
    _kind("delete", "cluster", "--name", NAME, "--kubeconfig", KUBECONFIG)
    if succeeds(_engine(), "inspect", _CONTAINER):
        run(_engine(), "rm", "--force", "--volumes", _CONTAINER)
    KUBECONFIG.unlink(missing_ok=True)
    say("The kind cluster is down")


def status() -> int:
    """Print whether the kind cluster is Ready, and return 0 if so."""
    if NAME not in _kind("get", "clusters").split():
        say("The kind cluster is down")
        return 3
    say(f"The kind cluster is {'' if (well := ready()) else 'NOT '}Ready: export KUBECONFIG={KUBECONFIG}")
    return 0 if well else 1


def ready() -> bool:
    """Return whether every node of the kind cluster is Ready."""
    kubectl = ("kubectl", f"--kubeconfig={KUBECONFIG}", "--request-timeout=3s")
    return succeeds(*kubectl, "wait", "--for=condition=Ready", "nodes", "--all", "--timeout=1s")


def component(action: str, name: str) -> None:
    """Stop, kill or start the registry.

    Raises:
        ClusterError: any other component; kind keeps those inside its node.
    """
    if name != "docker-registry":
        raise ClusterError("On kind only docker-registry can be stopped: use LOCKSTEP_NODE=sandbox for the others")
    run(_engine(), action, _CONTAINER)


def build(tag: str, dockerfile: Path, context: Path, build_args: dict[str, str]) -> None:
    """Build a Dockerfile with the engine."""
    arguments = [word for name, value in ({"BASE": BASE} | build_args).items() for word in ("--build-arg", f"{name}={value}")]
    run(_engine(), "build", *arguments, "--tag", tag, "--file", dockerfile, context)


def push(tag: str, reference: str) -> str:
    """Push an image by its name in the cluster and return its digest."""
    local = reference.replace(REGISTRY, PUBLISHED)
    run(_engine(), "tag", tag, local)
    run(_engine(), "push", local)
    digests = json.loads(run(_engine(), "inspect", "--format", "{{json .RepoDigests}}", local))
    repository = local.rpartition(":")[0]
    for digest in digests:
        if found := re.fullmatch(re.escape(repository) + "@(sha256:[0-9a-f]{64})", digest):
            return found[1]
    raise ClusterError(f"{_engine()} does not say which digest {local} has: push it by hand and look")


def check_config() -> None:
    """Decode kind-config.yaml strictly into kind's own types, with a small Go program.

    Raises:
        ClusterError: Go is missing, or the file is wrong.
    """
    if shutil.which("go") is None:
        raise ClusterError("Go is needed to check kind-config.yaml: install Go 1.24 or newer (https://go.dev/dl)")
    environment = {"GOFLAGS": "-mod=mod", "CGO_ENABLED": "0", "GOWORK": "off"}
    with tempfile.TemporaryDirectory(prefix="lockstep-kindcheck-") as folder:
        shutil.copy(Path(__file__).parent / "kindcheck" / "main.go", folder)
        Path(folder, "go.mod").write_text(f"module kindcheck\n\ngo 1.24\n\nrequire {_KIND_MODULE} {_KIND_VERSION}\n")
        with step(f"check {CONFIG.name} against {_KIND_MODULE} {_KIND_VERSION}"):
            run("go", "mod", "tidy", cwd=Path(folder), environment=environment)
            say("    " + run("go", "run", ".", CONFIG, cwd=Path(folder), environment=environment).strip())


def _engine() -> str:
    if (name := engine()) is None:
        raise ClusterError("Neither Docker nor Podman answers: start one, or set LOCKSTEP_NODE=sandbox")
    return name


def _kind(*arguments: str | Path) -> str:
    provider = {"KIND_EXPERIMENTAL_PROVIDER": "podman"} if engine() == "podman" else {}
    return run("kind", *arguments, environment=provider)
