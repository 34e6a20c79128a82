"""On the running test node: how long from `kubectl apply` to the verdict, and what a promotion writes.

    make cluster-up && python -m benchmarks.node

Needs the demo's platform (it installs it). Bounded: a few dozen small objects in one namespace, removed at the end.
"""

import json
import statistics
import time
from typing import Any

from examples.demo import kube, platform
from tests.cluster import lock, node
from tests.cluster.paths import AUDIT_LOG
from tests.cluster.wait import until
from tests.e2e.conftest import BREAK_GLASS, build_served
from tests.e2e.models import Models
from tests.e2e.stage import Stage

_KNOWN, _UNKNOWN, _PROMOTIONS = 20, 5, 3
_OPERATOR = "system:serviceaccount:lockstep-system:lockstep"


def main() -> None:
    """Measure and print the table."""
    node.up()
    with lock.alone():
        platform.install(platform.build_images(), f"guards.breakGlassGroups={{{BREAK_GLASS}}}")
    models = Models(_mlflow())
    first, other = build_served("first"), build_served("other", acme="2.0.0", answer="other")
    version = models.register("bench", first.document).version
    stage = Stage()
    stage.create()
    try:
        unknown = [_refusal(stage, version, _fresh(number), f"unknown-{number}") for number in range(_UNKNOWN)]
        _refusal(stage, version, other.reference, "warm")
        known = [_refusal(stage, version, other.reference, f"known-{number}") for number in range(_KNOWN)]
        promotions = [_promotion(stage, version, first.reference, f"good-{number}") for number in range(_PROMOTIONS)]
    finally:
        stage.remove()
    print(f"{'apply → refusal, layers unknown (tiny image on a shared base)':64}{_summary(unknown)}")
    print(f"{'apply → refusal, layers known':64}{_summary(known)}")
    print(f"{'apply → promoted, 1 pod':64}{_summary([seconds for seconds, _ in promotions])}")
    writes = max((found for _, found in promotions), key=len)
    print(f"{'API writes of one promotion':64}{len(writes)}: {', '.join(writes)}")


def _mlflow() -> str:

    service = kube.get("service", "mlflow", "mlflow") or {}
    return f"http://{service['spec']['clusterIP']}:5000"


def _fresh(number: int) -> str:
    """Build an image whose digest nobody has seen."""
    return build_served(f"bench-{time.time_ns()}", acme=f"3.{number}.0", answer=str(time.time_ns())).reference


def _refusal(stage: Stage, version: str, image: str, name: str) -> float:
    stage.deploy("bench", version, image, name=name)
    started = time.monotonic()
    until(lambda: stage.gates(name).get("environment", {}).get("outcome") == "Rejected", 60, f"{name} is refused", every=0.05)
    return time.monotonic() - started


def _promotion(stage: Stage, version: str, image: str, name: str) -> tuple[float, list[str]]:
    offset = AUDIT_LOG.stat().st_size
    stage.deploy("bench", version, image, name=name)
    started = time.monotonic()
    stage.promoted(name)
    seconds = time.monotonic() - started
    until(lambda: stage.status(name).get("readyReplicas") == 1, 30, f"{name} serves")
    return seconds, _writes(offset, name)


def _writes(offset: int, name: str) -> list[str]:
    with AUDIT_LOG.open() as log:
        log.seek(offset)
        entries: list[dict[str, Any]] = [json.loads(line) for line in log if line.endswith("\n")]
    mine = [entry for entry in entries if entry["user"]["username"] == _OPERATOR and entry["responseStatus"]["code"] < 400]
    return [
        f"{entry['verb']} {entry['objectRef']['resource']}" + ("/status" if entry["objectRef"].get("subresource") else "")
        for entry in mine
        if entry["objectRef"].get("name", name).startswith(name) or entry["objectRef"]["resource"].startswith("events")
    ]


def _summary(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, round(0.99 * (len(ordered) - 1)))]
    return f"p50 {statistics.median(ordered):5.2f} s   p99 {p99:5.2f} s   (n={len(ordered)})"


if __name__ == "__main__":
    main()
