"""A gate is one file and one row: one that only this test has is found everywhere, without another line changed."""

from argparse import Namespace
from enum import StrEnum
from pathlib import Path

import pytest

from lockstep.api.modeldeployment import GateMode, GateOutcome
from lockstep.api.reasons import Reason
from lockstep.cli.commands import check
from lockstep.cli.commands.explain import explanation
from lockstep.cli.exit import Exit
from lockstep.crds.resources import gate_rules
from lockstep.gates.chain import evaluate
from lockstep.gates.evidence import Evidence, require
from lockstep.gates.gate import Gate, Result, Stage
from lockstep.gates.table import GATES
from lockstep.rollout.status.policystatus import next_policy_status
from tests.fakes import builders as build
from tests.fakes import manifests as written
from tests.fakes.mlflow_server import free_port
from tests.flow.world import World, ready_world


class Own(StrEnum):
    CONFIGURATION_HELD = "ConfigurationHeld"


def judge(evidence: Evidence) -> Result:
    """Wants an even number of replicas, which no other gate minds, under a policy that is known."""
    if require(evidence.policy).name and evidence.spec.replicas % 2:
        message = f"{evidence.spec.replicas} replicas are odd"
        return Result(
            "configuration", GateOutcome.REJECTED, Reason.SPEC_INVALID, message, next_step="Next step: make them even"
        )
    return Result("configuration", GateOutcome.PASSED, Reason.PASSED, "the replicas are even")


MINE = Gate("configuration", Own.CONFIGURATION_HELD, judge)
WITH_MINE = (*GATES[:3], MINE, GATES[3])


async def reconciled(replicas: int) -> World:
    world = await ready_world(gates=WITH_MINE, replicas=replicas)
    await world.settle()
    return world


async def test_it_refuses_and_is_found_in_status_conditions_metrics_record_and_event() -> None:
    world = await reconciled(replicas=3)
    assert world.active is None
    assert world.owner.status.candidate is not None
    shown = {gate.name: gate for gate in world.owner.status.candidate.gates}
    assert list(shown) == ["lineage", "image", "environment", "configuration", "readiness"]
    assert (shown["configuration"].outcome, shown["configuration"].reason) == (GateOutcome.REJECTED, "SpecInvalid")
    assert world.condition("ConfigurationHeld") == ("False", "SpecInvalid")
    assert world.condition("Ready") == ("False", "SpecInvalid")
    assert world.metric("lockstep_gate_results_total", gate="configuration", outcome="Rejected", reason="SpecInvalid") == 1
    (record,) = world.records()
    assert [gate["name"] for gate in record["gates"]] == list(shown)
    assert (record["outcome"], record["gates"][3]["outcome"]) == ("Refused", "Rejected")
    assert world.notes("PromotionBlocked") == ["configuration gate: 3 replicas are odd. Next step: make them even"]
    assert any("✗ configuration: SpecInvalid: 3 replicas are odd" in line for line in explanation(world.owner))


async def test_it_passes_and_is_part_of_what_is_promoted() -> None:
    world = await reconciled(replicas=2)
    assert world.active is not None
    assert world.condition("ConfigurationHeld") == ("True", "Passed")
    (record,) = world.records()
    assert "configuration" in [gate["name"] for gate in record["gates"]]


async def test_a_policy_lets_it_report_only_or_switches_it_off() -> None:
    for mode, truth in (("Audit", ("False", "SpecInvalid")), ("Off", None)):
        world = await ready_world(gates=WITH_MINE, replicas=3, policy={"gates": [{"name": "configuration", "mode": mode}]})
        await world.settle()
        assert world.active is not None
        types = {condition.type for condition in world.owner.status.conditions}
        assert ("ConfigurationHeld" in types) == (truth is not None)
        assert truth is None or world.condition("ConfigurationHeld") == truth


def test_a_fact_that_it_needs_and_that_is_not_known_is_answered_for_it() -> None:
    verdict = evaluate(build.evidence(policy=build.unknown(Reason.POLICY_MISSING, retry=False)), WITH_MINE)
    result = next(one for one in verdict.results if one.gate == "configuration")
    assert (result.outcome, result.reason) == (GateOutcome.REJECTED, Reason.POLICY_MISSING)


def test_the_rule_of_the_crd_and_the_status_of_a_policy_know_it() -> None:
    names, readiness = gate_rules(WITH_MINE)
    assert "'configuration'" in names["rule"]
    assert names["message"] == "gates are named lineage, image, environment, configuration and readiness"
    assert "readiness can't be switched off" in readiness["message"]
    raw = {
        "metadata": {"name": "p", "generation": 1},
        "spec": {"registry": {"trackingURI": "http://mlflow"}, "gates": [{"name": "configuration", "mode": "Audit"}]},
    }
    accepted = {gates: next_policy_status(raw, (), build.NOW, gates).conditions[0].status for gates in (GATES, WITH_MINE)}
    assert accepted == {GATES: "False", WITH_MINE: "True"}


def test_a_gate_that_needs_pods_does_not_keep_them_from_starting() -> None:
    later = Gate("configuration", Own.CONFIGURATION_HELD, judge, stage=Stage.WITH_PODS)
    odd = build.evidence(spec=build.spec(replicas=3))
    assert evaluate(odd, (*GATES, later)).permits_pods
    assert not evaluate(odd, (*GATES, later)).permits_traffic
    assert not evaluate(odd, WITH_MINE).permits_pods


def test_a_gate_that_is_always_enforced_is_not_switched_off() -> None:
    strict = Gate("configuration", Own.CONFIGURATION_HELD, judge, always_enforced=True)
    lax = build.evidence(spec=build.spec(replicas=3), policy=build.policy(gates={"configuration": GateMode.OFF}))
    assert not evaluate(lax, (*GATES, strict)).permits_traffic
    assert "configuration can't be switched off" in [rule["message"] for rule in gate_rules((*GATES, strict))]


async def test_the_command_line_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "iris.yaml").write_text(written.deployment(replicas=3))
    uri = f"http://127.0.0.1:{free_port()}"
    (tmp_path / "policy.yaml").write_text(written.policy(registry={"trackingURI": uri}, images={"repositories": ["none/*"]}))
    arguments = Namespace(
        filename=[str(tmp_path / "iris.yaml")],
        recursive=False,
        policy=str(tmp_path / "policy.yaml"),
        tracking_uri=None,
        output="table",
        platform="linux/amd64",
        insecure_registry=[],
    )
    assert await check.run(arguments, WITH_MINE) is Exit.DIFFERENT
    rows = [line.split()[:3] for line in capsys.readouterr().out.splitlines()]
    assert ["configuration", "Rejected", "SpecInvalid"] in rows
