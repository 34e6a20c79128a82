"""What candidates' pods are asked before they get traffic, and what the Service is asked afterwards."""

import asyncio
from typing import Any

import pytest

from lockstep.controller.cluster import ports
from lockstep.gates.evidence import AuditFact
from lockstep.readiness.port import Audit
from tests.fakes import builders as build
from tests.fakes.auditor import FakeAuditor
from tests.fakes.workloads import Fate
from tests.flow.world import TEAM, World, ready_world, serving_world

NO_PATH: dict[str, Any] = {"port": 8080, "custom": {"readyPath": "/v2/health/ready"}}
OWN_BODY: dict[str, Any] = {"port": 8080, "custom": {"readyPath": "/p", "predictPath": "/score", "predictBody": "{}"}}


# --- nobody gets past the audit by leaving it nothing to ask ----------------------------------------------------------------


async def test_a_custom_server_that_could_not_be_asked_anything_is_refused_before_a_pod_starts() -> None:
    world = await ready_world(server=NO_PATH)
    await world.settle()
    assert world.condition("Ready") == ("False", "NothingToAsk")
    assert "set server.custom.predictPath" in world.message("Ready")
    assert world.deployments() == {}
    assert world.auditor.audits == []
    world.change(server=OWN_BODY)
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")
    [record] = [record for record in world.records() if record["outcome"] == "Promoted"]
    assert (
        record["gates"][-1]["message"]
        == "2 pods are ready and answered 6 predictions, asked with the manifest's own predictBody"
    )


async def test_what_serves_goes_on_while_such_a_candidate_is_refused() -> None:
    world = await serving_world()
    before = world.active
    world.change(server=NO_PATH)
    await world.settle()
    assert world.condition("Ready") == ("False", "NothingToAsk")
    assert (world.active, world.served, world.deployments()) == (before, before, {before: 2})


async def test_a_model_without_an_example_is_promoted_unasked_only_where_the_policy_says_so() -> None:
    world = await ready_world(deploy=False, policy={"readiness": {"inputExample": "Required"}})
    bare = build.lineage(input_example=None)
    world.registry.put(bare)
    await world.image("bare", of=bare, flask="3.0.0")
    world.policy(readiness={"inputExample": "Required"}, gates=[{"name": "lineage", "mode": "Audit"}])
    world.deploy(image=f"{build.REPOSITORY}:bare")
    await world.settle()
    assert world.condition("Ready") == ("False", "InputExampleMissing")
    assert world.deployments() == {}
    world.policy(readiness={"inputExample": "IfPresent"}, gates=[{"name": "lineage", "mode": "Audit"}])
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")
    assert {audit.requests for audit in world.auditor.audits} == {0}
    assert "asked for no prediction" in world.message("ReadinessProven")


async def test_a_policy_that_takes_a_kind_of_server_away_says_so_of_what_serves_and_refuses_what_comes() -> None:
    world = await serving_world(server=OWN_BODY)
    before = world.active
    world.policy(readiness={"servers": ["MLflow", "OpenInferenceV2"]})
    await world.settle()
    assert world.active == before
    assert world.condition("ReadinessProven") == ("False", "ServerNotAllowed")
    assert world.events()["ActiveDegraded"] == 1
    assert world.metric("lockstep_active_degraded", namespace=TEAM, name="iris", reason="ServerNotAllowed") == 1
    world.change(server=OWN_BODY | {"port": 8081})
    await world.settle()
    assert world.condition("Ready") == ("False", "ServerNotAllowed")


# --- the audit runs beside the reconciliations --------------------------------------------------------------------------------


async def starting_world(**policy: Any) -> World:
    """Return a world whose candidate's pods run and are not ready."""
    world = await ready_world(**policy)
    world.workloads.fates[f"{build.REPOSITORY}@{await world.image()}"] = Fate.STARTING
    return world


async def test_a_slow_audit_holds_no_reconciliation_and_its_progress_is_said() -> None:
    world = await ready_world()
    world.auditor.held = asyncio.Event()
    await world.reconciliations(6)
    assert world.condition("ReadinessProven") == ("Unknown", "Auditing")
    assert world.message("ReadinessProven") == "0 of 2 pods are audited"
    assert await world.reconciliations(5) == [], "waiting writes nothing"
    assert len(world.auditor.audited) == 2, "each pod is audited once, however many reconciliations there are"
    world.woken.clear()
    world.auditor.held.set()
    async with asyncio.timeout(10):
        await world.woken.wait()
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")


async def test_an_audit_that_fails_by_a_fault_of_ours_is_tried_again_and_proves_nothing() -> None:
    class Broken(FakeAuditor):
        async def audit(self, audit: Audit) -> AuditFact:
            raise RuntimeError("a defect")

    world = await ready_world()
    good, world.auditor = world.auditor, Broken()
    world.start()
    await world.reconciliations(10)
    assert world.condition("Ready") == ("False", "ProbeFailed")
    assert "the operator's log has the cause" in world.message("Ready")
    world.auditor = good
    world.start()
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")


async def test_the_audit_has_what_is_left_of_the_deadline() -> None:
    world = await starting_world(policy={"readiness": {"deadlineSeconds": 120}})
    await world.reconciliations(6, apart=5)
    world.workloads.fates.clear()
    await world.settle()
    assert all(85 <= audit.within_seconds <= 100 for audit in world.auditor.audits if audit.ready)


async def test_an_audit_that_begins_late_since_the_operator_was_away_still_has_a_minute() -> None:
    world = await ready_world(policy={"readiness": {"deadlineSeconds": 120}})
    world.auditor.held = asyncio.Event()
    await world.reconciliations(6)
    world.clock.advance(300)
    world.auditor.held = None
    world.auditor.audits.clear()
    world.start()
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")
    assert {audit.within_seconds for audit in world.auditor.audits if audit.ready} == {60}


async def test_many_pods_are_asked_a_few_at_a_time() -> None:
    world = await ready_world(replicas=40)
    world.auditor.held = asyncio.Event()
    await world.reconciliations(6)
    assert len(world.auditor.audited) == 16
    world.auditor.held.set()
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")
    assert len(set(world.auditor.audited)) == 40
    assert world.auditor.audited != sorted(world.auditor.audited), "in random order"


async def test_clients_names_for_the_service_are_what_pods_are_asked_by() -> None:
    world = await serving_world(service={"port": 8000})
    names = {"iris:8000", "iris.team:8000", "iris.team.svc:8000"}
    assert {frozenset(audit.hosts) for audit in world.auditor.audits} == {frozenset(names)}


async def test_pods_that_do_not_become_ready_are_asked_why() -> None:
    world = await starting_world(policy={"readiness": {"deadlineSeconds": 60}})
    await world.reconciliations(6)
    assert "GET /ping was answered with 503" in world.message("Ready")
    assert await world.reconciliations(5) == [], "said once"
    await world.reconciliations(10)
    assert world.condition("Ready") == ("False", "PodNotReady")
    assert "GET /ping was answered with 503" in world.message("Ready")
    assert "compare spec.server" in world.message("Ready")


# --- after the switch -------------------------------------------------------------------------------------------------------


async def minutes(world: World, count: float = 2.5) -> None:
    await world.reconciliations(int(count * 12), apart=5)


async def test_the_service_is_asked_after_the_switch_at_its_own_address_and_nothing_is_written_while_all_is_well() -> None:
    world = await serving_world()
    mark = len(world.log)
    await minutes(world)
    assert len(world.auditor.services) == 4
    service = world.get(ports.SERVICE, TEAM, "iris")["spec"]
    assert {(audit.address, audit.port) for audit in world.auditor.services} == {(service["clusterIP"], 80)}
    assert world.since(mark) == []
    assert await world.reconcile() is None, "then nothing is due any more"


async def test_a_service_that_fails_after_the_switch_is_said_at_once_and_goes_on_serving() -> None:
    world = await serving_world()
    before = world.active
    world.auditor.service_failure = "POST /invocations was answered with 500"
    await minutes(world, 0.5)
    assert world.condition("ReadinessProven") == ("False", "ServiceFailed")
    assert world.condition("Ready") == ("False", "ServiceFailed")
    assert "the Service iris does not answer as the audited pods did: POST /invocations" in world.message("Ready")
    assert world.condition("Available")[0] == "True"
    assert world.metric("lockstep_active_degraded", namespace=TEAM, name="iris", reason="ServiceFailed") == 1
    assert (world.active, world.served) == (before, before), "nothing is rolled back"
    mark = len(world.log)
    await minutes(world, 5)
    assert world.since(mark) == []
    assert world.events()["ActiveDegraded"] == 1


async def test_a_service_that_answers_again_is_believed_again_after_as_many_answers_as_before_the_switch() -> None:
    world = await serving_world()
    world.auditor.service_failure = "POST /invocations was answered with 500"
    await minutes(world)
    world.auditor.service_failure = None
    await minutes(world)
    assert world.condition("ReadinessProven") == ("True", "Passed")
    assert world.condition("Ready") == ("True", "Promoted")
    assert world.auditor.services[-1].requests == 3, "one was enough before"
    assert world.metric("lockstep_active_degraded", namespace=TEAM, name="iris", reason="ServiceFailed") == 0
    assert await world.reconcile() is None


async def test_a_restart_forgets_nothing_of_it() -> None:
    world = await serving_world()
    world.start()
    world.auditor.audits.clear()
    await minutes(world)
    assert len(world.auditor.services) == 4
    world.start()
    asked, mark = len(world.auditor.services), len(world.log)
    await world.reconciliations(5, apart=5)
    assert world.since(mark) == []
    assert len(world.auditor.services) == asked, "its time is over"
    other = await serving_world()
    other.auditor.service_failure = "POST /invocations was answered with 500"
    await minutes(other, 0.5)
    other.clock.advance(3600)
    other.start()
    mark = len(other.log)
    await minutes(other)
    assert other.since(mark) == []
    assert other.condition("Ready") == ("False", "ServiceFailed")
    other.auditor.service_failure = None
    await minutes(other)
    assert other.condition("Ready") == ("True", "Promoted")


async def test_another_candidate_does_not_keep_the_service_from_being_asked() -> None:
    world = await serving_world()
    world.auditor.service_failure = "POST /invocations was answered with 500"
    world.change(server=NO_PATH)
    await minutes(world)
    assert world.condition("Ready") == ("False", "NothingToAsk")
    assert world.events()["ActiveDegraded"] == 1
    assert world.metric("lockstep_active_degraded", namespace=TEAM, name="iris", reason="ServiceFailed") == 1


async def test_a_service_that_does_not_answer_is_asked_again_before_that_is_said() -> None:
    world = await serving_world()
    world.auditor.service_unreachable = True
    await world.reconciliations(3, apart=5)
    assert world.condition("Ready") == ("True", "Promoted"), "kube-proxy takes a moment"
    await minutes(world)
    assert world.condition("Ready") == ("False", "ServiceFailed")
    assert world.events()["ActiveDegraded"] == 1


async def test_without_ready_pods_or_without_mlflow_the_service_is_not_asked() -> None:
    world = await serving_world(replicas=0)
    await minutes(world)
    assert world.auditor.services == []
    other = await serving_world()
    other.registry.down = True
    other.clock.advance(31)
    mark = len(other.log)
    await minutes(other, 1)
    assert other.since(mark) == [], "what serves needs no MLflow"


@pytest.mark.parametrize("number", [0, 7])
async def test_the_policy_says_how_often(number: int) -> None:
    world = await serving_world(policy={"readiness": {"requestsAfterSwitch": number}})
    await minutes(world)
    assert len(world.auditor.services) == number


async def test_what_was_found_out_stands_while_there_is_no_policy_and_when_the_policy_asks_no_more() -> None:
    world = await serving_world()
    world.auditor.service_failure = "POST /invocations was answered with 500"
    await minutes(world, 0.5)
    world.cluster.remove(ports.PROMOTION_POLICY, None, "standard")
    for _ in range(2):
        await minutes(world, 0.5)
        assert world.condition("Ready") == ("False", "ServiceFailed")
        world.start()
    world.policy(readiness={"requestsAfterSwitch": 0})
    await minutes(world)
    assert world.condition("Ready") == ("False", "ServiceFailed")
    world.auditor.service_failure = None
    await minutes(world)
    assert world.condition("Ready") == ("True", "Promoted")


async def test_each_promotion_is_asked_about() -> None:
    world = await serving_world()
    await minutes(world)
    await world.image("next", flask="3.0.0")
    world.change(image=f"{build.REPOSITORY}:next")
    await world.settle()
    await minutes(world)
    assert len(world.auditor.services) == 8
