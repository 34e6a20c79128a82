"""What does not match is refused, said once, and disturbs nothing that serves."""

import pytest

from lockstep.api.modeldeployment import GateOutcome
from lockstep.controller.cluster import ports
from lockstep.controller.cluster.ports import Kind, Object
from tests.fakes import builders as build
from tests.fakes.workloads import Fate
from tests.flow.world import OWNER, TEAM, World, ready_world, serving_world

WRONG = f"{build.REPOSITORY}:wrong"


async def mismatching() -> World:
    world = await ready_world(image=WRONG)
    await world.image("wrong", scikit_learn="1.2.0")
    return world


async def test_a_mismatching_image_is_refused_with_its_cause() -> None:
    world = await mismatching()
    await world.settle()
    assert world.condition("Ready") == ("False", "EnvironmentMismatch")
    assert world.condition("EnvironmentMatched") == ("False", "EnvironmentMismatch")
    assert world.condition("Stalled") == ("True", "EnvironmentMismatch")
    assert "scikit-learn: trained with 1.4.2, image has 1.2.0" in world.message("EnvironmentMatched")
    [difference] = world.owner.status.differences
    assert (difference.subject, difference.trained, difference.image) == ("scikit-learn", "1.4.2", "1.2.0")
    [record] = world.records()
    assert record["outcome"] == "Refused"
    assert world.served is None


async def test_a_refused_image_never_gets_a_deployment_and_is_told_once_in_twenty_reconciliations() -> None:
    world = await mismatching()
    await world.settle()
    writes = await world.reconciliations(20, apart=60)
    assert writes == []
    assert not [write for write in world.log if write.kind in ("Deployment", "ReplicaSet", "Pod", "Service")]
    assert world.events() == {"CandidateStarted": 1, "PromotionBlocked": 1}
    assert world.metric("lockstep_promotions_total", outcome="Refused") == 1
    by = {"gate": "environment", "reason": "EnvironmentMismatch"}
    assert world.metric("lockstep_deployment_blocked", namespace=TEAM, name="iris", **by) == 1
    assert world.metric("lockstep_blocked_deployments", **by) == 1
    since = world.owner.status.candidate
    assert since is not None
    assert since.blocked_since == build.NOW


async def test_a_refused_image_leaves_what_serves_alone() -> None:
    world = await serving_world()
    before = world.active
    await world.image("wrong", scikit_learn="1.2.0")
    world.change(image=WRONG)
    await world.settle()
    assert world.condition("Ready") == ("False", "EnvironmentMismatch")
    assert world.condition("Available") == ("True", "Promoted")
    assert (world.active, world.served, world.deployments()) == (before, before, {before: 2})
    world.change(replicas=4)
    await world.settle()
    assert world.deployments() == {before: 4}, "it goes on scaling"


async def test_a_corrected_image_is_promoted_and_the_old_one_drains_and_is_kept_at_zero() -> None:
    world = await serving_world()
    old = world.active
    await world.image("wrong", scikit_learn="1.2.0")
    world.change(image=WRONG)
    await world.settle()
    await world.image("right", flask="3.0.0")
    world.change(image=f"{build.REPOSITORY}:right")
    await world.settle()
    new = world.active
    assert new != old
    assert world.served == new
    assert world.deployments() == {old: 2, new: 2}, "connections that are open still end at the old pods"
    assert world.due is not None
    assert world.due <= 40, "somebody checks again when the drain is over"
    world.clock.advance(31)
    await world.settle()
    assert world.deployments() == {old: 0, new: 2}
    assert [entry.revision for entry in world.owner.status.history] == [old]
    blocked = {"gate": "environment", "reason": "EnvironmentMismatch"}
    assert world.metric("lockstep_deployment_blocked", namespace=TEAM, name="iris", **blocked) == 0
    assert world.owner.status.differences == []


async def test_revisions_beyond_the_history_limit_are_deleted_with_their_snapshots() -> None:
    world = await serving_world(policy={"rollout": {"revisionHistoryLimit": 1}})
    revisions = [world.active]
    for tag in ("b", "c"):
        await world.image(tag, flask=f"3.0.{ord(tag)}")
        world.change(image=f"{build.REPOSITORY}:{tag}")
        await world.settle_all()
        revisions.append(world.active)
    assert world.deployments() == {revisions[1]: 0, revisions[2]: 2}
    assert len(world.cluster.all(ports.CONTROLLER_REVISION, TEAM)) == 2
    assert await world.reconciliations(3) == []


async def test_going_back_to_an_old_revision_uses_its_objects_again() -> None:
    world = await serving_world()
    first = world.active
    await world.image("b", flask="3.0.0")
    world.change(image=f"{build.REPOSITORY}:b")
    await world.settle_all()
    second = world.active
    world.change(image=f"{build.REPOSITORY}:2026-11")
    await world.settle_all()
    assert world.active == first
    assert world.served == first
    assert world.deployments() == {first: 2, second: 0}
    assert world.events() == {"CandidateStarted": 3, "Promoted": 3}, "going back is told as well"


async def test_a_tag_that_moves_after_it_was_pinned_changes_nothing() -> None:
    world = await ready_world()
    await world.reconcile()
    await world.image("2026-11", scikit_learn="1.2.0")
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")
    running = {pod["spec"]["containers"][0]["image"] for pod in world.pods(world.active)}
    active = world.owner.status.active
    assert active is not None
    assert running == {f"{build.REPOSITORY}@{active.image_digest}"}


# --- faults of the candidate's pods ------------------------------------------------------------------------------------


async def failing(fate: Fate) -> World:
    """Return a settled world with a second candidate whose pods share a fate."""
    world = await serving_world()
    digest = await world.image("next", flask="3.0.0")
    world.workloads.fates[f"{build.REPOSITORY}@{digest}"] = fate
    world.change(image=f"{build.REPOSITORY}:next")
    return world


FAULTS = {Fate.CRASHING: "PodCrashed", Fate.STARTING: "PodNotReady", Fate.PULL_FAILS: "ImagePullFailed"}


@pytest.mark.parametrize(("fate", "reason"), FAULTS.items(), ids=lambda value: str(value))
async def test_pods_that_fail_are_refused_at_their_deadline_for_their_own_reason(fate: Fate, reason: str) -> None:
    world = await failing(fate)
    before = world.active
    await world.reconciliations(2)
    candidate = world.owner.status.candidate
    assert candidate is not None
    assert not candidate.final, "nothing is final before the deadline or a loop of crashes"
    await world.reconciliations(70, apart=10)
    candidate = world.owner.status.candidate
    assert candidate is not None
    assert candidate.final
    assert world.condition("Ready") == ("False", reason)
    assert world.condition("ReadinessProven") == ("False", reason)
    assert (world.active, world.served) == (before, before)
    assert world.deployments() == {before: 2}, "it gives its place back"
    assert world.records()[-1]["outcome"] == "Refused"
    assert world.events()["PromotionBlocked"] == 1
    asked = world.registry.asked
    assert await world.reconciliations(5, apart=600) == []
    assert world.registry.asked == asked, "nobody is asked anything any more"


async def test_pods_that_find_no_room_are_tried_for_as_long_as_it_takes() -> None:
    world = await failing(Fate.UNSCHEDULABLE)
    await world.reconciliations(100, apart=60)
    candidate = world.owner.status.candidate
    assert candidate is not None
    assert not candidate.final
    assert candidate.gates[-1].outcome is GateOutcome.RETRY
    assert world.condition("Ready") == ("False", "PodsUnschedulable")
    assert world.condition("Reconciling")[0] == "True"
    assert world.events()["PromotionWaiting"] == 1
    world.workloads.fates.clear()
    await world.reconciliations(4)
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")


async def test_a_raised_retry_brings_a_finally_refused_revision_back() -> None:
    world = await failing(Fate.CRASHING)
    await world.reconciliations(70, apart=10)
    world.workloads.fates.clear()
    assert await world.reconciliations(5, apart=60) == []
    world.change(retry=1)
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")
    assert world.events()["Promoted"] == 2


async def test_another_failure_after_a_raised_retry_is_told_again() -> None:
    world = await failing(Fate.CRASHING)
    await world.reconciliations(70, apart=10)
    world.change(retry=1)
    await world.reconciliations(70, apart=10)
    candidate = world.owner.status.candidate
    assert candidate is not None
    assert candidate.final
    assert world.events()["PromotionBlocked"] == 2
    assert [record["outcome"] for record in world.records()] == ["Promoted", "Refused", "Refused"]


async def test_pods_that_answer_the_audit_wrongly_are_refused_at_once() -> None:
    world = await failing(Fate.READY)
    before = world.active
    world.auditor.failure = "POST /invocations was answered with 500"
    await world.settle()
    assert world.condition("Ready") == ("False", "AuditFailed")
    assert (world.active, world.served) == (before, before)
    assert world.deployments() == {before: 2}


async def test_pods_that_can_not_be_reached_are_asked_again_until_the_deadline() -> None:
    world = await failing(Fate.READY)
    world.auditor.unreachable = True
    await world.reconciliations(10)
    assert world.condition("Ready") == ("False", "ProbeFailed")
    world.auditor.unreachable = False
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")


async def test_a_quota_that_refuses_the_deployment_is_waited_for() -> None:
    world = await ready_world()
    open_again: list[bool] = []

    def quota(verb: str, kind: Kind, body: Object) -> str | None:
        full = verb == "create" and kind is ports.DEPLOYMENT and not open_again
        return "exceeded quota: deployments, requested: count/deployments.apps=1" if full else None

    world.cluster.admission.append(quota)
    await world.reconciliations(20, apart=15)
    assert world.condition("Ready") == ("False", "QuotaExceeded")
    assert "exceeded quota" in world.message("Ready")
    mark = len(world.log)
    await world.reconciliations(5, apart=15)
    assert world.since(mark) == [], "each change of the status would bring another reconciliation at once"
    assert world.due is not None
    open_again.append(True)
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")


async def test_a_hold_in_the_status_that_no_version_of_ours_knows_stops_nothing() -> None:
    """A restart, or a newer version before, believes the status that it reads."""
    world = await ready_world()
    await world.reconcile()
    held = {"name": "cluster", "outcome": "Pending", "mode": "Enforce", "reason": "FromTheFuture", "message": "x"}
    world.cluster.edit(ports.MODEL_DEPLOYMENT, TEAM, "iris", lambda o: o.setdefault("status", {}).update(holds=[held]))
    world.start()
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")


async def test_a_quota_that_refuses_the_pods_is_waited_for() -> None:
    world = await ready_world()
    world.workloads.quota = "exceeded quota: pods"
    await world.reconciliations(100, apart=60)
    assert world.condition("Ready") == ("False", "QuotaExceeded")
    candidate = world.owner.status.candidate
    assert candidate is not None
    assert not candidate.final
    world.workloads.quota = None
    await world.reconciliations(2)
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")


async def started_late(world: World) -> None:
    """Let the pods that have waited for room start slowly, and become ready after a while."""
    image = str(world.owner.status.candidate.image) if world.owner.status.candidate else ""
    world.workloads.quota = None
    world.workloads.fates[image] = Fate.STARTING
    await world.reconciliations(4)
    candidate = world.owner.status.candidate
    assert candidate is not None
    assert not candidate.final, "the time without room is not the candidate's"
    world.workloads.fates.clear()
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")
    assert "PromotionBlocked" not in world.events()


async def test_pods_that_found_room_after_the_deadline_have_the_whole_deadline_to_start() -> None:
    world = await failing(Fate.UNSCHEDULABLE)
    await world.reconciliations(100, apart=60)
    await started_late(world)


async def test_pods_that_the_quota_lets_in_after_the_deadline_have_the_whole_deadline_to_start() -> None:
    world = await failing(Fate.STARTING)
    world.workloads.quota = "exceeded quota: pods"
    await world.reconciliations(100, apart=60)
    await started_late(world)


async def test_a_deployment_that_the_quota_lets_in_after_the_deadline_has_the_whole_deadline_to_start() -> None:
    world = await failing(Fate.STARTING)
    full = [True]

    def quota(verb: str, kind: Kind, body: Object) -> str | None:
        refused = verb == "create" and kind is ports.DEPLOYMENT and full
        return "exceeded quota: deployments, requested: count/deployments.apps=1" if refused else None

    world.cluster.admission.append(quota)
    await world.reconciliations(100, apart=60)
    assert world.condition("Ready") == ("False", "QuotaExceeded")
    full.clear()
    await started_late(world)


async def test_pods_that_found_room_and_never_become_ready_are_refused_at_the_deadline_all_the_same() -> None:
    world = await failing(Fate.UNSCHEDULABLE)
    await world.reconciliations(30, apart=60)
    candidate = world.owner.status.candidate
    assert candidate is not None
    world.workloads.fates[str(candidate.image)] = Fate.STARTING
    await world.reconciliations(20, apart=60)
    assert world.condition("Ready") == ("False", "PodNotReady")


async def test_a_candidate_that_is_given_up_for_another_leaves_nothing_behind() -> None:
    world = await failing(Fate.STARTING)
    before = world.active
    await world.reconciliations(4)
    assert len(world.deployments()) == 2
    world.change(image=f"{build.REPOSITORY}:2026-11")
    await world.settle()
    assert world.deployments() == {before: 2}
    assert world.condition("Ready") == ("True", "Promoted")
    assert world.cluster.find(*OWNER) is not None
    assert len(world.cluster.all(ports.CONTROLLER_REVISION, TEAM)) == 1


@pytest.mark.parametrize("outage", [False, True], ids=["", "while MLflow is down"])
async def test_going_back_to_what_serves_leaves_nothing_of_the_refused_candidate_behind(outage: bool) -> None:
    world = await serving_world()
    await world.image("next", numpy="1.0.0")
    world.change(image=f"{build.REPOSITORY}:next")
    await world.settle()
    assert world.condition("EnvironmentMatched") == ("False", "EnvironmentMismatch")
    world.clock.advance(60)
    world.registry.down = outage
    world.change(image=f"{build.REPOSITORY}:2026-11")
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")
    stale = {condition.reason for condition in world.owner.status.conditions} - {"Promoted", "Passed", "Waiting"}
    assert stale == set()
    assert world.metric("lockstep_active_degraded", namespace=TEAM, name="iris", reason="EnvironmentMismatch") == 0
