"""A blocked candidate disturbs nothing that serves, whatever blocks it, and says what blocks it."""

import asyncio
import json
from collections.abc import Callable

import pytest

from lockstep.api.modeldeployment import GateOutcome
from lockstep.api.reasons import Reason
from lockstep.controller.cluster import ports
from lockstep.controller.cluster.ports import Kind, Object, UnavailableError
from lockstep.rollout.objects import labels
from tests.fakes import builders as build
from tests.fakes.images import Item, layer
from tests.fakes.workloads import Fate
from tests.flow.world import TEAM, World, ready_world, serving_world

_TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}}
STRANGER = {"spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": _TEMPLATE}}


async def refused_world() -> World:
    """Return a world where one revision serves and another one is refused."""
    world = await serving_world()
    await world.image("wrong", scikit_learn="1.2.0")
    world.change(image=f"{build.REPOSITORY}:wrong")
    await world.settle()
    assert world.condition("Ready") == ("False", "EnvironmentMismatch")
    return world


async def next_world(**policy: object) -> World:
    """Return a world where one revision serves and the spec asks for another good one."""
    world = await serving_world(policy=policy)
    await world.image("next", flask="3.0.0")
    world.change(image=f"{build.REPOSITORY}:next")
    return world


def stranger(world: World, revision: str | None) -> str:
    name = f"iris-{revision}"
    world.cluster.add(ports.DEPLOYMENT, {"metadata": {"name": name}, **STRANGER}, TEAM)
    return name


# --- somebody else's Deployment -----------------------------------------------------------------------------------------


async def test_a_stranger_under_a_blocked_candidates_name_stops_nothing_that_serves() -> None:
    world = await refused_world()
    stranger(world, world.candidate)
    await world.cluster.scale(ports.DEPLOYMENT, TEAM, f"iris-{world.active}", 0)
    world.cluster.edit(ports.SERVICE, TEAM, "iris", lambda s: s["spec"].update(selector={"app": "mine"}))
    await world.reconciliations(3, apart=0.2)
    await world.settle()
    assert world.deployment(world.active)["spec"]["replicas"] == 2
    assert world.served == world.active
    assert world.condition("Available") == ("True", "Promoted")


async def test_a_stranger_under_the_next_candidates_name_stops_the_candidate_alone_until_it_goes() -> None:
    world = await next_world()
    world.change(paused=True)
    await world.settle()
    before, name = world.active, stranger(world, world.candidate)
    world.change(paused=False)
    await world.settle()
    assert world.condition("Ready") == ("False", "NameConflict")
    assert name in world.message("Ready")
    assert world.condition("Available") == ("True", "Promoted")
    await world.cluster.scale(ports.DEPLOYMENT, TEAM, f"iris-{before}", 0)
    await world.settle()
    assert world.deployment(before)["spec"]["replicas"] == 2
    world.cluster.remove(ports.DEPLOYMENT, TEAM, name)
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")
    assert world.active != before


@pytest.mark.parametrize("blocked", [False, True])
async def test_a_stranger_under_the_active_revisions_name_is_said_until_it_goes(blocked: bool) -> None:
    world = await (refused_world() if blocked else serving_world())
    name = f"iris-{world.active}"
    world.cluster.remove(ports.DEPLOYMENT, TEAM, name)
    stranger(world, world.active)
    await world.reconciliations(2)
    await world.settle()
    assert world.condition("Available") == ("False", "NameConflict")
    assert world.condition("Ready") == ("False", "EnvironmentMismatch" if blocked else "NameConflict")
    assert world.metric("lockstep_active_degraded", namespace=TEAM, name="iris", reason="NameConflict") == 1
    assert any(name in note for note in world.notes("ActiveDegraded"))
    assert await world.reconciliations(5) == []
    world.cluster.remove(ports.DEPLOYMENT, TEAM, name)
    await world.reconciliations(2)
    await world.settle()
    assert world.condition("Available") == ("True", "Promoted")


# --- priorities ---------------------------------------------------------------------------------------------------------


def priority_class(world: World, name: str, value: int, **parts: object) -> None:
    world.cluster.add(ports.PRIORITY_CLASS, {"metadata": {"name": name}, "value": value, **parts})


async def test_a_candidate_whose_pods_could_push_away_those_that_serve_starts_none() -> None:
    world = await next_world()
    priority_class(world, "high", 1000)
    before = world.active
    world.change(template={"priorityClassName": "high"})
    await world.settle()
    assert world.condition("Ready") == ("False", "PriorityNotAllowed")
    assert "pods.priorityClasses" in world.message("Ready")
    assert world.deployments() == {before: 2}
    world.policy(pods={"priorityClasses": ["hi*"]})
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")
    assert world.active != before


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({"value": 1000, "preemptionPolicy": "Never"}, "class"),
        ({"value": -1}, "class"),
        ({"value": 0}, "class"),
        ({"value": 1000, "globalDefault": False}, None),
    ],
    ids=["never preempts", "lower", "equal", "not asked for"],
)
async def test_a_class_that_can_not_push_away_what_serves_needs_no_leave(parts: Object, named: str | None) -> None:
    world = await next_world()
    priority_class(world, "class", **parts)
    world.change(template={"priorityClassName": named} if named else {})
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")


async def test_a_default_class_counts_for_who_names_none() -> None:
    world = await serving_world(template={"priorityClassName": "low"})
    priority_class(world, "low", -5)
    await world.image("next", flask="3.0.0")
    world.change(image=f"{build.REPOSITORY}:next", template={})
    await world.settle()
    assert world.condition("Ready") == ("False", "PriorityNotAllowed"), "none is 0, and more than -5"


async def test_what_serves_has_the_priority_that_its_pods_were_made_with() -> None:
    world = await next_world()
    for pod in world.pods(world.active):
        world.cluster.edit(ports.POD, TEAM, pod["metadata"]["name"], lambda p: p["spec"].update(priority=-7))
    priority_class(world, "low", -5)
    world.change(template={"priorityClassName": "low"})
    await world.settle()
    assert world.condition("Ready") == ("False", "PriorityNotAllowed")


async def test_a_class_that_does_not_exist_could_come_to_be_any_and_holds_the_candidate() -> None:
    world = await next_world()
    world.change(template={"priorityClassName": "later"})
    await world.settle()
    assert world.condition("Ready") == ("False", "PriorityNotAllowed")
    assert "does not exist" in world.message("Ready")
    priority_class(world, "later", 0)
    world.clock.advance(60)
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")


async def test_a_class_that_was_made_a_moment_ago_is_known() -> None:
    world = await next_world()
    priority_class(world, "low", -5)
    world.change(template={"priorityClassName": "low"})
    await world.settle()
    priority_class(world, "as-low", -5)
    world.change(template={"priorityClassName": "as-low"})
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")
    assert "PromotionBlocked" not in world.events()


async def test_the_first_deployment_may_have_any_class() -> None:
    world = await ready_world(template={"priorityClassName": "high"})
    priority_class(world, "high", 1000)
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")


# --- what the API server refuses ----------------------------------------------------------------------------------------

REFUSALS = {
    'pods "iris-1" is forbidden: exceeded quota: tight, requested: pods=1, used: pods=1, limited: pods=1': "QuotaExceeded",
    'pods "iris-1" is forbidden: error looking up service account team/nope: serviceaccount "nope" not found': (
        "ServiceAccountMissing"
    ),
    'pods "iris-1" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true': "PodsForbidden",
    "pods \"iris-1\" is forbidden: ValidatingAdmissionPolicy 'x' with binding 'y' denied request: no": "PodsForbidden",
    'admission webhook "x.example.com" denied the request: no': "PodsForbidden",
    'Deployment.apps "iris-1" is invalid: spec.template.spec.containers[0].resources.limits[foo]: Invalid value': "PodsInvalid",
    "stream error: stream ID 5; INTERNAL_ERROR; received from peer": "ClusterFailed",
    'Internal error occurred: failed calling webhook "x": failed to call webhook: connection refused': "ClusterFailed",
}


@pytest.mark.parametrize(("message", "reason"), REFUSALS.items(), ids=lambda text: str(text)[:60])
async def test_why_no_pod_can_be_made_has_a_reason_of_its_own_and_is_waited_for(message: str, reason: str) -> None:
    world = await next_world()
    before = world.active
    world.workloads.quota = message
    await world.reconciliations(60, apart=60)
    assert world.condition("Ready") == ("False", reason)
    assert message in world.message("Ready")
    candidate = world.owner.status.candidate
    assert candidate is not None
    assert not candidate.final
    assert candidate.gates[-1].outcome is GateOutcome.RETRY
    assert (world.active, world.served) == (before, before)
    assert world.metric("lockstep_deployment_waiting", namespace=TEAM, name="iris", gate="readiness", reason=reason) == 1
    world.workloads.quota = None
    await world.reconciliations(2)
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")


@pytest.mark.parametrize(("message", "reason"), REFUSALS.items(), ids=lambda text: str(text)[:60])
async def test_why_no_deployment_can_be_made_has_the_same_reasons(message: str, reason: str) -> None:
    world = await ready_world()
    refusing = [True]
    world.cluster.admission.append(
        lambda verb, kind, body: message if verb == "create" and kind is ports.DEPLOYMENT and refusing else None
    )
    await world.reconciliations(20, apart=15)
    assert world.condition("Ready") == ("False", reason)
    mark = len(world.log)
    await world.reconciliations(5, apart=15)
    assert world.since(mark) == []
    refusing.clear()
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")


async def test_an_api_server_that_fails_is_no_reason_of_whoever_deploys_and_is_said() -> None:
    world = await ready_world()

    def fail(verb: str, kind: Kind, body: Object) -> str | None:
        if verb == "create" and kind is ports.DEPLOYMENT and failing:
            raise UnavailableError("POST /apis/apps/v1/…/deployments was answered with 500: etcdserver: request timed out")
        return None

    failing = [True]
    world.cluster.admission.append(fail)
    for _ in range(2):
        with pytest.raises(UnavailableError):
            await world.reconciliations(3)
    assert world.condition("Ready") == ("False", "ClusterFailed")
    assert "request timed out" in world.message("Ready")
    failing.clear()
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")


async def test_a_spec_that_no_cluster_could_store_is_refused_before_anything_is_made() -> None:
    world = await serving_world()
    before = world.active
    records = len(world.records())
    world.policy(pods={"variables": {"allowed": ["A*"]}})
    world.change(template={"env": [{"name": f"A{n}", "value": "é" * 4096} for n in range(60)]})
    await world.settle()
    assert world.condition("Ready") == ("False", "SpecTooLarge")
    assert "bytes" in world.message("Ready")
    assert world.deployments() == {before: 2}
    assert len(world.cluster.all(ports.CONTROLLER_REVISION, TEAM)) == 1
    assert len(world.records()) == records
    await world.image("wrong", scikit_learn="1.2.0")
    world.change(image=f"{build.REPOSITORY}:wrong")
    await world.settle()
    assert len(world.records()) == records, "no record would hold it either"
    world.change(image=f"{build.REPOSITORY}:2026-11", template={})
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")


# --- forged revisions ---------------------------------------------------------------------------------------------------


def forged(world: World, *, marks: bool, **metadata: object) -> str:
    """Let somebody make a ControllerRevision of the candidate's name that says something else."""
    owner = world.get(ports.MODEL_DEPLOYMENT, TEAM, "iris")["metadata"]
    name = f"iris-{world.candidate}"
    reference = {"kind": "ModelDeployment", "name": "iris", "uid": owner["uid"], "controller": True}
    found: Object = {"name": name, "ownerReferences": [reference], **metadata}
    if marks:
        found["labels"] = labels.of_revision("iris", str(world.candidate))
    world.cluster.add(ports.CONTROLLER_REVISION, {"metadata": found, "data": {"snapshot": "{}"}, "revision": 1}, TEAM)
    return name


@pytest.mark.parametrize("marks", [False, True])
async def test_a_forged_revision_is_made_anew(marks: bool) -> None:
    world = await ready_world(paused=True)
    await world.settle()
    name = forged(world, marks=marks)
    world.change(paused=False)
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")
    data = world.get(ports.CONTROLLER_REVISION, TEAM, name)["data"]
    assert json.loads(data["snapshot"])["version"] == "3"
    assert world.events()["DriftCorrected"] == (0 if marks else 1), "one that is nobody's candidate's yet is cleared away"


async def test_a_forged_revision_that_does_not_go_away_has_a_reason_of_its_own() -> None:
    world = await ready_world(paused=True)
    await world.settle()
    name = forged(world, marks=False, finalizers=["example.com/mine"])
    world.change(paused=False)
    await world.reconciliations(5)
    assert world.condition("Ready") == ("False", str(Reason.REVISION_FORGED))
    world.cluster.remove(ports.CONTROLLER_REVISION, TEAM, name)
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")


async def test_going_back_to_what_another_policy_rendered_makes_a_revision_of_its_own_and_is_no_tampering() -> None:
    world = await next_world()
    first = world.active
    await world.settle_all()
    assert world.active != first
    world.policy(rollout={"preStopSleepSeconds": 25})
    world.change(image=f"{build.REPOSITORY}:2026-11")
    await world.settle_all()
    assert world.condition("Ready") == ("True", "Promoted")
    assert world.active != first, "its pods are not those that served then"
    [pod, _] = world.pods(world.active)
    assert pod["spec"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] == 25
    assert "DriftCorrected" not in world.events()


async def test_a_policy_that_renders_a_candidate_otherwise_while_it_starts_makes_its_pods_anew() -> None:
    world = await next_world()
    await world.reconcile()
    image = str(world.owner.status.candidate.image) if world.owner.status.candidate else ""
    world.workloads.fates[image] = Fate.STARTING
    await world.reconciliations(3)
    world.policy(rollout={"preStopSleepSeconds": 25})
    await world.reconciliations(5)
    world.workloads.fates.clear()
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")
    [pod, _] = world.pods(world.active)
    assert pod["spec"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] == 25
    assert "DriftCorrected" not in world.events()


# --- refusals that last --------------------------------------------------------------------------------------------------


async def test_a_refusal_goes_on_through_a_hiccup_of_a_dependency() -> None:
    world = await refused_world()
    since = world.owner.status.candidate.blocked_since if world.owner.status.candidate else None
    by = {"namespace": TEAM, "name": "iris"}
    blocked = by | {"gate": "environment", "reason": "EnvironmentMismatch"}
    assert world.metric("lockstep_deployment_blocked", **blocked) == 1
    stamp = world.metric("lockstep_deployment_blocked_since_seconds", **by)
    for _ in range(3):
        world.clock.advance(300)
        world.registry.down = True
        await world.reconciliations(3)
        assert world.condition("Ready") == ("False", "RegistryUnreachable")
        assert world.metric("lockstep_deployment_blocked", **blocked) == 1, "an alert's `for` does not begin anew"
        assert world.metric("lockstep_deployment_waiting", gate="lineage", reason="RegistryUnreachable", **by) == 1
        world.registry.down = False
        await world.reconciliations(3)
        assert world.condition("Ready") == ("False", "EnvironmentMismatch")
        assert world.metric("lockstep_deployment_waiting", gate="lineage", reason="RegistryUnreachable", **by) == 0
    candidate = world.owner.status.candidate
    assert candidate is not None
    assert candidate.blocked_since == since
    assert world.metric("lockstep_deployment_blocked_since_seconds", **by) == stamp
    assert world.events()["PromotionBlocked"] == 1
    await world.image("right", flask="3.0.0")
    world.change(image=f"{build.REPOSITORY}:right")
    await world.settle()
    assert world.metric("lockstep_deployment_blocked", **blocked) == 0


# --- what a pod said ------------------------------------------------------------------------------------------------------


async def test_what_a_pod_that_never_became_ready_answered_is_kept_when_it_is_gone() -> None:
    world = await next_world()
    before = world.active
    await world.reconcile()
    candidate = world.owner.status.candidate
    assert candidate is not None
    world.workloads.fates[str(candidate.image)] = Fate.STARTING
    world.auditor.unready = "GET /ping on port 8080 was answered with 404: not here"
    await world.reconciliations(20)
    assert "was answered with 404" in world.message("Ready"), "who waits reads it too"
    await world.reconciliations(80, apart=10)
    assert world.condition("Ready") == ("False", "PodNotReady")
    assert "GET /ping on port 8080 was answered with 404: not here" in world.message("Ready")
    assert world.deployments() == {before: 2}


async def test_who_is_reconciled_only_after_the_deadline_learns_why_too() -> None:
    world = await next_world()
    await world.reconcile()
    candidate = world.owner.status.candidate
    assert candidate is not None
    world.workloads.fates[str(candidate.image)] = Fate.STARTING
    await world.reconcile()
    world.clock.advance(3600)
    await world.reconciliations(10)
    assert world.condition("Ready") == ("False", "PodNotReady")
    assert "GET /ping was answered with 503" in world.message("Ready")


# --- names that others gave the image --------------------------------------------------------------------------------------

ELSEWHERE = f"evil.example.com/x@sha256:{'e' * 64}"


def renamed(world: World) -> None:
    """Let the node know the next image by a name that somebody else pulled it by."""
    candidate = world.owner.status.candidate
    assert candidate is not None
    world.workloads.names[str(candidate.image)] = ELSEWHERE


async def test_a_name_that_another_tenant_gave_the_image_on_the_node_keeps_no_good_image_back() -> None:
    world = await next_world()
    await world.reconcile()
    renamed(world)
    asked = world.images.asked
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")
    assert world.images.asked - asked < 20


def runs(image: str) -> Callable[[Object], None]:
    return lambda pod: pod["spec"]["containers"][0].update(image=image)


async def test_a_pod_that_was_changed_meanwhile_is_believed_nothing_and_refused_for_nothing() -> None:
    world = await next_world()
    await world.reconcile()
    renamed(world)
    candidate = world.candidate
    for _ in range(30):
        world.workloads.step()
        for pod in world.pods(candidate):
            # There and back again: what runs now is anybody's guess.
            name, image = pod["metadata"]["name"], pod["spec"]["containers"][0]["image"]
            for other in ("evil", image):
                world.cluster.edit(ports.POD, TEAM, name, runs(other))
        await world.reconcile()
        world.clock.advance(5)
    assert world.condition("Ready") == ("False", "ImageUnverified")
    assert ELSEWHERE in world.message("Ready")
    status = world.owner.status.candidate
    assert status is not None
    assert not status.final
    assert status.gates[-1].outcome is GateOutcome.RETRY


async def test_what_the_registry_says_is_another_image_is_refused_whatever_the_pod_asks_for() -> None:
    world = await next_world()
    await world.reconcile()
    other = world.images.memory.image([layer(Item("opt/other", body=b"other"))], tag="other")
    candidate = world.owner.status.candidate
    assert candidate is not None
    world.workloads.names[str(candidate.image)] = f"{build.REPOSITORY}@{other}"
    await world.settle()
    assert world.condition("Ready") == ("False", "PodTampered")


async def test_while_the_registry_does_not_say_what_a_nodes_name_leads_to_nothing_is_promoted_or_written() -> None:
    world = await next_world()
    before = world.active
    await world.reconcile()
    renamed(world)
    answer = world.images.late[ELSEWHERE.partition("@")[2]] = asyncio.Event()
    await world.reconciliations(3, apart=1)
    assert await world.reconciliations(10, apart=1) == []
    assert world.active == before
    answer.set()
    await world.settle()
    assert world.active != before
    assert world.condition("Ready") == ("True", "Promoted")
