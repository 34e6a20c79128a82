"""The chain of gates in their order, and the verdict that they make together."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from lockstep.api.modeldeployment import GateMode, GateOutcome
from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.api.reasons import Reason
from lockstep.gates.evidence import Evidence, Fact, Unknown
from lockstep.gates.gate import Gate, Result, Stage
from lockstep.gates.table import GATES
from lockstep.gates.verdict import Verdict


def evaluate(evidence: Evidence, gates: Sequence[Gate] = GATES, holds: Sequence[Result] = ()) -> Verdict:
    """Run every gate on the evidence; `holds` is what besides them stands in the way.

    A gate that raises is a defect of ours and is not caught here: nothing passes.
    """
    policy = evidence.policy
    results = [gate.evaluate(evidence) for gate in gates]
    digest = next((result.environment_digest for result in results if result.environment_digest is not None), None)
    return Verdict(
        results=_mark_waiting_gates([*_apply_modes(gates, results, evidence)]),
        policy_hash=policy.spec.hash if not isinstance(policy, Unknown) else "",
        decided_at=evidence.now,
        environment_digest=digest,
        holds=tuple(holds),
    )


def _apply_modes(gates: Sequence[Gate], results: Sequence[Result], evidence: Evidence) -> Iterator[Result]:
    """Yield the results as the policy weighs them. Gates that it names and nobody knows come before the pods' own."""
    strangers = _refuse_unknown_gates(evidence.policy, gates)
    for gate, result in zip(gates, results, strict=True):
        if gate.stage is Stage.WITH_PODS:
            yield from strangers
            strangers = ()
        weighed = _apply_mode(gate, result, evidence)
        if weighed is not None:
            yield weighed
    yield from strangers


def _apply_mode(gate: Gate, result: Result, evidence: Evidence) -> Result | None:
    """Apply the policy's mode. What pins digests and lineage stays in force: without a pin nothing can be promoted."""
    policy = evidence.policy
    if isinstance(policy, Unknown) or gate.always_enforced:
        return result
    if result.outcome is not GateOutcome.PASSED and gate.unpinned(evidence):
        return result
    mode = policy.spec.mode(gate.name)
    return None if mode is GateMode.OFF else replace(result, mode=mode)


def _refuse_unknown_gates(policy: Fact[PromotionPolicy], gates: Sequence[Gate]) -> tuple[Result, ...]:
    """Refuse for the gates that a policy of a newer version names: what can't be evaluated has not passed."""
    if isinstance(policy, Unknown):
        return ()
    strangers = unknown_gates(policy, gates)
    if not strangers:
        return ()
    names = ", ".join(strangers)
    enforced = any(policy.spec.mode(name) is GateMode.ENFORCE for name in strangers)
    return (
        Result(
            strangers[0],
            GateOutcome.REJECTED,
            Reason.GATE_UNKNOWN,
            f"the policy {policy.name} names gates that this version of Lockstep does not have: {names}",
            mode=GateMode.ENFORCE if enforced else GateMode.AUDIT,
            next_step="Next step (platform team): upgrade the operator, or remove them from the policy",
        ),
    )


def unknown_gates(policy: PromotionPolicy, gates: Sequence[Gate] = GATES) -> list[str]:
    """Return the gates that a policy wants evaluated and that this version does not have."""
    names = {gate.name for gate in gates}
    return [rule.name for rule in policy.spec.gates if rule.name not in names and rule.mode is not GateMode.OFF]


def _mark_waiting_gates(results: Sequence[Result]) -> tuple[Result, ...]:
    """Say of gates behind a refusal that they wait, so that people read the cause first; findings of their own stay."""
    blocked = False
    marked: list[Result] = []
    for result in results:
        if blocked and result.outcome is GateOutcome.PASSED and result.stage is Stage.WITH_PODS:
            result = replace(result, outcome=GateOutcome.PENDING, reason=Reason.WAITING, message="an earlier gate blocks")
        blocked = blocked or not (result.permits or result.awaits_pods)
        marked.append(result)
    return tuple(marked)
