"""An image that does not say what it starts: refused, and for its packages where no start would help."""

from typing import Any

import pytest

from lockstep.api.modeldeployment import GateOutcome
from lockstep.api.reasons import Reason
from lockstep.environment.candidate import Candidate
from lockstep.gates.chain import evaluate
from lockstep.gates.evidence import Undetermined
from lockstep.gates.gate import Result
from lockstep.gates.verdict import Verdict
from lockstep.images.scan.result import ImageModel
from tests.fakes import builders as build

WHY = "which Python 'supervisord' starts could not be determined: it starts others; let the image start the server itself"
RIGHT = Candidate("/opt/venv/bin/python3", document=build.document())
OLD = Candidate("/opt/old/bin/python3", document=build.document(build.TRAINED | {"scikit-learn": "1.2.0"}))
BARE = Candidate("/usr/bin/python3", document=build.document({}))
BROKEN = Candidate("/opt/broken/bin/python3", fault="numpy is installed twice")


NEVER = build.policy(environment={"observed": "Never"})


def verdict(*candidates: Candidate, models: tuple[ImageModel, ...] | None = None, **changes: Any) -> Verdict:
    pinned = build.image()
    scan = Undetermined(
        Reason.INTERPRETER_AMBIGUOUS,
        WHY,
        retry=False,
        digest=pinned.digest,
        models=build.scan().models if models is None else models,
        candidates=candidates,
    )
    return evaluate(build.evidence(scan=scan, **changes))


def blocking(*candidates: Candidate, **changes: Any) -> Result:
    found = verdict(*candidates, **changes).blocking
    assert found is not None
    assert found.outcome is GateOutcome.REJECTED
    return found


def test_where_none_matches_the_nearest_is_named_with_what_differs() -> None:
    refused = blocking(BARE, OLD)
    assert (refused.gate, refused.reason) == ("environment", Reason.ENVIRONMENT_MISMATCH)
    assert refused.message == (
        "which environment the image starts could not be determined, and none of the 2 that it could run matches; the nearest "
        "is /opt/old/bin/python3: scikit-learn: trained with 1.4.2, image has 1.2.0"
    )
    assert [difference.subject for difference in refused.differences] == ["scikit-learn"]
    assert (refused.next_step or "").endswith("lockstep environment lock models:/iris/3")


def test_the_only_one_is_no_choice() -> None:
    assert "the only one that it holds, /opt/old/bin/python3, does not match: scikit-learn" in blocking(OLD).message


def test_where_nobody_looks_it_is_refused_for_its_start_and_the_others_are_named() -> None:
    refused = blocking(RIGHT, OLD, policy=NEVER)
    assert (refused.gate, refused.reason) == ("environment", Reason.INTERPRETER_AMBIGUOUS)
    assert refused.message.startswith(WHY)
    assert refused.message.endswith(
        "(1 of the 2 environments that it could run match; /opt/old/bin/python3 does not: scikit-learn: trained with 1.4.2, "
        "image has 1.2.0)"
    )


def test_even_where_all_match_what_is_made_at_start_could_be_another() -> None:
    refused = blocking(RIGHT, policy=NEVER)
    assert refused.reason is Reason.INTERPRETER_AMBIGUOUS
    assert refused.message.endswith("(the one that its files hold matches)")


def test_what_could_not_be_described_may_match() -> None:
    refused = blocking(OLD, BROKEN, policy=NEVER)
    assert refused.reason is Reason.INTERPRETER_AMBIGUOUS
    assert "could not be determined)" in refused.message


@pytest.mark.parametrize("candidates", [(RIGHT,), (RIGHT, OLD), (OLD, BROKEN)])
def test_where_it_may_match_its_pods_start_without_traffic(candidates: tuple[Candidate, ...]) -> None:
    for image in ("Enforce", "Audit", "Off"):
        found = verdict(*candidates, policy=build.policy(gates={"image": image}))
        assert found.permits_pods
        assert not found.permits_traffic
    result = next(one for one in found.results if one.gate == "environment")
    assert (result.outcome, result.reason) == (GateOutcome.PENDING, Reason.TO_BE_OBSERVED)
    assert result.message.startswith("which environment the image starts is not to be seen from its files (")


def test_the_code_of_a_program_that_nobody_knows_is_no_reason_to_refuse() -> None:
    trained = build.document(required=True).model_copy(update={"code": {"serve.py": "sha256:" + "c" * 64}})
    lineage = build.lineage(environment_document=trained.canonical(), environment_digest=trained.digest)
    found = verdict(RIGHT, OLD, lineage=lineage)
    assert next(one for one in found.results if one.gate == "environment").reason is Reason.TO_BE_OBSERVED


def test_where_none_matches_or_nobody_looks_no_pod_starts() -> None:
    assert not verdict(OLD).permits_pods
    assert not verdict(RIGHT, policy=NEVER).permits_pods
    for environment in ("Audit", "Off"):
        refused = blocking(RIGHT, policy=build.policy(gates={"environment": environment}))
        assert (refused.gate, refused.reason) == ("image", Reason.INTERPRETER_AMBIGUOUS)


def test_the_model_in_the_image_is_judged_all_the_same() -> None:
    required = build.policy(images={"modelInImage": "Required"})
    refused = blocking(RIGHT, models=(), policy=required)
    assert (refused.gate, refused.reason) == ("image", Reason.MODEL_NOT_IN_IMAGE)
