"""A matching image is promoted, a mismatching one refused, the corrected one takes over; nobody's request fails."""

from examples.demo import kube
from tests.cluster import images
from tests.cluster.wait import until
from tests.e2e.conftest import Leadership, Served
from tests.e2e.models import Models
from tests.e2e.stage import Stage
from tests.e2e.traffic import Traffic


def test_a_matching_image_is_promoted_on_first_deployment_and_its_service_predicts(
    stage: Stage, models: Models, first: Served
) -> None:
    model = models.register("matching", first.document)
    stage.deploy("matching", model.version, first.reference, replicas=2)
    active = stage.promoted()
    assert active["imageDigest"] == first.digest
    assert active["runID"] == model.run_id
    with Traffic(str(stage.service_address())) as traffic:
        until(lambda: sum(traffic.answers.values()) > 40, 20, "predictions")
    assert traffic.failures == []
    assert set(traffic.answers) == {'{"predictions": ["first"]}'}
    pods = stage.pods(active["revision"])
    assert [pod["spec"]["containers"][0]["image"] for pod in pods] == [first.pinned] * 2
    record = kube.get("promotionrecord", active["record"], "lockstep-system")
    assert record is not None
    assert record["spec"]["outcome"] == "Promoted"
    assert record["spec"]["imageDigest"] == first.digest
    assert len(stage.events("Promoted")) == 1


def test_a_mismatching_image_is_refused_by_name_everywhere_while_the_first_one_keeps_answering(
    stage: Stage, models: Models, first: Served, other: Served, leader: Leadership
) -> None:
    model = models.register("mismatching", first.document)
    stage.deploy("mismatching", model.version, first.reference)
    before = stage.promoted()
    cause = "acme-features: trained with 1.0.0, image has 2.0.0"
    with Traffic(str(stage.service_address())) as traffic:
        stage.deploy("mismatching", model.version, other.reference)
        message = stage.refused("environment", "EnvironmentMismatch")
        until(lambda: stage.events("PromotionBlocked"), 10, "the event")
        until(lambda: f'namespace="{stage.namespace}"' in leader.metrics(), 10, "the metric")
        seen = sum(traffic.answers.values())
        until(lambda: sum(traffic.answers.values()) > seen + 200, 30, "more predictions")
    assert cause in message
    assert cause in stage.condition("EnvironmentMatched")["message"]
    ready = stage.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("False", "EnvironmentMismatch")
    assert cause in ready["message"]
    events = stage.events("PromotionBlocked")
    assert len(events) == 1
    assert cause in events[0]["note"]
    columns = stage.kubectl("get", "mdep", "model", "-o", "wide")
    assert "EnvironmentMismatch" in columns
    assert cause in columns
    difference = stage.status()["differences"][0]
    assert (difference["subject"], difference["trained"], difference["image"]) == ("acme-features", "1.0.0", "2.0.0")
    metrics = leader.metrics()
    assert f'lockstep_deployment_blocked{{gate="environment",name="model",namespace="{stage.namespace}"' in metrics
    assert stage.status()["active"]["revision"] == before["revision"]
    assert traffic.failures == []
    assert not traffic.saw("other")
    assert len(stage.pods()) == 1


def test_the_corrected_image_takes_over_without_losing_one_request_and_the_old_pods_go(
    stage: Stage, models: Models, first: Served, second: Served
) -> None:
    model = models.register("corrected", first.document)
    stage.deploy("corrected", model.version, first.reference, replicas=2)
    before = stage.promoted()
    with Traffic(str(stage.service_address())) as traffic:
        stage.deploy("corrected", model.version, second.reference, replicas=2)
        after = stage.promoted(image=second.pinned)
        until(lambda: traffic.saw("second"), 20, "answers of the new revision")
        until(lambda: not stage.pods(before["revision"]), 90, "the old pods are gone")
    assert after["revision"] != before["revision"]
    assert traffic.failures == [], stage.kubectl("get", "events", "--sort-by=.metadata.creationTimestamp")
    assert stage.status()["history"][0]["revision"] == before["revision"]


def test_a_tag_that_moves_between_check_and_rollout_changes_nothing(
    stage: Stage, models: Models, first: Served, other: Served
) -> None:
    model = models.register("moving", first.document)
    tag = f"{images.registry()}/e2e/tiny:moving-{stage.namespace}"
    images.push("localhost/e2e/tiny:first", tag)
    stage.deploy("moving", model.version, tag, replicas=2)
    until(lambda: (stage.status().get("candidate") or stage.status().get("active") or {}).get("imageDigest"), 60, "pinned")
    images.push("localhost/e2e/tiny:other", tag)
    active = stage.promoted()
    assert active["imageDigest"] == first.digest
    assert {pod["spec"]["containers"][0]["image"].partition("@")[2] for pod in stage.pods()} == {first.digest}


def test_a_scaled_deployment_makes_no_candidate_and_gets_its_pods(stage: Stage, models: Models, first: Served) -> None:
    model = models.register("scaled", first.document)
    stage.deploy("scaled", model.version, first.reference)
    before = stage.promoted()
    stage.kubectl("scale", "mdep", "model", "--replicas=3")
    until(lambda: stage.status().get("readyReplicas") == 3, 60, "three pods")
    assert stage.status()["active"]["revision"] == before["revision"]
    assert stage.status()["active"]["record"] == before["record"]
