"""Who governs: policies, guards, pauses, names, pins; and what a change of theirs does to what serves."""

from dataclasses import replace
from typing import Any

import pytest

from lockstep.controller.cluster import ports
from lockstep.controller.cluster.ports import DeposedError, Object
from lockstep.rollout.objects import labels
from tests.fakes import builders as build
from tests.flow.world import GUARD, OWNER, SYSTEM, TEAM, World, ready_world, serving_world


async def held(world: World, reason: str) -> None:
    """Make sure that nothing is made while something stands in the way, and that it is said once."""
    await world.settle()
    assert world.condition("Ready") == ("False", reason)
    assert world.deployments() == {}
    assert world.served is None or world.active is None
    mark = len(world.log)
    await world.reconciliations(20, apart=60)
    assert world.since(mark) == []


async def freed(world: World) -> None:
    world.clock.advance(60)
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")
    assert world.events()["Promoted"] == 1


# --- policies -----------------------------------------------------------------------------------------------------------


async def test_without_a_policy_nothing_is_promoted() -> None:
    world = await ready_world()
    world.cluster.remove(ports.PROMOTION_POLICY, None, "standard")
    await held(world, "PolicyMissing")
    assert world.events()["PromotionBlocked"] == 1
    assert world.registry.asked == 0
    world.policy()
    await freed(world)


async def test_two_default_policies_are_none() -> None:
    world = await ready_world()
    world.policy("other")
    await held(world, "PolicyInvalid")
    assert "other, standard" in world.message("Ready")
    world.cluster.remove(ports.PROMOTION_POLICY, None, "other")
    await freed(world)


async def test_an_invalid_policy_is_none() -> None:
    world = await ready_world()
    world.policy(readiness={"requests": "many"})
    await held(world, "PolicyInvalid")
    assert "readiness.requests" in world.message("Ready")
    world.policy()
    await freed(world)


async def test_a_label_that_names_no_policy_does_not_fall_back_to_the_default() -> None:
    world = await ready_world()

    def name(namespace: Object) -> None:
        namespace["metadata"]["labels"] = {labels.POLICY: "strict"}

    world.cluster.edit(ports.NAMESPACE, None, TEAM, name)
    await held(world, "PolicyMissing")
    world.policy("strict")
    await freed(world)
    assert world.records()[0]["policyName"] == "strict"


async def test_a_policy_that_goes_away_leaves_what_serves_alone() -> None:
    world = await serving_world()
    before = world.active
    world.cluster.remove(ports.PROMOTION_POLICY, None, "standard")
    world.change(replicas=3)
    await world.settle()
    assert world.deployments() == {before: 3}
    assert world.served == before
    assert world.condition("Ready") == ("True", "Promoted")
    await world.image("next", flask="3.0.0")
    world.change(image=f"{build.REPOSITORY}:next")
    await world.settle()
    assert world.condition("Ready") == ("False", "PolicyMissing")
    assert world.deployments() == {before: 3}


async def test_a_policy_change_evaluates_what_serves_once_and_reports_what_no_longer_holds() -> None:
    world = await serving_world()
    before = world.active
    world.policy(lineage={"require": ["Signature"]})
    world.registry.put(build.lineage(signature_present=False))
    world.clock.advance(60)
    world.start()
    await world.settle()
    assert (world.active, world.served) == (before, before)
    assert world.condition("Ready") == ("True", "Promoted"), "a policy does not take models down"
    assert world.condition("LineageVerified") == ("False", "LineageIncomplete")
    assert world.events()["ActiveDegraded"] == 1
    by = {"namespace": TEAM, "name": "iris", "reason": "LineageIncomplete"}
    assert world.metric("lockstep_active_degraded", **by) == 1
    await world.reconciliations(3, apart=60)
    asked = world.registry.asked
    assert await world.reconciliations(10, apart=60) == []
    assert world.registry.asked == asked
    world.policy()
    await world.settle()
    assert world.condition("LineageVerified") == ("True", "Passed")
    assert world.metric("lockstep_active_degraded", **by) == 0


async def test_a_policy_change_that_demands_nothing_new_is_told_to_nobody() -> None:
    world = await serving_world()
    world.policy(readiness={"requests": 5})
    await world.settle()
    assert world.events() == {"CandidateStarted": 1, "Promoted": 1}
    assert await world.reconciliations(5) == []


async def test_a_stricter_policy_is_asked_anew_for_a_candidate_that_was_refused_for_good() -> None:
    world = await ready_world()
    world.auditor.failure = "POST /invocations was answered with 500"
    await world.settle()
    assert world.condition("Ready") == ("False", "AuditFailed")
    world.auditor.failure = None
    world.policy(readiness={"requests": 5})
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ({"images": {"repositories": ["registry.example.com/other/*"]}}, "RepositoryNotAllowed"),
        ({"registry": {"trackingURI": "http://mlflow", "models": ["fraud*"]}}, "ModelNotAllowed"),
    ],
    ids=["repository", "model"],
)
async def test_what_the_policy_does_not_allow_is_not_even_asked_for(policy: dict[str, Any], reason: str) -> None:
    world = await ready_world(policy=policy)
    await held(world, reason)
    assert 0 in (world.registry.asked, world.images.asked)


async def test_in_audit_mode_a_mismatch_is_promoted_with_its_finding() -> None:
    policy = {"gates": [{"name": "environment", "mode": "Audit"}]}
    world = await ready_world(policy=policy, image=f"{build.REPOSITORY}:wrong")
    await world.image("wrong", scikit_learn="1.2.0")
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")
    assert world.condition("EnvironmentMatched") == ("False", "EnvironmentMismatch")
    assert world.records()[0]["differences"]


# --- holds --------------------------------------------------------------------------------------------------------------


async def test_without_the_guards_nothing_is_promoted() -> None:
    world = await ready_world()
    for kind in (ports.ADMISSION_POLICY, ports.ADMISSION_POLICY_BINDING):
        world.cluster.remove(kind, None, GUARD)
    await held(world, "GuardsMissing")
    assert f"{GUARD} is not bound" in world.message("Ready")
    assert "guards: Optional" in world.message("Ready")
    waiting = {"namespace": TEAM, "name": "iris", "gate": "guards", "reason": "GuardsMissing"}
    assert world.metric("lockstep_deployment_waiting", **waiting) == 1
    assert [(one.name, one.outcome, one.reason) for one in world.owner.status.holds] == [("guards", "Pending", "GuardsMissing")]
    (note,) = world.notes("PromotionWaiting")
    assert note.startswith("guards hold: guarding admission policies do not stand")
    world.guard()
    await freed(world)
    assert world.metric("lockstep_deployment_waiting", **waiting) == 0
    assert world.owner.status.holds == []


async def test_guards_that_only_warn_are_none() -> None:
    world = await ready_world()
    world.cluster.edit(ports.ADMISSION_POLICY_BINDING, None, GUARD, lambda b: b["spec"].update(validationActions=["Warn"]))
    await held(world, "GuardsMissing")


async def test_guards_that_the_policy_makes_optional_may_be_missing() -> None:
    world = await ready_world(policy={"guards": "Optional"})
    world.cluster.remove(ports.ADMISSION_POLICY_BINDING, None, GUARD)
    await freed(world)


async def test_guards_that_go_away_while_the_pods_start_hold_the_promotion() -> None:
    world = await ready_world()
    world.auditor.unreachable = True
    await world.reconciliations(5)
    assert world.deployments() != {}
    world.cluster.remove(ports.ADMISSION_POLICY_BINDING, None, GUARD)
    world.clock.advance(60)
    world.auditor.unreachable = False
    await world.reconciliations(10)
    assert world.active is None
    assert world.condition("Ready") == ("False", "GuardsMissing")


async def test_a_paused_one_is_checked_and_not_promoted() -> None:
    world = await ready_world(paused=True)
    await held(world, "Paused")
    assert world.condition("EnvironmentMatched") == ("True", "Passed")
    assert world.events().keys().isdisjoint({"PromotionBlocked", "PromotionWaiting"})
    assert [(one.name, one.reason) for one in world.owner.status.holds] == [("pause", "Paused")]
    for reason in ("Paused", "Waiting"):
        assert world.metric("lockstep_deployment_waiting", namespace=TEAM, name="iris", gate="readiness", reason=reason) == 0
    world.change(paused=False)
    await freed(world)


async def test_all_that_holds_a_candidate_is_shown_at_once() -> None:
    world = await ready_world(paused=True)
    selector = {labels.MODEL_DEPLOYMENT: "iris"}
    world.cluster.add(ports.SERVICE, {"metadata": {"name": "all"}, "spec": {"selector": selector}}, TEAM)
    for kind in (ports.ADMISSION_POLICY, ports.ADMISSION_POLICY_BINDING):
        world.cluster.remove(kind, None, GUARD)
    await held(world, "GuardsMissing")
    assert [one.name for one in world.owner.status.holds] == ["guards", "services", "pause"]
    world.guard()
    await held(world, "ForeignService")
    assert [one.name for one in world.owner.status.holds] == ["services", "pause"]
    world.cluster.remove(ports.SERVICE, TEAM, "all")
    await held(world, "Paused")
    world.change(paused=False)
    await freed(world)


async def test_a_refusal_is_recorded_with_what_held_the_candidate_too() -> None:
    world = await ready_world(paused=True, image=f"{build.REPOSITORY}:wrong")
    await world.image("wrong", scikit_learn="1.2.0")
    await world.settle()
    (record,) = world.records()
    assert record["outcome"] == "Refused"
    assert [(one["name"], one["reason"]) for one in record["holds"]] == [("pause", "Paused")]
    assert world.condition("Ready") == ("False", "EnvironmentMismatch")


async def test_a_pause_keeps_what_serves() -> None:
    world = await serving_world()
    before = world.active
    await world.image("next", flask="3.0.0")
    world.change(image=f"{build.REPOSITORY}:next", paused=True, replicas=3)
    await world.settle()
    assert world.deployments() == {before: 3}
    world.change(paused=False)
    await world.settle()
    assert world.active != before


async def test_a_service_of_the_same_name_is_never_taken_over() -> None:
    world = await ready_world()
    foreign = {"metadata": {"name": "iris"}, "spec": {"selector": {"app": "iris"}, "ports": [{"port": 80}]}}
    world.cluster.add(ports.SERVICE, foreign, TEAM)
    await world.settle()
    assert world.condition("Ready") == ("False", "NameConflict")
    assert world.deployments() == {}
    assert world.get(ports.SERVICE, TEAM, "iris")["spec"]["selector"] == {"app": "iris"}
    world.cluster.remove(ports.SERVICE, TEAM, "iris")
    await freed(world)


async def test_a_deployment_of_the_same_name_is_never_taken_over() -> None:
    smooth = await serving_world()
    world = await ready_world()
    body = {
        "metadata": {"name": f"iris-{smooth.active}"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "x"}}, "template": {"metadata": {"labels": {"app": "x"}}}},
    }
    world.cluster.add(ports.DEPLOYMENT, body, TEAM)
    for _ in range(20):
        await world.reconcile()
        world.clock.advance(5)
    assert world.active is None
    assert world.condition("Ready") == ("False", "NameConflict")
    found = world.deployment(smooth.active)
    assert found["spec"] == body["spec"]


async def test_a_foreign_service_that_selects_the_candidates_pods_holds_it() -> None:
    world = await ready_world()
    selector = {labels.MODEL_DEPLOYMENT: "iris"}
    world.cluster.add(ports.SERVICE, {"metadata": {"name": "all"}, "spec": {"selector": selector}}, TEAM)
    await held(world, "ForeignService")
    assert "all" in world.message("Ready")
    world.cluster.remove(ports.SERVICE, TEAM, "all")
    await freed(world)


# --- aliases ------------------------------------------------------------------------------------------------------------


async def test_an_alias_is_followed_when_it_moves() -> None:
    world = await ready_world(deploy=False)
    world.registry.aliases["iris", "champion"] = "3"
    world.deploy(model={"name": "iris", "alias": "champion"})
    await world.settle()
    first = world.active
    assert world.owner.status.model == "iris/champion=3"
    four = world.version("4")
    world.registry.aliases["iris", "champion"] = "4"
    await world.image("2026-11", of=four)
    await world.reconciliations(4, apart=30)
    await world.settle()
    assert world.active != first
    assert world.owner.status.model == "iris/champion=4"
    assert world.condition("Ready") == ("True", "Promoted")
    assert world.events()["Promoted"] == 2


async def test_a_moved_alias_whose_image_holds_the_old_model_is_refused_and_the_old_one_serves() -> None:
    world = await ready_world(deploy=False)
    world.registry.aliases["iris", "champion"] = "3"
    world.deploy(model={"name": "iris", "alias": "champion"})
    await world.settle()
    first = world.active
    world.version("4")
    world.registry.aliases["iris", "champion"] = "4"
    await world.reconciliations(4, apart=30)
    await world.settle()
    assert world.condition("Ready") == ("False", "ImageLacksVersion")
    assert (world.active, world.served) == (first, first)
    mark = len(world.log)
    await world.reconciliations(10, apart=60)
    assert world.since(mark) == []
    assert world.events()["PromotionBlocked"] == 1
    world.registry.aliases["iris", "champion"] = "3"
    await world.reconciliations(4, apart=30)
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted"), "moved back, it is settled again"
    assert world.active == first


# --- pins ---------------------------------------------------------------------------------------------------------------


async def test_a_replaced_environment_document_is_a_changed_lineage_even_for_another_model_deployment() -> None:
    world = await serving_world()
    await world.cluster.delete(ports.MODEL_DEPLOYMENT, TEAM, "iris")
    world.workloads.step()
    document = build.document({**build.TRAINED, "scikit-learn": "1.2.0"}, required=True)
    world.registry.put(build.lineage(environment_document=document.canonical(), environment_digest=document.digest))
    await world.image("wrong", scikit_learn="1.2.0")
    world.start()
    world.deploy(image=f"{build.REPOSITORY}:wrong")
    await world.settle()
    assert world.condition("Ready") == ("False", "LineageChanged")
    assert "environment document" in world.message("Ready")
    assert world.active is None
    assert len(world.cluster.all(ports.LINEAGE_PIN, SYSTEM)) == 1


async def test_a_lineage_that_never_held_is_not_pinned() -> None:
    world = await ready_world()
    world.registry.put(build.lineage(run=replace(build.run(), status="RUNNING")))
    await world.settle()
    assert world.condition("Ready") == ("False", "RunNotFinished")
    assert world.cluster.all(ports.LINEAGE_PIN, SYSTEM) == []
    world.registry.put(build.lineage())
    await freed(world)


# --- candidates of fewer replicas -----------------------------------------------------------------------------------------


async def test_a_smaller_candidate_is_scaled_up_after_its_record_and_promoted_when_all_are_ready() -> None:
    world = await ready_world(policy={"rollout": {"candidateReplicas": 1}}, replicas=4)
    mark = len(world.log)
    await world.settle()
    log = world.since(mark)
    record = next(at for at, line in enumerate(log) if line.startswith("create PromotionRecord"))
    scaled = log.index(f"scale Deployment iris-{world.active}")
    service = log.index("create Service iris")
    assert record < scaled < service
    made = [line for line in log[:scaled] if line.startswith("create Pod ")]
    assert len(made) == 1
    assert world.condition("Ready") == ("True", "Promoted")
    assert world.deployments() == {world.active: 4}
    assert len(world.auditor.audited) == 4, "each pod that gets traffic has been audited"
    assert len(world.records()) == 1


# --- leadership -----------------------------------------------------------------------------------------------------------


async def test_a_deposed_leader_writes_nothing() -> None:
    world = await ready_world()
    await world.reconciliations(2)
    world.fence = lambda: 0.0
    mark = len(world.log)
    world.workloads.step()
    with pytest.raises(DeposedError):
        await world.reconciliations(5)
    assert not [line for line in world.since(mark) if "lockstep" in line or "ModelDeployment" in line]
    assert world.active is None
    assert world.served is None


async def test_two_leaders_at_once_still_promote_once() -> None:
    world = await ready_world()
    first = world.reconciler
    world.start()
    for _ in range(30):
        world.workloads.step()
        await first.reconcile(TEAM, "iris", lambda: None)
        await world.reconcile()
        world.clock.advance(1)
    assert world.condition("Ready") == ("True", "Promoted")
    assert len(world.records()) == 1
    assert world.events()["Promoted"] == 1


async def test_a_spec_that_can_not_be_understood_is_said_so_and_what_serves_goes_on() -> None:
    world = await serving_world()
    before = world.active
    world.change(server={"port": 8080})
    await world.reconciliations(3)
    found = {c["type"]: (c["status"], c["reason"]) for c in world.get(*OWNER)["status"]["conditions"]}
    assert found["Ready"] == ("False", "SpecInvalid")
    assert world.served == before
    mark = len(world.log)
    await world.reconciliations(3)
    assert world.since(mark) == []
