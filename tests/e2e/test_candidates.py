"""Candidates with a fault of their own are refused by name and withdrawn; those that lack room wait. What serves goes on."""

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from examples.demo import kube, platform
from tests.cluster import images
from tests.cluster.paths import NODE_NAME
from tests.cluster.wait import until
from tests.e2e import policies
from tests.e2e.conftest import Served
from tests.e2e.models import Models
from tests.e2e.stage import Stage
from tests.e2e.traffic import Traffic

DEADLINE = 10
"""Seconds that a faulty candidate has here; the policy grants the good ones twice as many."""
HURRIED: dict[str, Any] = {"readiness": {"deadlineSeconds": DEADLINE}}


@pytest.fixture(scope="module")
def impatient(platform_images: platform.PlatformImages) -> Iterator[str]:
    """Make a policy with a short deadline."""
    readiness = {"deadlineSeconds": 2 * DEADLINE}
    with policies.applied(pods={"variables": {"allowed": ["MODE"]}}, readiness=readiness, rollout=policies.HASTE) as name:
        yield name


@pytest.fixture
def hurry(stage: Stage, impatient: str) -> Stage:
    """A namespace that the impatient policy governs."""
    kube.kubectl("label", "namespace", stage.namespace, f"lockstep.dev/policy={impatient}")
    return stage


class Serving:
    """What serves before a candidate comes, and must not notice it."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.active = stage.promoted()
        self.pods = self._uids()

    def _uids(self) -> set[str]:
        return {pod["metadata"]["uid"] for pod in self.stage.pods()}

    def is_alone(self) -> None:
        """Wait until nothing is left of the candidate, and check that what serves is what served."""
        until(lambda: self._uids() == self.pods, 30, "the candidate's pods are gone")
        assert self.stage.status()["active"] == self.active
        assert self.stage.condition("Available")["status"] == "True"
        assert self.stage.status()["candidate"]["final"] is True

    def goes_on(self) -> None:
        """Check that the pods that served are still there."""
        assert self._uids() >= self.pods
        assert self.stage.status()["active"]["revision"] == self.active["revision"]


def label_of(stage: Stage) -> str:
    """Return a node label that no node has, and that nobody else asks for."""
    return f"e2e.lockstep.dev/{stage.namespace}"


@contextmanager
def room_for(stage: Stage) -> Iterator[None]:
    """Give the node the label for the time of the block."""
    kube.kubectl("label", "node", NODE_NAME, f"{label_of(stage)}=room")
    try:
        yield
    finally:
        kube.kubectl("label", "node", NODE_NAME, f"{label_of(stage)}-")


def past_the_deadline(stage: Stage) -> bool:
    since = datetime.fromisoformat(stage.status()["candidate"]["podsSince"])
    return (datetime.now(UTC) - since).total_seconds() > DEADLINE + 2


def still_waits(stage: Stage, reason: str) -> None:
    """Wait until the deadline has passed and the operator has reconciled again, and check that it still waits."""
    until(lambda: past_the_deadline(stage), DEADLINE + 10, "the deadline has passed")
    candidate = stage.status()["candidate"]
    assert (stage.gates()["readiness"]["outcome"], stage.gates()["readiness"]["reason"]) == ("Retry", reason)
    assert candidate["final"] is False
    assert "waitingSince" in candidate


def test_a_candidate_that_crashes_is_refused_with_what_its_server_said_and_leaves_nothing_behind(
    hurry: Stage, models: Models, first: Served
) -> None:
    version = models.register("candidates-crash", first.document).version
    hurry.deploy("candidates-crash", version, first.reference)
    serving = Serving(hurry)
    with Traffic(str(hurry.service_address())) as traffic:
        hurry.deploy("candidates-crash", version, first.reference, env={"MODE": "crash"}, **HURRIED)
        message = hurry.refused("readiness", "PodCrashed")
        serving.is_alone()
        seen = sum(traffic.answers.values())
        until(lambda: sum(traffic.answers.values()) > seen + 50, 20, "more predictions")
    assert "ModuleNotFoundError: No module named '_loss'" in message
    assert "exit code 3" in message
    assert hurry.condition("ReadinessProven")["message"] == message
    events = hurry.events("PromotionBlocked")
    assert len(events) == 1
    assert "No module named '_loss'" in events[0]["note"]
    assert traffic.failures == []
    hurry.deploy("candidates-crash", version, first.reference, env={"MODE": "good"}, **HURRIED)
    assert hurry.promoted()["revision"] != serving.active["revision"]


def test_a_candidate_that_never_becomes_ready_is_refused_at_its_deadline(hurry: Stage, models: Models, first: Served) -> None:
    version = models.register("candidates-unready", first.document).version
    hurry.deploy("candidates-unready", version, first.reference)
    serving = Serving(hurry)
    hurry.deploy("candidates-unready", version, first.reference, env={"MODE": "unready"}, **HURRIED)
    message = hurry.refused("readiness", "PodNotReady")
    assert f"0 of 1 pods are ready after {DEADLINE} s" in message
    assert "GET /ping was answered with 503" in message
    serving.is_alone()


def test_a_candidate_that_answers_the_registered_example_wrongly_is_refused(
    hurry: Stage, models: Models, first: Served
) -> None:
    version = models.register("candidates-wrong", first.document).version
    hurry.deploy("candidates-wrong", version, first.reference)
    serving = Serving(hurry)
    hurry.deploy("candidates-wrong", version, first.reference, env={"MODE": "wrong"})
    message = hurry.refused("readiness", "AuditFailed")
    assert "POST /invocations with the registered input example was answered with 400" in message
    assert "BAD_REQUEST" in message
    serving.is_alone()
    hurry.deploy("candidates-wrong", version, first.reference, env={"MODE": "good"})
    assert hurry.promoted()["revision"] != serving.active["revision"]


def test_an_image_that_the_node_cannot_pull_any_more_is_refused_and_a_raised_retry_promotes_it_once_it_is_back(
    hurry: Stage, models: Models, first: Served, second: Served
) -> None:
    version = models.register("candidates-gone", first.document).version
    hurry.deploy("candidates-gone", version, first.reference)
    serving = Serving(hurry)
    repository = f"e2e/gone-{hurry.namespace}"
    tag = f"{images.registry()}/{repository}:second"
    digest = images.push("localhost/e2e/tiny:second", tag)
    pinned = f"{images.registry()}/{repository}@{digest}"
    # Scanned, and kept from the node until the registry has it no more.
    hurry.deploy("candidates-gone", version, pinned, template={"nodeSelector": {label_of(hurry): "room"}}, **HURRIED)
    hurry.answered("readiness", "Retry", "PodsUnschedulable")
    forget(repository, digest)
    with room_for(hurry):
        message = hurry.refused("readiness", "ImagePullFailed")
        assert pinned in message
        assert "not found" in message
        serving.is_alone()
        assert images.push("localhost/e2e/tiny:second", tag) == digest
        hurry.patch({"retry": 1})
        assert hurry.promoted(image=second.pinned)["revision"] != serving.active["revision"]


def forget(repository: str, digest: str) -> None:
    """Delete a manifest from the registry."""
    url = f"http://{images.registry()}/v2/{repository}/manifests/{digest}"
    with urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=10) as answer:
        assert answer.status == 202


def held(stage: Stage) -> None:
    """Wait until a paused candidate has passed everything that comes before its pods."""

    def passed() -> bool:
        gates = stage.gates()
        checked = all((gates.get(name) or {}).get("outcome") == "Passed" for name in ("lineage", "image", "environment"))
        return checked and stage.condition("Ready").get("status") == "False"

    until(passed, 60, "the gates before the pods have passed")


def test_a_paused_candidate_is_checked_and_goes_no_further_until_it_is_paused_no_more(
    hurry: Stage, models: Models, first: Served
) -> None:
    version = models.register("candidates-paused", first.document).version
    hurry.deploy("candidates-paused", version, first.reference, paused=True)
    held(hurry)
    assert hurry.pods() == []
    assert "active" not in hurry.status()
    ready = until(
        lambda: found if (found := hurry.condition("Ready")).get("reason") == "Paused" else None, 10, "Ready says Paused"
    )
    assert ready is not None
    assert ready["status"] == "False"
    hurry.patch({"paused": False})
    assert hurry.promoted()["imageDigest"] == first.digest


def test_a_candidate_that_no_node_has_room_for_waits_past_its_deadline_and_goes_on_once_there_is_room(
    hurry: Stage, models: Models, first: Served
) -> None:
    version = models.register("candidates-room", first.document).version
    hurry.deploy("candidates-room", version, first.reference)
    serving = Serving(hurry)
    hurry.deploy("candidates-room", version, first.reference, template={"nodeSelector": {label_of(hurry): "room"}}, **HURRIED)
    message = hurry.answered("readiness", "Retry", "PodsUnschedulable")
    assert "didn't match Pod's node affinity/selector" in message
    event = until(lambda: hurry.events("PromotionWaiting"), 10, "the event")[0]
    assert "0/1 nodes are available" in event["note"]
    still_waits(hurry, "PodsUnschedulable")
    serving.goes_on()
    with room_for(hurry):
        assert hurry.promoted()["revision"] != serving.active["revision"]
    assert hurry.events("PromotionBlocked") == []


def test_a_candidate_that_the_quota_forbids_waits_past_its_deadline_and_goes_on_once_it_is_raised(
    hurry: Stage, models: Models, first: Served
) -> None:
    version = models.register("candidates-quota", first.document).version
    hurry.deploy("candidates-quota", version, first.reference)
    serving = Serving(hurry)
    hurry.kubectl("create", "quota", "tight", "--hard=pods=1")
    counted = ("get", "quota", "tight", "-o", "jsonpath={.status.used.pods}")
    until(lambda: hurry.kubectl(*counted) == "1", 20, "the quota is counted")
    hurry.deploy("candidates-quota", version, first.reference, env={"MODE": "good"}, **HURRIED)
    message = hurry.answered("readiness", "Retry", "QuotaExceeded")
    assert "exceeded quota: tight" in message
    still_waits(hurry, "QuotaExceeded")
    serving.goes_on()
    hurry.kubectl("patch", "quota", "tight", "--type", "merge", "-p", '{"spec": {"hard": {"pods": "3"}}}')
    assert hurry.promoted()["revision"] != serving.active["revision"]
    assert hurry.events("PromotionBlocked") == []
