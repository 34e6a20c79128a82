"""One tenant's load keeps nobody else waiting."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from examples.demo import kube, platform
from tests.cluster.paths import UPLINK_HOST
from tests.cluster.wait import until
from tests.e2e.conftest import Served
from tests.e2e.models import Models
from tests.e2e.stage import Stage

_OBJECTS = 40


@contextmanager
def silent_registry() -> Iterator[str]:
    """Listen on the host's side of the test node's cable, accept connections and never answer; yield the address."""
    held: list[socket.socket] = []
    stop = threading.Event()
    with socket.create_server((UPLINK_HOST, 0), backlog=256) as server:
        server.settimeout(0.2)

        def accept() -> None:
            while not stop.is_set():
                try:
                    held.append(server.accept()[0])
                except TimeoutError:
                    continue

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"{UPLINK_HOST}:{server.getsockname()[1]}"
        finally:
            stop.set()
            thread.join(timeout=5)
            for connection in held:
                connection.close()


@pytest.fixture
def flooded(platform_images: platform.PlatformImages, models: Models, first: Served) -> Iterator[Stage]:
    """Make a namespace whose forty ModelDeployments name a registry that never answers."""
    spec = {"registry": {"trackingURI": platform.MLFLOW_URL}, "images": {"repositories": ["*"]}}
    policy = {"apiVersion": "lockstep.dev/v1alpha1", "kind": "PromotionPolicy", "metadata": {"name": "e2e-open"}, "spec": spec}
    kube.apply(json.dumps(policy))
    model = models.register("flood", first.document)
    made = Stage()
    made.create()
    kube.kubectl("label", "namespace", made.namespace, "lockstep.dev/policy=e2e-open")
    with silent_registry() as registry:
        bodies = [
            {
                "apiVersion": "lockstep.dev/v1alpha1",
                "kind": "ModelDeployment",
                "metadata": {"name": f"flood-{number}", "namespace": made.namespace},
                "spec": {
                    "model": {"name": "flood", "version": model.version},
                    "image": f"{registry}/x/y:z{number}",
                    "server": {"port": 8080, "mlflow": {}},
                },
            }
            for number in range(_OBJECTS)
        ]
        kube.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": bodies}))
        yield made
    made.remove()
    kube.kubectl("delete", "promotionpolicy", "e2e-open")


def test_a_registry_that_never_answers_keeps_nobody_else_waiting(
    stage: Stage, flooded: Stage, models: Models, first: Served, other: Served
) -> None:
    model = models.register("unharmed", first.document)
    until(lambda: flooded.gates("flood-0").get("image"), 60, "the flood is looked at")
    stage.deploy("unharmed", model.version, first.reference)
    stage.promoted()
    kube.kubectl("scale", f"deployment/model-{stage.status()['active']['revision']}", "--replicas=3", "-n", stage.namespace)
    until(lambda: stage.events("DriftCorrected"), 15, "what serves is put right meanwhile")
    stage.deploy("unharmed", model.version, other.reference)
    stage.answered("environment", "Rejected", "EnvironmentMismatch", timeout=15)
    image = flooded.gates(f"flood-{_OBJECTS - 1}").get("image", {})
    assert image.get("outcome") != "Passed", "the flood is still there"
