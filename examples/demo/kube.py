"""kubectl and helm as functions, with the kubeconfig of the test node."""

import json
import os
import re
import socket
import string
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cluster import binaries, kind
from tests.cluster.paths import KUBECONFIG
from tests.cluster.wait import until

MANIFESTS = Path(__file__).parent / "manifests"
_TIMEOUT = 120


class CommandFailedError(Exception):
    """A command failed; the message is what it said."""


def program(name: str) -> str:
    """Return the path of kubectl or helm: those of the test node, or with kind those of the machine."""
    return name if kind.chosen() else str(binaries.binary(name))


def environment() -> dict[str, str]:
    """Return the environment in which kubectl and helm run."""
    return os.environ | {"KUBECONFIG": str(KUBECONFIG)}


def run(name: str, *arguments: str, stdin: str | None = None, timeout: float = _TIMEOUT) -> str:
    """Run kubectl or helm and return what it printed.

    Raises:
        CommandFailedError: it failed.
    """
    command = [program(name), *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False, env=environment())
    if done.returncode:
        raise CommandFailedError((done.stderr or done.stdout).strip())
    return done.stdout


def kubectl(*arguments: str, stdin: str | None = None, timeout: float = _TIMEOUT) -> str:
    """Run kubectl."""
    return run("kubectl", *arguments, stdin=stdin, timeout=timeout)


def helm(*arguments: str, timeout: float = 300) -> str:
    """Run helm."""
    return run("helm", *arguments, timeout=timeout)


def get(kind_: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
    """Return an object; None when there is none."""
    scope = ["--namespace", namespace] if namespace else []
    text = kubectl("get", kind_, name, *scope, "--ignore-not-found", "--output", "json")
    found: dict[str, Any] | None = json.loads(text) if text.strip() else None
    return found


def items(kind_: str, namespace: str | None = None, selector: str = "") -> list[dict[str, Any]]:
    """Return objects."""
    scope = ["--namespace", namespace] if namespace else ["--all-namespaces"]
    chosen = ["--selector", selector] if selector else []
    found: list[dict[str, Any]] = json.loads(kubectl("get", kind_, *scope, *chosen, "--output", "json"))["items"]
    return found


def manifest(name: str, values: Mapping[str, str] | None = None) -> str:
    """Return a manifest of the demo with `${NAME}` replaced."""
    return string.Template((MANIFESTS / name).read_text()).substitute(values or {})


def apply(text: str) -> str:
    """Apply a manifest."""
    return kubectl("apply", "-f", "-", stdin=text)


def rolled_out(namespace: str, name: str, timeout: float = 120) -> None:
    """Wait until a Deployment is rolled out."""
    limit = f"--timeout={timeout:.0f}s"
    try:
        kubectl("rollout", "status", f"deployment/{name}", "-n", namespace, limit, timeout=timeout + 10)
    except CommandFailedError as error:
        pods = kubectl("get", "pods", "-n", namespace)
        log = run("kubectl", "logs", "-n", namespace, f"deployment/{name}", "--tail=5", "--all-containers")
        raise CommandFailedError(f"{namespace}/{name}: {error}\n{pods}\n{log}") from error


@contextmanager
def forwarded(namespace: str, target: str, port: int) -> Iterator[str]:
    """Forward a port of a Service or Pod to this machine and return its URL for the time of the block."""
    command = [program("kubectl"), "port-forward", "-n", namespace, target, f":{port}", "--address", "127.0.0.1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment())
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        if found is None:
            raise CommandFailedError(f"kubectl port-forward {target}: {line.strip()}")
        local = int(found[1])
        until(lambda: _listens(local), 10, f"port-forward to {target}")
        yield f"http://127.0.0.1:{local}"
    finally:
        process.terminate()
        process.wait(timeout=10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
