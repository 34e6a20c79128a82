"""What a policy says of pods: which variables they may have, and whether they may write; and what it takes back from nobody."""

from typing import Any

import pytest

from lockstep.controller.cluster import ports
from lockstep.controller.cluster.policystatus import PolicyStatuses
from tests.fakes import builders as build
from tests.fakes.workloads import Fate
from tests.flow.world import TEAM, World, ready_world, serving_world


def env(**variables: str) -> dict[str, Any]:
    return {"env": [{"name": name, "value": value} for name, value in variables.items()]}


def variables(**rules: list[str]) -> dict[str, Any]:
    return {"pods": {"variables": rules}}


async def refused(world: World, reason: str) -> str:
    await world.settle()
    assert world.condition("Ready") == ("False", reason)
    assert world.condition("EnvironmentMatched") == ("False", reason)
    return world.message("Ready")


# --- variables ----------------------------------------------------------------------------------------------------------


async def test_an_unmodified_image_whose_shells_would_run_an_editors_command_gets_no_pod() -> None:
    """The schema refuses these names; an object from before it did is refused by the gate, whatever the policy lists."""
    world = await ready_world(
        policy=variables(allowed=["*"], dangerous=["SHELLOPTS", "PS4"]), template=env(SHELLOPTS="xtrace", PS4="$(id)+")
    )
    message = await refused(world, "VariableNotAllowed")
    assert "SHELLOPTS changes which code the server loads" in message
    assert "$(id)" not in message
    assert world.deployments() == {}
    assert world.events()["PromotionBlocked"] == 1


async def test_a_stranger_is_refused_until_the_policy_lists_it_and_the_gate_names_list_and_team() -> None:
    world = await ready_world(template=env(DATABASE_URL="postgres://u:s3cret@db"))
    message = await refused(world, "VariableNotAllowed")
    assert "or (platform team): name DATABASE_URL in pods.variables.allowed" in message
    assert "s3cret" not in str([world.owner.status, world.notes("PromotionBlocked")])
    world.policy(**variables(allowed=["DATABASE_*"]))
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")


async def test_a_wildcard_allows_no_variable_that_chooses_the_model_and_an_exact_name_does() -> None:
    world = await ready_world(policy=variables(allowed=["*"]), template=env(MLSERVER_MODEL_URI="/opt/model2"))
    assert "pods.variables.dangerous" in await refused(world, "VariableNotAllowed")
    world.policy(**variables(dangerous=["MLSERVER_MODEL_URI"]))
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")


async def test_the_directory_of_the_model_that_the_image_sets_selects_no_other_one() -> None:
    world = await ready_world(deploy=False)
    await world.image("two", env={"MODEL_DIR": "/opt/model", "QUEUE_SIZE": "10"})
    world.deploy(image=f"{build.REPOSITORY}:two", template=env(MODEL_DIR="/opt/model2"))
    assert "MODEL_DIR may choose another model" in await refused(world, "VariableNotAllowed")
    world.change(template=env(QUEUE_SIZE="20"))
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")


async def test_an_image_that_sets_what_the_scan_does_not_follow_is_refused_with_its_own_knob() -> None:
    world = await ready_world(deploy=False)
    await world.image("evil", env={"SHELLOPTS": "xtrace", "PS4": "$(/opt/e)", "UVICORN_LOG_CONFIG": "/opt/e"})
    world.deploy(image=f"{build.REPOSITORY}:evil")
    message = await refused(world, "ImageVariableNotAllowed")
    assert "UVICORN_LOG_CONFIG chooses code or settings that the server loads" in message
    assert "name SHELLOPTS, PS4, UVICORN_LOG_CONFIG in pods.variables.inImages" in message
    world.policy(**variables(inImages=["SHELLOPTS", "PS4", "UVICORN_LOG_CONFIG"]))
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")


async def test_what_serves_with_a_variable_that_is_no_longer_allowed_goes_on_and_is_reported_once() -> None:
    world = await serving_world(policy=variables(allowed=["DATABASE_URL"]), template=env(DATABASE_URL="postgres://db"))
    before = world.active
    pods = {pod["metadata"]["uid"] for pod in world.pods(before)}
    world.policy()
    await world.settle()
    assert (world.active, world.served) == (before, before)
    assert {pod["metadata"]["uid"] for pod in world.pods(before)} == pods
    assert world.condition("Ready") == ("True", "Promoted")
    assert world.condition("EnvironmentMatched") == ("False", "VariableNotAllowed")
    assert world.events()["ActiveDegraded"] == 1
    assert await world.reconciliations(5, apart=60) == []


async def test_a_policy_that_only_reports_lets_a_stranger_through_and_says_so() -> None:
    gates = [{"name": "environment", "mode": "Audit"}]
    world = await ready_world(policy={"gates": gates}, template=env(DATABASE_URL="x"))
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")
    assert world.condition("EnvironmentMatched") == ("False", "VariableNotAllowed")


# --- the root file system -------------------------------------------------------------------------------------------------


def security(world: World, revision: str | None) -> dict[str, Any]:
    found: dict[str, Any] = world.deployment(revision)["spec"]["template"]["spec"]["containers"][0]["securityContext"]
    return found


async def test_pods_are_read_only_unless_the_policy_says_otherwise() -> None:
    world = await serving_world()
    assert security(world, world.active)["readOnlyRootFilesystem"] is True
    other = await serving_world(policy={"pods": {"rootFilesystem": "Writable"}})
    assert "readOnlyRootFilesystem" not in security(other, other.active)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"rootFilesystem": "Writable"}, {}),
        ({}, {"rootFilesystem": "Writable"}),
        ({}, {"tmpSizeLimit": "500Mi"}),
    ],
    ids=["read-only", "writable", "smaller"],
)
async def test_a_changed_setting_touches_nothing_that_serves_and_holds_for_the_next_revision(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    world = await serving_world(policy={"pods": before})
    first, with_pod_spec = world.active, world.deployment(world.active)["spec"]["template"]
    world.policy(pods=after)
    world.start()
    await world.settle()
    assert (world.active, world.deployment(first)["spec"]["template"]) == (first, with_pod_spec)
    assert world.events()["CandidateStarted"] == 1
    await world.image("next", flask="3.0.0")
    world.change(image=f"{build.REPOSITORY}:next")
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")
    assert world.active != first
    assert world.deployment(world.active)["spec"]["template"]["spec"] != with_pod_spec["spec"]


RENDERED: dict[str, dict[str, Any]] = {
    "a read-only root file system": {"pods": {"rootFilesystem": "Writable"}},
    "the drain time": {"rollout": {"preStopSleepSeconds": 5}},
    "the cache of byte code": {"environment": {"bytecodeCache": "Fresh"}},
}


@pytest.mark.parametrize("before", RENDERED.values(), ids=RENDERED)
async def test_one_goes_back_to_an_old_revision_although_the_policy_has_another_setting_by_now(before: dict[str, Any]) -> None:
    world = await serving_world(policy=before)
    first = world.active
    await world.image("next", flask="3.0.0")
    world.change(image=f"{build.REPOSITORY}:next")
    await world.settle_all()
    world.policy()
    world.change(image=f"{build.REPOSITORY}:2026-11")
    await world.settle_all()
    assert world.condition("Ready") == ("True", "Promoted")
    assert world.active != first, "its pods are others than those of then: it is made and checked anew"
    assert security(world, world.active)["readOnlyRootFilesystem"] is True
    assert world.owner.status.active is not None
    assert (world.owner.status.active.image or "").endswith(world.images.memory.tags["2026-11"])


@pytest.mark.parametrize("before", RENDERED.values(), ids=RENDERED)
async def test_a_candidate_whose_policy_changes_while_its_pods_start_is_made_anew(before: dict[str, Any]) -> None:
    world = await ready_world(policy=before)
    world.auditor.unreachable = True
    await world.reconciliations(5)
    first = world.candidate
    world.policy()
    await world.reconciliations(5)
    world.auditor.unreachable = False
    await world.settle_all()
    assert world.condition("Ready") == ("True", "Promoted")
    assert world.active != first
    assert world.deployments() == {world.active: 2}


async def test_a_server_that_writes_elsewhere_is_refused_with_the_knob_and_promoted_with_it() -> None:
    world = await ready_world()
    pinned = f"{build.REPOSITORY}@{world.images.memory.tags['2026-11']}"
    world.workloads.fates[pinned] = Fate.WRITING
    await world.settle()
    assert world.condition("Ready") == ("False", "PodCrashed")
    message = world.message("Ready")
    assert "[Errno 30] Read-only file system: '/data'" in message
    assert "let the platform team set pods.rootFilesystem: Writable" in message
    assert world.deployments() == {}
    world.policy(pods={"rootFilesystem": "Writable"})
    await world.settle()
    assert world.condition("Ready") == ("True", "Promoted")


async def test_a_pod_that_admission_makes_writable_gets_no_traffic() -> None:
    world = await ready_world()
    world.auditor.unreachable = True
    await world.reconciliations(4)
    (pod, *_) = world.pods(world.candidate)
    name = pod["metadata"]["name"]
    world.cluster.edit(
        ports.POD, TEAM, name, lambda p: p["spec"]["containers"][0]["securityContext"].pop("readOnlyRootFilesystem")
    )
    world.auditor.unreachable = False
    await world.reconcile()
    assert world.active is None
    told = str([world.notes("DriftCorrected"), world.message("Ready")])
    assert "its securityContext.readOnlyRootFilesystem is not what was asked for" in told


# --- the status of policies ---------------------------------------------------------------------------------------------------


def conditions(world: World, name: str) -> dict[str, tuple[str, str]]:
    status = world.get(ports.PROMOTION_POLICY, None, name)["status"]
    return {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]}


async def test_each_policy_says_whether_it_is_understood_and_what_it_leaves_open_and_nothing_is_written_twice() -> None:
    world = await ready_world(policy={"images": {"repositories": [f"{build.REPOSITORY}*"]}})
    world.policy("open", default=False)
    world.policy("wrong", default=False, readiness={"requests": "many"})
    statuses = PolicyStatuses(world.connection, world.clock)
    assert await statuses.refresh()
    assert conditions(world, "standard")["RepositoriesRestricted"] == ("True", "RepositoriesListed")
    assert conditions(world, "open")["RepositoriesRestricted"] == ("False", "AllRepositoriesAllowed")
    assert conditions(world, "wrong") == {"Accepted": ("False", "PolicyInvalid")}
    mark = len(world.log)
    world.clock.advance(3600)
    assert await statuses.refresh()
    assert await PolicyStatuses(world.connection, world.clock).refresh(), "nor by another process"
    assert world.since(mark) == []
    world.policy("open", default=False, images={"repositories": ["registry.example.com/*"]})
    assert await statuses.refresh()
    assert conditions(world, "open")["RepositoriesRestricted"] == ("True", "RepositoriesListed")


async def test_a_second_default_is_said_of_both_and_taken_back_when_it_goes() -> None:
    world = await ready_world()
    world.policy("other")
    statuses = PolicyStatuses(world.connection, world.clock)
    await statuses.refresh()
    assert [conditions(world, name)["Accepted"] for name in ("standard", "other")] == [("False", "PolicyInvalid")] * 2
    world.cluster.remove(ports.PROMOTION_POLICY, None, "other")
    await statuses.refresh()
    assert conditions(world, "standard")["Accepted"] == ("True", "PolicyUnderstood")


async def test_one_status_that_is_refused_keeps_no_other_from_being_written() -> None:
    world = await ready_world()
    world.policy("another", default=False)

    def refuse(verb: str, kind: ports.Kind, body: ports.Object) -> str | None:
        refused = verb == "patch_status" and body["metadata"]["name"] == "another"
        return "the operator may not write promotionpolicies/status" if refused else None

    world.cluster.admission.append(refuse)
    assert await PolicyStatuses(world.connection, world.clock).refresh(), "the next resync tries again, no loop does"
    assert conditions(world, "standard")["Accepted"][0] == "True"


async def test_a_status_of_a_policy_changes_nothing_for_whom_it_governs() -> None:
    world = await serving_world()
    await PolicyStatuses(world.connection, world.clock).refresh()
    assert await world.reconciliations(5) == []
    assert world.condition("Ready") == ("True", "Promoted")
