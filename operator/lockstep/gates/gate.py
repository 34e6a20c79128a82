"""What a gate is and what it answers. `lockstep.gates.table` lists the gates that there are."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from lockstep.api.modeldeployment import GateMode, GateOutcome
from lockstep.api.reasons import Reason
from lockstep.environment.comparison.compare import Difference
from lockstep.gates.evidence import Evidence, Unknown, UnknownFactError


class Stage(StrEnum):
    """When a gate can answer."""

    BEFORE_PODS = "BeforePods"
    """From facts alone: it has to permit before a pod of the candidate starts, and is asked of what is active too."""
    WITH_PODS = "WithPods"
    """By the candidate's pods."""


@dataclass(frozen=True)
class Result:
    """The answer of one gate, or one hold."""

    gate: str
    """Name of the gate or hold."""
    outcome: GateOutcome
    reason: Reason
    message: str
    mode: GateMode = GateMode.ENFORCE
    differences: tuple[Difference, ...] = ()
    """Only of the environment gate: what differs, most decisive first."""
    next_step: str | None = None
    """Who has to do what, ending with the exact command; part of what people see."""
    final: bool = False
    """True for a Rejected that only another spec, policy or a raised spec.retry can change: a fault of the candidate."""
    retry_after: float | None = None
    """Seconds until it is worth checking again, when the gate knows."""
    environment_digest: str | None = None
    """Only of the environment gate: the image's environment under the policy, where it is known."""
    stage: Stage = Stage.BEFORE_PODS
    """The gate's; set by the chain."""
    awaits_pods: bool = False
    """Only of the environment gate: True while the candidate's pods will say more, which may start without traffic."""
    stalled: bool = False
    """Only of holds: True when nothing goes on until somebody does something."""

    @property
    def permits(self) -> bool:
        """Return whether this result lets the candidate go on: Passed, or not enforced. Off never reaches a Result."""
        return self.outcome is GateOutcome.PASSED or self.mode is GateMode.AUDIT


def _never(_: Evidence) -> bool:
    return False


@dataclass(frozen=True)
class Gate:
    """One question that every candidate has to answer.

    A gate is one file with one of these, and one row of `lockstep.gates.table.GATES`. Policies, the CRD's rule, conditions,
    metrics, records and the command line read the table.
    """

    name: str
    """As policies, records and metrics name it."""
    condition: StrEnum
    """Type of its condition, a member of `ConditionType`."""
    judge: Callable[[Evidence], Result]
    """Pure. It takes the facts that it needs by `require`; for one that is not known, `evaluate` answers in its place."""
    stage: Stage = Stage.BEFORE_PODS
    always_enforced: bool = False
    """True where no policy can switch it off or let it report only."""
    unpinned: Callable[[Evidence], bool] = _never
    """Returns whether a fact is missing without which no revision can be named, so that it blocks in every mode."""

    def evaluate(self, evidence: Evidence) -> Result:
        """Answer for one candidate. A fact that is needed and not known never passes."""
        try:
            result = self.judge(evidence)
        except UnknownFactError as error:
            result = result_of_unknown(self.name, error.fact)
        return replace(result, stage=self.stage)


_ON_ITS_WAY = (Reason.SCANNING, Reason.GATHERING, Reason.MODEL_READING, Reason.TO_BE_OBSERVED, Reason.WAITING)
_NEXT_STEPS = {
    Reason.REGISTRY_ADDRESS_REFUSED: "Next step (platform team): list it in registries.private, if images may come from there",
}


def result_of_unknown(gate: str, fact: Unknown) -> Result:
    """Return what a fact that is not known means: Retry where waiting may help, Rejected where the answer was a plain no."""
    if fact.reason in _ON_ITS_WAY:
        # Nothing failed: the answer is still to come.
        return Result(gate, GateOutcome.PENDING, fact.reason, fact.message)
    outcome = GateOutcome.RETRY if fact.retry else GateOutcome.REJECTED
    step = fact.next_step or _NEXT_STEPS.get(fact.reason, "")
    return Result(gate, outcome, fact.reason, fact.message, next_step=step, retry_after=fact.retry_after)
