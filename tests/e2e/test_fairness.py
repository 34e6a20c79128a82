"""One tenant's load keeps nobody else waiting."""

import json
from collections.abc import Iterator

import pytest

from examples.demo import kube, platform
from tests.cluster.wait import until
from tests.e2e import policies
from tests.e2e.conftest import Served
from tests.e2e.models import Models
from tests.e2e.silent import silent_registry
from tests.e2e.stage import Stage

_OBJECTS = 40


@pytest.fixture
def flooded(platform_images: platform.PlatformImages, models: Models, first: Served) -> Iterator[Stage]:
    """Make a namespace whose forty ModelDeployments name a registry that never answers."""
    model = models.register("flood", first.document)
    made = Stage()
    made.create()
    with policies.applied(images={"repositories": ["*"]}) as policy, silent_registry() as registry:
        kube.kubectl("label", "namespace", made.namespace, f"lockstep.dev/policy={policy}")
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


def test_a_registry_that_never_answers_keeps_nobody_else_waiting(
    stage: Stage, flooded: Stage, models: Models, first: Served, other: Served
) -> None:
    model = models.register("unharmed", first.document)
    until(lambda: flooded.gates("flood-0").get("image"), 60, "the flood is reconciled")
    stage.deploy("unharmed", model.version, first.reference)
    stage.promoted()
    kube.kubectl("scale", f"deployment/model-{stage.status()['active']['revision']}", "--replicas=3", "-n", stage.namespace)
    until(lambda: stage.events("DriftCorrected"), 15, "what serves is put right meanwhile")
    stage.deploy("unharmed", model.version, other.reference)
    stage.answered("environment", "Rejected", "EnvironmentMismatch", timeout=15)
    image = flooded.gates(f"flood-{_OBJECTS - 1}").get("image", {})
    assert image.get("outcome") != "Passed", "the flood is still there"
