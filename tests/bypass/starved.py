"""One tenant's load, and how long the others wait."""

import threading
import time

from examples.demo import kube
from tests.bypass.attempt import Attempts, Outcome, Result
from tests.bypass.scene import Scene
from tests.cluster.wait import until
from tests.e2e.silent import silent_registry

attempts = Attempts()

_OBJECTS = 40
_SLOW = 5.0
"""Seconds after which another tenant has waited too long; benchmarks/ has the goal and the figures."""


@attempts.attempt("F1", "editor", f"{_OBJECTS} objects whose image is on a registry that accepts and never answers")
def tarpit(scene: Scene) -> Result:
    with silent_registry() as registry, Scene(scene.world, scene.good, "bypass-open") as flood:
        flood.kubectl("apply", "-f", "-", stdin=_objects(flood, registry))
        until(lambda: flood.stage.status("flood-0").get("conditions"), 60, "the flood is reconciled")
        began = time.monotonic()
        scene.deploy(model={"name": scene.good.model, "version": "999"})
        scene.settled()
        seconds = time.monotonic() - began
    outcome = Outcome.HELD if seconds < _SLOW else Outcome.DEGRADED
    return Result(outcome, f"another tenant's verdict took {seconds:.1f} s")


def _objects(scene: Scene, registry: str) -> str:
    one = """
apiVersion: lockstep.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: flood-{number}}}
spec:
  model: {{name: {model}, version: "{version}"}}
  image: {registry}/x/y:z{number}
  server: {{port: 8080, mlflow: {{}}}}
"""
    return "---".join(
        one.format(number=n, model=scene.good.model, version=scene.good.version, registry=registry) for n in range(_OBJECTS)
    )


@attempts.attempt("F3", "editor", "200 ordinary objects at once")
def crowd(scene: Scene) -> Result:
    with Scene(scene.world, scene.good, scene.policy) as flood:
        many = "---".join(_objects(flood, "10.88.0.1:5000").replace("flood-", f"flood-{block}-") for block in range(5))
        thread = threading.Thread(target=lambda: kube.kubectl("apply", "-f", "-", "-n", flood.namespace, stdin=many))
        thread.start()
        until(lambda: flood.stage.status("flood-0-5").get("conditions"), 60, "the crowd is reconciled")
        began = time.monotonic()
        scene.deploy(model={"name": scene.good.model, "version": "999"})
        scene.settled()
        seconds = time.monotonic() - began
        thread.join(timeout=120)
    return Result(Outcome.HELD if seconds < _SLOW else Outcome.DEGRADED, f"another tenant's verdict took {seconds:.1f} s")
