"""Gate: the environment inside the image is the one that the registered run was made in."""

from collections.abc import Sequence
from dataclasses import replace

from lockstep.api.environmentspec import EnvironmentEvidence, EnvironmentSpec, LocalVersions
from lockstep.api.modeldeployment import GateMode, GateOutcome
from lockstep.api.promotionpolicy import PromotionPolicySpec
from lockstep.api.reasons import ConditionType, Reason
from lockstep.environment.comparison.compare import Comparison, RequiredSetError, compare
from lockstep.environment.document import EnvironmentDocument, InvalidDocumentError, RequiredProof
from lockstep.environment.requirements import InvalidRequirementsError, baseline
from lockstep.gates import image
from lockstep.gates.evidence import Evidence, Undetermined, Unknown
from lockstep.gates.gate import Gate, Result, result_of_unknown
from lockstep.gates.nextstep import image_step
from lockstep.gates.rules import candidates, document_signature, observed, rootfilesystem, variables
from lockstep.lineage.lineage import Lineage

NAME = candidates.ENVIRONMENT
_SHOWN = 3


def _judge(evidence: Evidence) -> Result:
    """Judge the environment: what the image's files say, then, where the policy wants it, what its pods show."""
    result = _judge_scan(evidence)
    policy = evidence.policy
    if isinstance(policy, Unknown) or not observed.is_wanted(evidence.scan, policy.spec):
        return result
    if result.outcome is not GateOutcome.PASSED and result.reason is not Reason.TO_BE_OBSERVED:
        return result
    why = result.message if result.reason is Reason.TO_BE_OBSERVED else f"the policy {policy.name} requires it"
    unseen = observed.judge(NAME, evidence.pods, why)
    if unseen is not None:
        return replace(unseen, environment_digest=result.environment_digest)
    for one in observed.seen(evidence):
        result = _judge_scan(replace(evidence, scan=one.scan))
        if result.outcome is not GateOutcome.PASSED:
            return replace(result, message=f"{one}: {result.message}")
    return replace(result, message=f"{result.message}; observed: {_describe_seen(observed.seen(evidence))}")


def _describe_seen(found: Sequence[observed.Seen]) -> str:
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(map(str, found[:_SHOWN])) + more


def _judge_scan(evidence: Evidence) -> Result:
    """Judge the environment that a scan describes.

    Variables that change the environment from outside its files are reported first, then how the files differ, then what is
    served from where pods can write.
    """
    compared = _compare(evidence)
    first, then = _judge_variables(evidence), _judge_writable(evidence)
    if first is None:
        first, then = (then, None) if then is not None and compared.outcome is GateOutcome.PASSED else (compared, then)
    else:
        then = compared
    also = f"; {then.message}" if then is not None and compared.differences else ""
    return replace(
        first, message=first.message + also, differences=compared.differences, environment_digest=compared.environment_digest
    )


def _judge_variables(evidence: Evidence) -> Result | None:
    policy, pinned, scan = evidence.policy, evidence.image, evidence.scan
    if isinstance(policy, Unknown) or isinstance(pinned, Unknown):
        return None
    if isinstance(scan, Unknown):
        return variables.of_pods(NAME, evidence.spec, pinned, None, policy)
    return variables.of_pods(NAME, evidence.spec, pinned, scan, policy) or variables.of_image(NAME, pinned, scan, policy)


def _judge_writable(evidence: Evidence) -> Result | None:
    policy, pinned, scan = evidence.policy, evidence.image, evidence.scan
    if isinstance(policy, Unknown) or isinstance(pinned, Unknown) or isinstance(scan, Unknown):
        return None
    return rootfilesystem.judge(NAME, pinned, scan, policy)


def _compare(evidence: Evidence) -> Result:
    policy, lineage, scan = evidence.policy, evidence.lineage, evidence.scan
    if isinstance(policy, Unknown):
        return _wait_for(policy, reported=True)
    # The lineage gate reports in every mode why there is no lineage; the image gate reports on the scan where it is enforced.
    if isinstance(lineage, Unknown):
        return _wait_for(lineage, reported=True)
    if lineage.unreadable is not None:
        # Nothing weaker takes the place of a record that could not be read.
        message = f"the recorded environment could not be read: {lineage.unreadable}"
        return Result(NAME, GateOutcome.RETRY, Reason.MODEL_FILES_UNREADABLE, message)
    if isinstance(scan, Unknown) and not candidates.decides(scan, policy.spec):
        return _wait_for(scan, reported=policy.spec.mode(image.NAME) is GateMode.ENFORCE)
    try:
        if isinstance(scan, Unknown):
            return _judge_candidates(evidence, lineage, policy.spec, scan)
        comparison = _compare_document(lineage, policy.spec, scan.document)
    except _RefusedError as error:
        return error.result
    return _judge_comparison(comparison, evidence, lineage, rules_for(lineage, policy.spec))


class _RefusedError(Exception):
    """There is no training environment to compare with, or none that counts; `result` says why."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.message)
        self.result = result


def _compare_document(lineage: Lineage, policy: PromotionPolicySpec, scanned: EnvironmentDocument) -> Comparison:
    """Compare an environment of the image with the training environment.

    Raises:
        _RefusedError: there is nothing to compare with.
    """
    try:
        trained = trained_document(lineage, policy, scanned)
    except (InvalidDocumentError, InvalidRequirementsError) as error:
        raise _refused_error(Reason.ENVIRONMENT_DOCUMENT_INVALID, str(error)) from error
    if trained is None:
        raise _refused_error(Reason.ENVIRONMENT_NOT_RECORDED, "there is no recorded environment to compare with")
    unvouched = document_signature.judge(NAME, lineage, policy.environment)
    if unvouched is not None:
        raise _RefusedError(unvouched)
    try:
        return compare(trained, scanned, rules_for(lineage, policy))
    except RequiredSetError as error:
        incomplete = error.proof is RequiredProof.INCOMPLETE
        reason = Reason.REQUIRED_SET_INCOMPLETE if incomplete else Reason.REQUIRED_SET_UNPROVEN
        raise _refused_error(reason, reason.sentence.rstrip(".")) from error


def _refused_error(reason: Reason, message: str) -> _RefusedError:
    return _RefusedError(Result(NAME, GateOutcome.REJECTED, reason, message))


def _judge_candidates(evidence: Evidence, lineage: Lineage, policy: PromotionPolicySpec, scan: Undetermined) -> Result:
    """Judge an image that does not say what it starts: by its pods, but for its packages where no start would help."""
    compared = tuple(
        candidates.Compared(one, _compare_document(lineage, policy, one.document))
        for one in scan.candidates
        if one.document is not None
    )
    if len(compared) < len(scan.candidates) or any(one.may_match for one in compared):
        to_be_observed = observed.is_wanted(scan, policy)
        return candidates.judge_undetermined(NAME, scan, compared, to_be_observed=to_be_observed)
    nearest = candidates.find_nearest(compared)
    result = _judge_comparison(nearest.comparison, evidence, lineage, rules_for(lineage, policy))
    return replace(result, message=f"{candidates.describe_mismatch(scan, nearest)}: {result.message}")


def _wait_for(fact: Unknown, *, reported: bool) -> Result:
    """Only wait for a fact whose absence another gate reports (`reported`)."""
    if fact.retry or not reported:
        return result_of_unknown(NAME, fact)
    return Result(NAME, GateOutcome.PENDING, Reason.WAITING, "lineage and image have to be known first")


def trained_document(lineage: Lineage, policy: PromotionPolicySpec, scanned: EnvironmentDocument) -> EnvironmentDocument | None:
    """Return the training environment: recorded, or where the policy accepts it what stock MLflow stored.

    Raises:
        InvalidDocumentError, InvalidRequirementsError: it can't be read.
    """
    if lineage.environment_document is not None:
        return EnvironmentDocument.parse(lineage.environment_document)
    if policy.environment.evidence is EnvironmentEvidence.MODEL_REQUIREMENTS and lineage.requirements is not None:
        return baseline(lineage.requirements, lineage.python_env, scanned)
    return None


def rules_for(lineage: Lineage, policy: PromotionPolicySpec) -> EnvironmentSpec:
    """Return the rules of the comparison; MLflow's own files have lost local version labels, so they can't count there."""
    rules = policy.environment
    if lineage.environment_document is not None:
        return rules
    packages = rules.packages.model_copy(update={"local_versions": LocalVersions.IGNORE})
    return rules.model_copy(update={"packages": packages})


def _judge_comparison(comparison: Comparison, evidence: Evidence, lineage: Lineage, rules: EnvironmentSpec) -> Result:
    weaker = (
        ""
        if lineage.environment_document is not None
        else " (baseline: MLflow's inferred requirements, no recorded environment)"
    )
    if comparison.equal:
        vouched = ", whose record is signed" if document_signature.is_demanded(evidence.policy) else ""
        message = f"{comparison.compared} packages, Python and platform are those of the training run{vouched}{weaker}"
        return Result(NAME, GateOutcome.PASSED, Reason.PASSED, message, environment_digest=comparison.image_digest)
    sentences = [difference.sentence for difference in comparison.differences]
    more = f"; and {len(sentences) - _SHOWN} more" if len(sentences) > _SHOWN else ""
    model = f"models:/{evidence.spec.model.name}/{lineage.version}"
    return Result(
        NAME,
        GateOutcome.REJECTED,
        Reason.ENVIRONMENT_MISMATCH,
        "; ".join(sentences[:_SHOWN]) + more + weaker,
        differences=comparison.differences,
        environment_digest=comparison.image_digest,
        next_step=image_step(comparison.differences, rules, model=model, reference=evidence.spec.image),
    )


GATE = Gate(NAME, ConditionType.ENVIRONMENT_MATCHED, _judge)
