"""What was seen in the candidate's pods decides where the image's files do not."""

from dataclasses import replace
from typing import Any

import pytest

from lockstep.api.modeldeployment import GateOutcome
from lockstep.api.reasons import Reason
from lockstep.environment.candidate import Candidate
from lockstep.environment.document import EnvironmentDocument
from lockstep.environment.observation import Observation, ObservedEnvironment
from lockstep.gates.chain import evaluate
from lockstep.gates.evidence import CandidatePods, Fact, Undetermined, Unknown
from lockstep.gates.gate import Result
from lockstep.gates.verdict import Verdict
from tests.fakes import builders as build

RIGHT = build.document()
OLD = build.document(build.TRAINED | {"scikit-learn": "1.2.0"})
SCAN = Undetermined(
    Reason.INTERPRETER_AMBIGUOUS,
    "it starts others",
    retry=False,
    digest=build.image().digest,
    models=build.scan().models,
    candidates=(Candidate("/opt/venv/bin/python3", document=RIGHT), Candidate("/opt/old/bin/python3", document=OLD)),
)
REQUIRED = build.policy(environment={"observed": "Required"})


def seen(*documents: EnvironmentDocument | None, findings: tuple[str, ...] = ()) -> Observation:
    environments = [
        ObservedEnvironment((12 + n,), "/opt/venv/bin/python", document, "" if document else "it hides")
        for n, document in enumerate(documents)
    ]
    return Observation(tuple(environments), findings)


def verdict(*facts: Fact[Observation] | None, **changes: Any) -> Verdict:
    """Judge a candidate of which so much was seen in each of its pods."""
    pods = build.candidate()
    names = [pod.name for pod in pods.pods]
    assert len(facts) in (0, len(names))
    observed = {name: fact for name, fact in zip(names, facts, strict=False) if fact is not None}
    return evaluate(build.evidence(**({"scan": SCAN, "pods": replace(pods, observed=observed)} | changes)))


def judged(*facts: Fact[Observation] | None, **changes: Any) -> Result:
    return next(one for one in verdict(*facts, **changes).results if one.gate == "environment")


def test_the_right_environment_in_every_pod_passes_and_says_what_was_seen() -> None:
    found = verdict(seen(RIGHT), seen(RIGHT))
    assert found.permits_traffic
    result = judged(seen(RIGHT), seen(RIGHT))
    assert result.reason is Reason.PASSED
    assert "; observed: pod iris-1, pid 12, /opt/venv/bin/python; pod iris-2" in result.message
    assert found.environment_digest is not None


@pytest.mark.parametrize("wrong", [(seen(OLD), seen(RIGHT)), (seen(RIGHT), seen(OLD)), (seen(RIGHT), seen(RIGHT, OLD))])
def test_one_process_in_another_environment_refuses(wrong: tuple[Observation, Observation]) -> None:
    result = judged(*wrong)
    assert (result.outcome, result.reason) == (GateOutcome.REJECTED, Reason.ENVIRONMENT_MISMATCH)
    assert "/opt/venv/bin/python: scikit-learn: trained with 1.4.2, image has 1.2.0" in result.message
    assert [one.subject for one in result.differences] == ["scikit-learn"]


def test_findings_refuse_whatever_the_documents_say() -> None:
    result = judged(seen(RIGHT), seen(RIGHT, findings=("pid 12 runs /tmp/x.so, which is no file of the image",) * 4))
    assert (result.outcome, result.reason) == (GateOutcome.REJECTED, Reason.CODE_NOT_OF_IMAGE)
    assert result.message.endswith("; and 1 more")


def test_what_could_not_be_derived_refuses() -> None:
    result = judged(seen(RIGHT), seen(RIGHT, None))
    assert (result.outcome, result.reason) == (GateOutcome.REJECTED, Reason.INTERPRETER_AMBIGUOUS)
    assert result.message == "pod iris-2: it hides"
    assert judged(seen(RIGHT), Observation()).outcome is GateOutcome.REJECTED


@pytest.mark.parametrize("facts", [(), (seen(RIGHT), None), (None, None)])
def test_what_was_not_seen_yet_is_waited_for(facts: tuple[Observation | None, ...]) -> None:
    found = verdict(*facts)
    assert found.permits_pods
    assert not found.permits_traffic
    assert judged(*facts).reason is Reason.TO_BE_OBSERVED


def test_pods_that_are_still_to_come_are_waited_for() -> None:
    pods = build.candidate()
    observed = {pod.name: seen(RIGHT) for pod in pods.pods}
    more = replace(pods, wanted=3, observed=observed)
    assert judged(pods=more).reason is Reason.TO_BE_OBSERVED
    assert judged(pods=more).message.endswith(": 2 of 3 pods are looked at")
    none = CandidatePods(wanted=2, since=build.NOW)
    assert judged(pods=none).reason is Reason.TO_BE_OBSERVED
    assert judged(pods=None).reason is Reason.TO_BE_OBSERVED


def test_an_observer_that_failed_is_said_and_never_passes() -> None:
    why = Unknown(
        Reason.OBSERVER_UNAVAILABLE, "its image can't be pulled", retry=True, next_step="Next step (platform team): x"
    )
    found = verdict(seen(RIGHT), why)
    assert found.permits_pods
    assert not found.permits_traffic
    assert found.blocking is not None
    assert (found.blocking.reason, found.blocking.next_step) == (Reason.OBSERVER_UNAVAILABLE, why.next_step)


def test_while_the_pods_start_they_are_what_is_waited_for() -> None:
    pods = build.candidate()
    starting = replace(pods, pods=tuple(replace(pod, ready=False) for pod in pods.pods), audits=())
    blocking = verdict(pods=starting).blocking
    assert blocking is not None
    assert blocking.reason is Reason.PODS_STARTING
    tampered = replace(pods, pods=tuple(replace(pod, tampered="it has hostPID") for pod in pods.pods))
    blocking = verdict(pods=tampered).blocking
    assert blocking is not None
    assert blocking.gate == "readiness"


def test_where_it_is_required_an_image_that_says_what_it_starts_is_seen_too() -> None:
    known = {"scan": build.scan(), "policy": REQUIRED}
    assert judged(**known).reason is Reason.TO_BE_OBSERVED
    assert "the policy standard requires it" in judged(**known).message
    assert judged(seen(RIGHT), seen(RIGHT), **known).reason is Reason.PASSED
    assert judged(seen(RIGHT), seen(OLD), **known).reason is Reason.ENVIRONMENT_MISMATCH
    assert judged(seen(OLD), seen(OLD), scan=build.scan()).reason is Reason.PASSED, "by default nobody looks then"


def test_what_the_files_refuse_is_refused_before_a_pod_starts() -> None:
    wrong = build.scan(document=OLD)
    assert judged(scan=wrong, policy=REQUIRED, pods=None).reason is Reason.ENVIRONMENT_MISMATCH


def test_variables_of_the_image_are_judged_by_what_was_seen() -> None:
    image = build.image()
    image = replace(image, config=replace(image.config, env=(("LD_PRELOAD", "/app/x.so"),)))
    result = judged(seen(RIGHT), seen(RIGHT), image=image)
    assert result.reason is Reason.IMAGE_VARIABLE_NOT_ALLOWED
