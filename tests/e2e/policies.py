"""PromotionPolicies for tests on the node: of its MLflow and its registry, unless a test says otherwise."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from examples.demo import kube, platform
from tests.cluster import images

HASTE = {"preStopSleepSeconds": 1, "scaleDownDelaySeconds": 1}
"""A rollout that waits for nobody's connections."""


def promotion_policy(name: str, **rules: Any) -> dict[str, Any]:
    """Return the manifest of a policy."""
    spec = {
        "registry": {"trackingURI": platform.MLFLOW_URL},
        "images": {"repositories": [f"{images.registry()}/*"]},
        **rules,
    }
    return {"apiVersion": "lockstep.dev/v1alpha1", "kind": "PromotionPolicy", "metadata": {"name": name}, "spec": spec}


@contextmanager
def applied(**rules: Any) -> Iterator[str]:
    """Have a policy for a while; yield its name."""
    name = f"e2e-{uuid.uuid4().hex[:8]}"
    kube.apply(json.dumps(promotion_policy(name, **rules)))
    try:
        yield name
    finally:
        kube.kubectl("delete", "promotionpolicy", name, "--ignore-not-found")
