"""The node, the platform and the images, made once a session; a namespace for each test."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from examples.demo import kube, platform
from lockstep.environment.document import EnvironmentDocument
from tests.cluster import images, kind, lock, node
from tests.cluster.wait import until
from tests.e2e.models import Models, document_of
from tests.e2e.stage import Stage

BREAK_GLASS = "e2e-break-glass"
"""A group that may act past the guards: with it the tests do what somebody could do where the guards are switched off."""

_DOCKERFILE = Path(__file__).parent / "images" / "Dockerfile"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.e2e)


@dataclass(frozen=True)
class Served:
    """A serving image by tag and by digest, with the document that its layers hold."""

    reference: str
    digest: str
    document: EnvironmentDocument

    @property
    def pinned(self) -> str:
        return f"{self.reference.rpartition(':')[0]}@{self.digest}"


@pytest.fixture(scope="session")
def platform_images(request: pytest.FixtureRequest) -> Iterator[platform.PlatformImages]:
    """Start the node where it is not running, and stop it again then. It takes minutes the first time, so that it is shown."""
    if kind.chosen():
        pytest.skip("the tests' clients stand on the node's network, which kind hides")
    running = node.ready()
    shown = request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled()
    with shown:
        print()
        node.up()
        found = platform.build_images()
    with lock.alone():
        platform.install(found, f"guards.breakGlassGroups={{{BREAK_GLASS}}}")
    yield found
    if not running:
        node.down()


@pytest.fixture(scope="session")
def mlflow_address(platform_images: platform.PlatformImages) -> str:
    service = kube.get("service", "mlflow", "mlflow")
    assert service is not None
    return f"http://{service['spec']['clusterIP']}:5000"


@pytest.fixture(scope="session")
def models(mlflow_address: str) -> Models:
    return Models(mlflow_address)


def build_served(tag: str, *, acme: str = "1.0.0", answer: str = "first") -> Served:
    """Build, push and scan one of the small serving images."""
    local = f"localhost/e2e/tiny:{tag}"
    images.build(local, _DOCKERFILE, _DOCKERFILE.parent, {"ACME": acme, "ANSWER": answer})
    reference = f"{images.registry()}/e2e/tiny:{tag}"
    digest = images.push(local, reference)
    command = [sys.executable, "-m", "lockstep.cli.main", "environment", "scan", reference]
    scanned = subprocess.run(
        [*command, "--insecure-registry", images.registry()], capture_output=True, text=True, timeout=120, check=True
    )
    return Served(reference, digest, document_of(scanned.stdout))


@pytest.fixture(scope="session")
def first(platform_images: platform.PlatformImages) -> Served:
    return build_served("first")


@pytest.fixture(scope="session")
def second(platform_images: platform.PlatformImages) -> Served:
    """The same environment, another answer."""
    return build_served("second", answer="second")


@pytest.fixture(scope="session")
def other(platform_images: platform.PlatformImages) -> Served:
    """Another version of one package."""
    return build_served("other", acme="2.0.0", answer="other")


@pytest.fixture
def stage(platform_images: platform.PlatformImages) -> Iterator[Stage]:
    made = Stage()
    made.create()
    yield made
    made.remove()


@pytest.fixture(scope="session")
def leader(platform_images: platform.PlatformImages) -> "Leadership":
    return Leadership()


class Leadership:
    """Who leads, and what the leader says of itself."""

    def name(self) -> str:
        """Return the pod that holds the Lease, once one does."""
        return until(self._holder, 60, "a replica leads") or ""

    def pid(self, pod: str) -> int:
        """Return the process id of a replica's controller, as this machine sees it."""
        return process_of(kube.get("pod", pod, platform.SYSTEM) or {}, "lockstep.controller")

    def _holder(self) -> str | None:
        lease = kube.get("lease", "lockstep-controller", platform.SYSTEM) or {}
        return (lease.get("spec") or {}).get("holderIdentity") or None

    def metrics(self) -> str:
        """Return the leader's metrics page."""
        path = f"/api/v1/namespaces/{platform.SYSTEM}/pods/{self.name()}:8080/proxy/metrics"
        return kube.kubectl("get", "--raw", path)


def process_of(pod: dict[str, Any], command: str) -> int:
    """Return the id of a pod's process whose command line holds a text; it is found by the pod's cgroup."""
    uid = str(pod["metadata"]["uid"])
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            mine = uid in (folder / "cgroup").read_text() and command in (folder / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        if mine:
            return int(folder.name)
    raise AssertionError(f"pod {pod['metadata']['name']} has no process {command}")
