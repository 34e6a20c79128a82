"""The chain: what a verdict permits, whatever the modes and whatever is unknown."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.api.modeldeployment import GateMode, GateOutcome
from lockstep.api.promotionpolicy import GateRule
from lockstep.api.reasons import Reason
from lockstep.gates import chain
from lockstep.gates.evidence import Evidence, Unknown
from lockstep.gates.gate import Result
from lockstep.gates.verdict import Verdict
from tests.fakes import builders as build

GATES = ("lineage", "image", "environment", "readiness")
MODES = st.dictionaries(st.sampled_from(GATES), st.sampled_from(["Enforce", "Audit", "Off"]))
UNKNOWNS = st.builds(Unknown, st.sampled_from(list(Reason)), st.just("not told"), st.booleans())


def governed(modes: dict[str, str], **changes: Any) -> Evidence:
    return build.evidence(policy=build.policy(gates=modes), **changes)


def by_name(verdict: Verdict) -> dict[str, Result]:
    return {result.gate: result for result in verdict.results}


def test_evidence_without_a_fault_permits_traffic_under_the_policys_hash() -> None:
    verdict = chain.evaluate(build.evidence())
    assert verdict.permits_traffic
    assert verdict.blocking is None
    assert [result.gate for result in verdict.results] == list(GATES)
    assert verdict.policy_hash == build.policy().spec.hash
    assert verdict.environment_digest is not None


def test_an_empty_chain_permits_nothing() -> None:
    empty = Verdict(results=(), policy_hash="", decided_at=build.NOW)
    assert not empty.permits_traffic
    assert not empty.permits_pods


@given(fact=st.sampled_from(["policy", "lineage", "image", "scan"]), why=UNKNOWNS)
def test_an_unknown_fact_never_permits_traffic(fact: str, why: Unknown) -> None:
    evidence = build.evidence(**{fact: why})
    verdict = chain.evaluate(evidence)
    assert not verdict.permits_traffic
    assert not verdict.permits_pods


@given(fact=st.sampled_from(["lineage", "image"]), why=UNKNOWNS, modes=MODES)
def test_no_mode_lets_an_unpinned_model_or_image_pass(fact: str, why: Unknown, modes: dict[str, str]) -> None:
    verdict = chain.evaluate(governed(modes, **{fact: why}))
    assert not verdict.permits_traffic
    assert not verdict.permits_pods


@given(modes=MODES)
def test_no_mode_lets_a_version_without_a_run_pass(modes: dict[str, str]) -> None:
    assert not chain.evaluate(governed(modes, lineage=build.lineage(run=None))).permits_traffic


@given(why=UNKNOWNS, modes=MODES)
def test_layers_that_can_not_be_told_pass_only_where_no_gate_that_needs_them_is_enforced(
    why: Unknown, modes: dict[str, str]
) -> None:
    verdict = chain.evaluate(governed(modes, scan=why))
    enforced = any(modes.get(gate, "Enforce") == "Enforce" for gate in ("image", "environment"))
    assert verdict.permits_traffic == (not enforced)


NOT_READY = st.sampled_from(
    [
        None,
        build.candidate(pods=()),
        build.candidate(audits=()),
        build.candidate(refused="exceeded quota: pods"),
        build.candidate(pods=(build.pod("iris-1"), build.pod("iris-2", tampered="changed"))),
        build.candidate(audits=(build.audit("iris-1"), build.audit("iris-2", passed=False, failure="500"))),
    ]
)


@given(modes=MODES, pods=NOT_READY)
def test_no_mode_lets_pods_that_are_not_ready_pass(modes: dict[str, str], pods: Any) -> None:
    verdict = chain.evaluate(governed(modes, pods=pods))
    assert not verdict.permits_traffic
    assert by_name(verdict)["readiness"].mode is GateMode.ENFORCE


@given(modes=MODES)
def test_readiness_is_always_part_of_the_verdict(modes: dict[str, str]) -> None:
    assert "readiness" in by_name(chain.evaluate(governed(modes)))


@given(modes=MODES)
def test_off_removes_a_gate_and_audit_and_enforce_keep_it(modes: dict[str, str]) -> None:
    verdict = chain.evaluate(governed(modes))
    on = {gate for gate in GATES if gate == "readiness" or modes.get(gate) != "Off"}
    assert set(by_name(verdict)) == on
    assert verdict.permits_traffic


BAD: dict[str, dict[str, Any]] = {
    "lineage": {"lineage": build.lineage(environment_digest=build.OTHER_DIGEST)},
    "image": {"scan": build.scan(models=(replace(build.scan().models[0], model_id="m-other"),))},
    "environment": {"scan": build.scan(document=build.document(build.TRAINED | {"numpy": "2.0.0"}))},
}


@pytest.mark.parametrize("gate", sorted(BAD))
def test_a_finding_blocks_in_enforce_is_shown_in_audit_and_is_gone_in_off(gate: str) -> None:
    enforced = chain.evaluate(build.evidence(**BAD[gate]))
    assert enforced.blocking is not None
    assert enforced.blocking.gate == gate
    audited = chain.evaluate(governed({gate: "Audit"}, **BAD[gate]))
    assert audited.permits_traffic
    assert by_name(audited)[gate].outcome is GateOutcome.REJECTED
    assert by_name(audited)[gate].mode is GateMode.AUDIT
    assert gate not in by_name(chain.evaluate(governed({gate: "Off"}, **BAD[gate])))


def test_a_gate_behind_a_refusal_waits_and_the_cause_is_named_first() -> None:
    verdict = chain.evaluate(build.evidence(**BAD["environment"]))
    readiness = by_name(verdict)["readiness"]
    assert (readiness.outcome, readiness.reason) == (GateOutcome.PENDING, Reason.WAITING)
    assert verdict.blocking is not None
    assert verdict.blocking.reason is Reason.ENVIRONMENT_MISMATCH


def test_pods_may_start_before_readiness_has_passed_and_not_before_the_others_have() -> None:
    assert chain.evaluate(build.evidence(pods=None)).permits_pods
    assert not chain.evaluate(build.evidence(**BAD["lineage"])).permits_pods
    assert chain.evaluate(governed({"lineage": "Audit"}, **BAD["lineage"])).permits_pods


def with_gate(name: str, mode: str) -> Evidence:
    policy = build.policy()
    spec = policy.spec.model_copy(update={"gates": [GateRule(name=name, mode=GateMode(mode))]})
    return build.evidence(policy=policy.model_copy(update={"spec": spec}))


@pytest.mark.parametrize(("mode", "permits"), [("Enforce", False), ("Audit", True), ("Off", True)])
def test_a_gate_that_this_version_does_not_have_blocks_where_it_is_enforced(mode: str, permits: bool) -> None:
    verdict = chain.evaluate(with_gate("parity", mode))
    assert verdict.permits_traffic == permits
    assert verdict.permits_pods == permits
    if mode != "Off":
        result = by_name(verdict)["parity"]
        assert (result.outcome, result.reason) == (GateOutcome.REJECTED, Reason.GATE_UNKNOWN)


def test_without_a_policy_every_gate_blocks_and_the_policy_is_named_first() -> None:
    verdict = chain.evaluate(build.evidence(policy=build.unknown(Reason.POLICY_MISSING, retry=False)))
    assert verdict.blocking is not None
    assert verdict.blocking.reason is Reason.POLICY_MISSING
    assert not any(result.permits for result in verdict.results)
    assert verdict.policy_hash == ""


@given(
    modes=MODES,
    changes=st.fixed_dictionaries(
        {},
        optional={
            "lineage": st.sampled_from([build.unknown(), build.lineage(run=None), build.lineage(environment_document=None)]),
            "image": st.just(build.unknown()),
            "scan": st.sampled_from([build.unknown(), build.scan(models=()), build.scan(document=build.document({}))]),
            "pins": st.sampled_from([None, build.pins(run_id="other")]),
            "pods": NOT_READY,
        },
    ),
)
def test_a_verdict_permits_exactly_when_nothing_blocks_and_is_the_same_for_the_same_evidence(
    modes: dict[str, str], changes: dict[str, Any]
) -> None:
    evidence = governed(modes, **changes)
    verdict = chain.evaluate(evidence)
    assert verdict == chain.evaluate(evidence)
    assert verdict.permits_traffic == (verdict.blocking is None)
    assert not verdict.permits_traffic or verdict.permits_pods
    names = [result.gate for result in verdict.results]
    assert len(names) == len(set(names))
