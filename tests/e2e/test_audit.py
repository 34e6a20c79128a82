"""What candidates are asked, and what the Service is asked after the switch: nobody is promoted without having answered."""

from collections.abc import Iterator
from typing import Any

import pytest

from examples.demo import kube, platform
from tests.cluster.wait import until
from tests.e2e import policies
from tests.e2e.conftest import Leadership, Served
from tests.e2e.models import Models
from tests.e2e.stage import Stage
from tests.e2e.traffic import Traffic


@pytest.fixture(scope="module")
def curious(platform_images: platform.PlatformImages) -> Iterator[str]:
    """Make a policy that asks often."""
    readiness = {"requests": 5, "deadlineSeconds": 60, "requestsAfterSwitch": 20}
    with policies.applied(pods={"variables": {"allowed": ["MODE"]}}, readiness=readiness, rollout=policies.HASTE) as name:
        yield name


@pytest.fixture
def asked(stage: Stage, curious: str) -> Stage:
    """A namespace that the curious policy governs."""
    kube.kubectl("label", "namespace", stage.namespace, f"lockstep.dev/policy={curious}")
    return stage


@pytest.mark.parametrize("path", ["/ping", "/v2/health/ready"])
def test_a_custom_server_that_could_not_be_asked_anything_gets_no_pod(
    asked: Stage, models: Models, first: Served, path: str
) -> None:
    version = models.register("audit-nothing", first.document).version
    custom: dict[str, Any] = {"port": 8080, "custom": {"readyPath": path}}
    asked.deploy("audit-nothing", version, first.reference, server=custom)
    message = asked.refused("readiness", "NothingToAsk")
    assert "set server.custom.predictPath" in message
    assert asked.pods() == []
    assert "active" not in asked.status()
    custom["custom"] |= {"predictPath": "/invocations", "predictBody": "{}"}
    asked.deploy("audit-nothing", version, first.reference, server=custom)
    record = kube.get("promotionrecord", asked.promoted()["record"], "lockstep-system")
    assert record is not None
    assert "asked with the manifest's own predictBody" in record["spec"]["gates"][-1]["message"]


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("error", "its answer is an error: model not loaded"),
        ("null", "its answer holds nothing but null and NaN"),
        ("nan", "its answer holds NaN"),
    ],
)
def test_an_answer_that_is_none_is_refused(asked: Stage, models: Models, first: Served, mode: str, says: str) -> None:
    version = models.register(f"audit-{mode}", first.document).version
    asked.deploy(f"audit-{mode}", version, first.reference, env={"MODE": mode})
    assert says in asked.refused("readiness", "AuditFailed")


def test_a_server_that_answers_only_what_looks_like_an_operator_is_not_promoted(
    asked: Stage, models: Models, first: Served
) -> None:
    version = models.register("audit-sly", first.document).version
    asked.deploy("audit-sly", version, first.reference, env={"MODE": "sly"})
    assert "was answered with 500: not for clients" in asked.refused("readiness", "AuditFailed")


def test_a_server_that_turns_after_the_switch_is_found_out_through_its_service_and_goes_on_serving(
    asked: Stage, models: Models, first: Served, leader: Leadership
) -> None:
    version = models.register("audit-turncoat", first.document).version
    asked.deploy("audit-turncoat", version, first.reference, env={"MODE": "turncoat"})
    active = asked.promoted()
    ready = until(
        lambda: found if (found := asked.condition("Ready")).get("reason") == "ServiceFailed" else None,
        150,
        "what the Service answers is said",
    )
    assert ready is not None
    assert ready["status"] == "False"
    assert "was answered with 500: it was asked long enough" in ready["message"]
    assert asked.condition("ReadinessProven")["reason"] == "ServiceFailed"
    assert asked.condition("Available")["status"] == "True"
    assert asked.status()["active"] == active
    assert len(until(lambda: asked.events("ActiveDegraded"), 10, "the event")) == 1
    metric = f'lockstep_active_degraded{{name="model",namespace="{asked.namespace}",reason="ServiceFailed"}} 1.0'
    until(lambda: metric in leader.metrics(), 10, "the metric")


def test_a_good_server_is_asked_through_its_service_too_and_nothing_is_said(
    asked: Stage, models: Models, first: Served
) -> None:
    version = models.register("audit-good", first.document).version
    asked.deploy("audit-good", version, first.reference)
    asked.promoted()
    with Traffic(str(asked.service_address())) as traffic:
        until(lambda: sum(traffic.answers.values()) > 200, 30, "predictions")
        written = asked.object()["metadata"]["resourceVersion"]
        until(lambda: sum(traffic.answers.values()) > 1200, 90, "more predictions")
    assert asked.object()["metadata"]["resourceVersion"] == written
    assert asked.events("ActiveDegraded") == []
