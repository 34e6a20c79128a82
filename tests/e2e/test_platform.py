"""The chart as it stands in the cluster, and the alert in a real Prometheus."""

import json
from typing import Any
from urllib.request import urlopen

from examples.demo import kube, platform
from tests.cluster.wait import until
from tests.e2e.conftest import Leadership, Served
from tests.e2e.models import Models
from tests.e2e.stage import Stage


def test_the_chart_is_installed_with_two_replicas_that_are_ready_and_one_that_leads(leader: Leadership) -> None:
    releases = json.loads(kube.helm("list", "-n", platform.SYSTEM, "-o", "json"))
    assert [release["status"] for release in releases if release["name"] == "lockstep"] == ["deployed"]
    kube.rolled_out(platform.SYSTEM, "lockstep")
    pods = kube.items("pods", platform.SYSTEM, "app.kubernetes.io/name=lockstep")
    assert leader.name() in {pod["metadata"]["name"] for pod in pods}
    assert "lockstep_leader 1.0" in leader.metrics()
    for path in ("healthz", "readyz"):
        url = f"/api/v1/namespaces/{platform.SYSTEM}/pods/{leader.name()}:8081/proxy/{path}"
        assert kube.kubectl("get", "--raw", url) == "ok\n"


def test_the_controller_passes_the_restricted_pod_security_standard(leader: Leadership) -> None:
    label = "pod-security.kubernetes.io/enforce=restricted"
    said = kube.kubectl("label", "--dry-run=server", "--overwrite", "namespace", platform.SYSTEM, label)
    assert "violate" not in said


def test_a_blocked_promotion_raises_an_alert_in_prometheus(stage: Stage, models: Models, first: Served, other: Served) -> None:
    model = models.register("alerted", first.document)
    stage.deploy("alerted", model.version, other.reference)
    stage.refused("environment", "EnvironmentMismatch")
    service = kube.get("service", "prometheus", "monitoring") or {}
    url = f"http://{service['spec']['clusterIP']}:9090/api/v1/alerts"

    def alert() -> dict[str, Any] | None:
        with urlopen(url, timeout=10) as response:
            alerts = json.load(response)["data"]["alerts"]
        wanted = {"alertname": "LockstepPromotionBlocked", "namespace": stage.namespace, "name": "model"}
        return next((a for a in alerts if wanted.items() <= a["labels"].items()), None)

    raised = until(alert, 60, "the alert") or {}
    assert raised["state"] in ("pending", "firing")
    assert raised["labels"]["reason"] == "EnvironmentMismatch"


def test_kubectl_explains_the_fields() -> None:
    said = kube.kubectl("explain", "mdep.spec")
    assert "Which registered model version is to be served" in said
    assert "what was checked is what runs" in kube.kubectl("explain", "mdep.spec.image")
