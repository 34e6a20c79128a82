"""MLflow or the registry is down: nothing is promoted, nothing that serves is touched, and all goes on by itself."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from examples.demo import kube
from tests.cluster import images, node
from tests.cluster.wait import until
from tests.e2e.conftest import Served, process_of
from tests.e2e.models import Models
from tests.e2e.stage import Stage
from tests.e2e.traffic import Traffic


@contextmanager
def mlflow_stopped() -> Iterator[None]:
    """Stop MLflow's server process, which keeps what it has recorded; its Service loses its endpoint."""
    server = process_of(kube.items("pods", "mlflow", "app=mlflow")[0], "uvicorn")
    os.kill(server, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server, signal.SIGCONT)


@contextmanager
def registry_stopped() -> Iterator[None]:
    node.component("stop", "docker-registry")
    try:
        yield
    finally:
        node.component("start", "docker-registry")


def test_without_mlflow_nothing_is_promoted_and_what_serves_goes_on_and_scales(
    stage: Stage, models: Models, first: Served, second: Served
) -> None:
    model = models.register("outage", first.document)
    stage.deploy("outage", model.version, first.reference)
    before = stage.promoted()
    with Traffic(str(stage.service_address())) as traffic:
        with mlflow_stopped():
            stage.deploy("outage", model.version, second.reference)
            stage.answered("lineage", "Retry", "RegistryUnreachable", timeout=90)
            stage.patch({"replicas": 2})
            until(lambda: stage.status().get("readyReplicas") == 2, 60, "it scales")
            assert stage.status()["active"]["revision"] == before["revision"]
            assert not traffic.saw("second")
        after = stage.promoted(image=second.pinned, timeout=150)
    assert after["revision"] != before["revision"]
    assert traffic.failures == []


def test_without_the_registry_nothing_is_promoted_and_what_serves_goes_on_and_scales(
    stage: Stage, models: Models, first: Served
) -> None:
    model = models.register("unpulled", first.document)
    stage.deploy("unpulled", model.version, first.reference)
    before = stage.promoted()
    tag = f"{images.registry()}/e2e/tiny:outage-{stage.namespace}"
    images.push("localhost/e2e/tiny:second", tag)
    with Traffic(str(stage.service_address())) as traffic:
        with registry_stopped():
            stage.deploy("unpulled", model.version, tag)
            stage.answered("image", "Retry", "ImageRegistryUnreachable", timeout=90)
            stage.patch({"replicas": 2})
            until(lambda: stage.status().get("readyReplicas") == 2, 60, "it scales")
            assert stage.status()["active"]["revision"] == before["revision"]
        after = stage.promoted(timeout=150)
    assert after["revision"] != before["revision"]
    assert traffic.failures == []
