"""The image gate's judgement of signatures and attestations: one test for every reason."""

from typing import Any

import pytest

from lockstep.api.modeldeployment import GateOutcome
from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.api.reasons import Reason
from lockstep.environment.document import EnvironmentDocument
from lockstep.gates import image as gate
from lockstep.gates.chain import evaluate
from lockstep.gates.evidence import Fact
from lockstep.gates.gate import Result
from lockstep.images.signing.signed import Attestation, Signature, Signed
from tests.fakes import builders as build
from tests.fakes.signing import ENVIRONMENT, key, public_pem

RELEASE, SECURITY = key("release"), key("security")
ONE, TWO = (frozenset([who.public.fingerprint]) for who in (RELEASE, SECURITY))
STRANGER = frozenset([key("stranger").public.fingerprint])
HERE, ELSEWHERE = frozenset([build.DIGEST]), frozenset([build.OTHER_DIGEST])
DOCUMENT = build.document()
OTHER = build.document(python="3.12.1")


def policy(*rules: dict[str, Any]) -> PromotionPolicy:
    pems = [public_pem(RELEASE), public_pem(SECURITY)]
    stated = [{"name": f"rule-{number}", "keys": pems} | rule for number, rule in enumerate(rules)]
    return build.policy(images={"signatures": stated})


def attested(
    signers: frozenset[str] = ONE,
    document: EnvironmentDocument | None = DOCUMENT,
    subjects: frozenset[str] = HERE,
    kind: str = ENVIRONMENT,
    problem: str | None = None,
) -> Attestation:
    return Attestation(signers, subjects, kind, document, problem)


def signed(*what: Signature | Attestation, digest: str = build.DIGEST) -> Signed:
    return Signed(
        digest,
        tuple(one for one in what if isinstance(one, Signature)),
        tuple(one for one in what if isinstance(one, Attestation)),
    )


def judged(found: Fact[Signed] | None, *rules: dict[str, Any]) -> Result:
    return gate.GATE.evaluate(build.evidence(policy=policy(*(rules or ({},))), signed=found))


RIGHT = Signature(ONE, HERE)
REQUIRED = {"signature": "Ignore", "attestation": "Required"}


def test_a_signature_by_one_of_the_keys_passes_and_is_told() -> None:
    result = judged(signed(RIGHT))
    assert result.outcome is GateOutcome.PASSED
    assert "signed" in result.message


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (signed(), Reason.SIGNATURE_MISSING),
        (signed(attested()), Reason.SIGNATURE_MISSING),
        (signed(Signature(frozenset(), HERE)), Reason.SIGNATURE_INVALID),
        (signed(Signature(STRANGER, HERE)), Reason.SIGNATURE_INVALID),
        (signed(Signature(ONE, ELSEWHERE)), Reason.SIGNATURE_SUBJECT_MISMATCH),
        (signed(Signature(ONE, frozenset())), Reason.SIGNATURE_SUBJECT_MISMATCH),
        (signed(Signature(ONE, ELSEWHERE), Signature(STRANGER, HERE)), Reason.SIGNATURE_SUBJECT_MISMATCH),
    ],
)
def test_what_is_not_a_signature_of_this_image_by_a_key_of_the_policy_is_refused(found: Signed, reason: Reason) -> None:
    result = judged(found)
    assert (result.outcome, result.reason) == (GateOutcome.REJECTED, reason)
    assert "cosign sign --key" in (result.next_step or "")


@pytest.mark.parametrize(
    ("found", "passes"),
    [
        ([RIGHT], False),
        ([RIGHT, RIGHT], False),
        ([RIGHT, Signature(STRANGER, HERE)], False),
        ([RIGHT, Signature(TWO, ELSEWHERE)], False),
        ([RIGHT, Signature(TWO, HERE)], True),
        ([Signature(ONE | TWO, HERE)], True),
    ],
)
def test_a_threshold_counts_keys_that_signed_this_image(found: list[Signature], passes: bool) -> None:
    result = judged(signed(*found), {"threshold": 2})
    assert result.reason is (Reason.PASSED if passes else Reason.SIGNATURE_MISSING)


def test_every_rule_for_the_repository_has_to_hold() -> None:
    rules = {"keys": [public_pem(RELEASE)]}, {"keys": [public_pem(SECURITY)]}
    result = judged(signed(RIGHT), *rules)
    assert result.reason is Reason.SIGNATURE_INVALID
    assert "rule-1" in result.message
    assert judged(signed(RIGHT, Signature(TWO, HERE)), *rules).outcome is GateOutcome.PASSED


def test_a_rule_for_other_repositories_demands_nothing() -> None:
    rule = {"repositories": ["registry.example.com/other/*"]}
    assert judged(None, rule).outcome is GateOutcome.PASSED
    assert judged(None, rule | {"repositories": ["registry.example.com/team/*"]}).outcome is GateOutcome.RETRY


@pytest.mark.parametrize("found", [None, signed(RIGHT, digest=build.OTHER_DIGEST)])
def test_signatures_that_were_not_read_of_this_image_never_pass(found: Signed | None) -> None:
    assert judged(found).outcome is GateOutcome.RETRY


@pytest.mark.parametrize(("reason", "retry"), [(Reason.REFERRERS_EXCEEDED, False), (Reason.IMAGE_REGISTRY_UNREACHABLE, True)])
def test_signatures_that_could_not_be_read_never_pass(reason: Reason, retry: bool) -> None:
    result = judged(build.unknown(reason, retry=retry))
    assert (result.outcome, result.reason) == (GateOutcome.RETRY if retry else GateOutcome.REJECTED, reason)


def test_an_unsigned_image_is_refused_before_its_layers_are_known() -> None:
    scanning = build.unknown(Reason.SCANNING)
    assert (
        gate.GATE.evaluate(build.evidence(policy=policy({}), signed=signed(), scan=scanning)).reason is Reason.SIGNATURE_MISSING
    )
    assert gate.GATE.evaluate(build.evidence(policy=policy({}), signed=signed(RIGHT), scan=scanning)).reason is Reason.SCANNING


def test_a_required_attestation_that_agrees_with_the_layers_passes() -> None:
    assert judged(signed(attested()), REQUIRED).outcome is GateOutcome.PASSED


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ([], Reason.ATTESTATION_MISSING),
        ([RIGHT], Reason.ATTESTATION_MISSING),
        ([attested(frozenset(), None)], Reason.ATTESTATION_UNTRUSTED),
        ([attested(STRANGER)], Reason.ATTESTATION_UNTRUSTED),
        ([attested(ONE, None, ELSEWHERE)], Reason.ATTESTATION_SUBJECT_MISMATCH),
        ([attested(ONE, None, frozenset())], Reason.ATTESTATION_SUBJECT_MISMATCH),
        ([attested(ONE, None, kind="https://slsa.dev/provenance/v1")], Reason.ATTESTATION_PREDICATE_MISMATCH),
        ([Attestation(frozenset(), problem="the envelope is no JSON")], Reason.ATTESTATION_INVALID),
        ([attested(ONE, None, problem="packages are not sorted")], Reason.ATTESTATION_INVALID),
        ([attested(ONE, OTHER)], Reason.ATTESTATION_MISMATCH),
        ([attested(), attested(TWO, OTHER)], Reason.ATTESTATION_CONFLICT),
        ([attested(), attested(ONE, OTHER)], Reason.ATTESTATION_CONFLICT),
    ],
)
def test_an_attestation_that_does_not_count_is_refused(found: list[Signature | Attestation], reason: Reason) -> None:
    result = judged(signed(*found), REQUIRED)
    assert (result.outcome, result.reason) == (GateOutcome.REJECTED, reason)
    assert "lockstep environment attest" in (result.next_step or "")


def test_a_difference_from_the_layers_is_named() -> None:
    assert "differ in: python" in judged(signed(attested(ONE, OTHER)), REQUIRED).message


def test_who_collected_it_and_where_is_no_difference() -> None:
    other = DOCUMENT.model_copy(update={"collector": "another", "hardware": {"gpu": "H100"}})
    assert judged(signed(attested(), attested(TWO, other)), REQUIRED).outcome is GateOutcome.PASSED


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ([], Reason.PASSED),
        ([attested(STRANGER, OTHER)], Reason.PASSED),
        ([attested(ONE, None, ELSEWHERE)], Reason.PASSED),
        ([attested(ONE, None, kind="https://slsa.dev/provenance/v1")], Reason.PASSED),
        ([attested()], Reason.PASSED),
        ([attested(ONE, OTHER)], Reason.ATTESTATION_MISMATCH),
        ([attested(), attested(TWO, OTHER)], Reason.ATTESTATION_CONFLICT),
        ([attested(ONE, None, problem="malformed")], Reason.ATTESTATION_INVALID),
    ],
)
def test_an_attestation_that_is_not_required_has_to_agree_where_it_is_there(found: list[Attestation], reason: Reason) -> None:
    assert judged(signed(RIGHT, *found)).reason is reason


def test_attestations_may_be_ignored() -> None:
    assert judged(signed(RIGHT, attested(ONE, OTHER)), {"attestation": "Ignore"}).outcome is GateOutcome.PASSED


def test_a_threshold_counts_for_attestations_too() -> None:
    rule = REQUIRED | {"threshold": 2}
    assert judged(signed(attested(), attested()), rule).reason is Reason.ATTESTATION_MISSING
    assert judged(signed(attested(), attested(TWO)), rule).outcome is GateOutcome.PASSED


def test_an_attested_environment_is_not_believed_before_the_layers_are_known() -> None:
    scanning = build.unknown(Reason.SCANNING)
    result = gate.GATE.evaluate(build.evidence(policy=policy(REQUIRED), signed=signed(attested()), scan=scanning))
    assert result.reason is Reason.SCANNING


def test_a_missing_signature_blocks_the_chain_and_only_reports_in_audit_mode() -> None:
    rules = {"signatures": [{"name": "release", "keys": [public_pem(RELEASE)]}]}
    assert not evaluate(build.evidence(policy=build.policy(images=rules), signed=signed())).permits_traffic
    assert evaluate(
        build.evidence(policy=build.policy(images=rules, gates={"image": "Audit"}), signed=signed())
    ).permits_traffic
