"""What was seen in the candidate's pods: when it counts, what is missing of it, and what it says of the image."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from lockstep.api.environmentspec import ObservedRule
from lockstep.api.modeldeployment import GateMode, GateOutcome
from lockstep.api.promotionpolicy import PromotionPolicySpec
from lockstep.api.reasons import Reason
from lockstep.environment.observation import Observation, ObservedEnvironment
from lockstep.gates.evidence import CandidatePods, Evidence, Fact, Undetermined, Unknown
from lockstep.gates.gate import Result, result_of_unknown
from lockstep.gates.rules.candidates import ENVIRONMENT
from lockstep.images.scan.result import ImageScan

_SHOWN = 3
_FOREIGN = "Next step (image): install everything when the image is built, and start nothing that installs or replaces files"


@dataclass(frozen=True)
class Seen:
    """One environment that was seen, as the scan of an image that starts it would say it."""

    pod: str
    environment: ObservedEnvironment
    scan: ImageScan

    def __str__(self) -> str:
        return f"pod {self.pod}, {self.environment}"


def is_wanted(scan: Fact[ImageScan], policy: PromotionPolicySpec) -> bool:
    """Return whether the policy wants the processes of such an image to be looked at, or lets its pods start for it."""
    rule = policy.environment.observed
    if policy.mode(ENVIRONMENT) is not GateMode.ENFORCE or rule is ObservedRule.NEVER:
        return False
    return isinstance(scan, Undetermined) or (rule is ObservedRule.REQUIRED and not isinstance(scan, Unknown))


def seen(evidence: Evidence) -> tuple[Seen, ...]:
    """Return what was seen where that is complete: in every pod, with nothing that could not be determined."""
    pods, scan = evidence.pods, evidence.scan
    if pods is None or _find_missing(pods) or (isinstance(scan, Unknown) and not isinstance(scan, Undetermined)):
        return ()
    return tuple(_seen(pods, scan))


def _seen(pods: CandidatePods, scan: ImageScan | Undetermined) -> Iterator[Seen]:
    analyser = scan.analyser if isinstance(scan, ImageScan) else ""
    for name in _ready(pods):
        observation = pods.observed[name]
        for one in observation.environments if isinstance(observation, Observation) else ():
            if one.document is not None:
                yield Seen(name, one, ImageScan(scan.digest, analyser, one.document, scan.models))


def judge(gate: str, pods: CandidatePods | None, why: str) -> Result | None:
    """Return what is missing of what was seen, or wrong with it whatever was trained; None where it can be compared.

    Args:
        gate: whose result it is.
        pods: the candidate's pods.
        why: why the processes are looked at, as the beginning of a sentence.
    """
    if pods is None or not _ready(pods):
        message = f"{why}: the pods start without traffic, and the processes that answer are looked at"
        return Result(gate, GateOutcome.PENDING, Reason.TO_BE_OBSERVED, message, awaits_pods=True)
    for name in _ready(pods):
        fact = pods.observed.get(name)
        if isinstance(fact, Unknown):
            result = result_of_unknown(gate, fact)
            return replace(result, message=f"pod {name}: {result.message}", awaits_pods=fact.retry)
    if _find_missing(pods):
        looked = sum(1 for name in _ready(pods) if isinstance(pods.observed.get(name), Observation))
        message = f"{why}: {looked} of {max(pods.wanted, len(_ready(pods)))} pods are looked at"
        return Result(gate, GateOutcome.PENDING, Reason.TO_BE_OBSERVED, message, awaits_pods=True)
    return next((wrong for name in _ready(pods) if (wrong := _judge_pod(gate, name, pods.observed[name]))), None)


def _judge_pod(gate: str, pod: str, observation: Fact[Observation]) -> Result | None:
    assert isinstance(observation, Observation)
    if observation.findings:
        more = f"; and {len(observation.findings) - _SHOWN} more" if len(observation.findings) > _SHOWN else ""
        message = f"pod {pod}: {'; '.join(observation.findings[:_SHOWN])}{more}"
        return Result(gate, GateOutcome.REJECTED, Reason.CODE_NOT_OF_IMAGE, message, next_step=_FOREIGN)
    fault = next((one.fault for one in observation.environments if one.document is None), None)
    if fault is not None or not observation.environments:
        return Result(gate, GateOutcome.REJECTED, Reason.INTERPRETER_AMBIGUOUS, f"pod {pod}: {fault or 'nothing answers'}")
    return None


def _ready(pods: CandidatePods) -> list[str]:
    return [pod.name for pod in pods.pods if pod.ready and not pod.tampered]


def _find_missing(pods: CandidatePods) -> list[str]:
    """Return the pods that are ready, or are to be, and of which nothing is known."""
    ready = _ready(pods)
    absent = ["one more"] if len(ready) < pods.wanted else []
    return [name for name in ready if not isinstance(pods.observed.get(name), Observation)] + absent
