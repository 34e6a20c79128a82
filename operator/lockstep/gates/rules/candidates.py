"""Judges an image whose files do not say which environment it starts, by all environments that it could run."""

from dataclasses import dataclass
from typing import TypeGuard

from lockstep.api.modeldeployment import GateMode, GateOutcome
from lockstep.api.promotionpolicy import PromotionPolicySpec
from lockstep.api.reasons import Reason
from lockstep.environment.candidate import Candidate
from lockstep.environment.comparison.compare import Comparison, DifferenceKind
from lockstep.gates.evidence import Fact, Undetermined
from lockstep.gates.gate import Result
from lockstep.images.scan.result import ImageScan

ENVIRONMENT = "environment"
"""The gate that decides about them."""
_SHOWN = 3


@dataclass(frozen=True)
class Compared:
    """A candidate that could be compared with the training environment."""

    candidate: Candidate
    comparison: Comparison

    @property
    def may_match(self) -> bool:
        """Return whether nothing differs but code outside packages, of which the program that is started decides."""
        return all(one.kind is DifferenceKind.CODE for one in self.comparison.differences)


def decides(scan: Fact[ImageScan], policy: PromotionPolicySpec) -> TypeGuard[Undetermined]:
    """Return whether it is for the environment gate, which is enforced, to refuse an image that does not say what it starts."""
    return isinstance(scan, Undetermined) and policy.mode(ENVIRONMENT) is GateMode.ENFORCE


def judge_undetermined(gate: str, scan: Undetermined, compared: tuple[Compared, ...], *, to_be_observed: bool) -> Result:
    """Judge an image that could run environments of which some match, or could not be compared.

    It waits for what its pods show (`to_be_observed`), or is refused.
    """
    right = [one for one in compared if one.may_match]
    every = len(scan.candidates)
    said = f"{len(right)} of the {every} environments that it could run match"
    if not right:
        said = f"whether one of the {every} environments that it could run matches could not be determined"
    elif every == 1:
        said = "the one that its files hold matches"
    others = [one for one in compared if not one.may_match]
    named = "".join(f"; {one.candidate} does not: {_first(one.comparison)}" for one in others[:_SHOWN] if right)
    if to_be_observed:
        message = f"which environment the image starts is not to be seen from its files ({said}{named})"
        return Result(gate, GateOutcome.PENDING, Reason.TO_BE_OBSERVED, message, awaits_pods=True)
    return Result(gate, GateOutcome.REJECTED, Reason.INTERPRETER_AMBIGUOUS, f"{scan.message} ({said}{named})")


def find_nearest(compared: tuple[Compared, ...]) -> Compared:
    """Return the candidate that differs least."""
    return min(compared, key=lambda one: len(one.comparison.differences))


def describe_mismatch(scan: Undetermined, nearest: Compared) -> str:
    """Say that nothing that the image could run matches; what differs follows."""
    every = len(scan.candidates)
    which = f"none of the {every} that it could run matches; the nearest is {nearest.candidate}"
    if every == 1:
        which = f"the only one that it holds, {nearest.candidate}, does not match"
    return f"which environment the image starts could not be determined, and {which}"


def _first(comparison: Comparison) -> str:
    differences = comparison.differences
    more = f" and {len(differences) - 1} more" if len(differences) > 1 else ""
    return f"{differences[0].sentence}{more}"
