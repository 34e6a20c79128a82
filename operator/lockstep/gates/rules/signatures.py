"""Judges the signatures and attestations of an image: a part of the image gate."""

from lockstep.api.modeldeployment import GateOutcome
from lockstep.api.promotionpolicy import PromotionPolicySpec
from lockstep.api.reasons import Reason
from lockstep.api.signing import Attesting, SignatureRule, Signing
from lockstep.environment.comparison.agreement import disagreement
from lockstep.environment.statement import ENVIRONMENT
from lockstep.formats.keys import public_keys
from lockstep.gates.evidence import Fact, Unknown
from lockstep.gates.gate import Result, result_of_unknown
from lockstep.images.image import ResolvedImage
from lockstep.images.scan.result import ImageScan
from lockstep.images.signing.signed import Attestation, Signed


def judge(
    gate: str, image: ResolvedImage, signed: Fact[Signed] | None, scan: Fact[ImageScan], policy: PromotionPolicySpec
) -> Result | None:
    """Return why the image is refused, or not decided yet; None when every rule for its repository holds.

    What can be refused without the scan is refused before it: layers take longer to read than signatures. That an
    attestation agrees with the layers is judged once these are known; until then the gate does not pass for their lack.
    """
    rules = policy.images.signature_rules(image.repository)
    if not rules:
        return None
    if isinstance(signed, Unknown):
        return result_of_unknown(gate, signed)
    if signed is None or signed.digest != image.digest:
        # Not read, or of another image: never a pass.
        return Result(gate, GateOutcome.RETRY, Reason.SIGNATURE_MISSING, "the image's signatures have not been read yet")
    for rule in rules:
        finding = _check_signature(rule, signed) or _check_attestation(rule, signed, scan)
        if finding is not None:
            reason, message = finding
            text = f"{message} (rule {rule.name})"
            return Result(gate, GateOutcome.REJECTED, reason, text, next_step=_next_step(reason, image))
    return None


def _check_signature(rule: SignatureRule, signed: Signed) -> tuple[Reason, str] | None:
    if rule.signature is not Signing.REQUIRED:
        return None
    keys = public_keys(rule.keys)
    trusted = [signature for signature in signed.signatures if signature.signers & keys.keys()]
    right = [signature for signature in trusted if signed.digest in signature.subjects]
    signers = frozenset().union(*(signature.signers & keys.keys() for signature in right)) if right else frozenset()
    if len(signers) >= rule.threshold:
        return None
    if signers:
        return Reason.SIGNATURE_MISSING, f"{len(signers)} of the {rule.threshold} keys that are needed have signed the image"
    if trusted:
        named = ", ".join(sorted(trusted[0].subjects)[:1]) or "no image"
        return Reason.SIGNATURE_SUBJECT_MISMATCH, f"what is signed is {named}, the image is {signed.digest}"
    if signed.signatures:
        return Reason.SIGNATURE_INVALID, f"none of the {len(signed.signatures)} signatures is of a key of the policy"
    return Reason.SIGNATURE_MISSING, "the image is not signed"


def _check_attestation(rule: SignatureRule, signed: Signed, scan: Fact[ImageScan]) -> tuple[Reason, str] | None:
    if rule.attestation is Attesting.IGNORE:
        return None
    keys = public_keys(rule.keys)
    trusted = [attestation for attestation in signed.attestations if attestation.signers & keys.keys()]
    right = [
        attestation
        for attestation in trusted
        if attestation.predicate_type == ENVIRONMENT and signed.digest in attestation.subjects
    ]
    finding = _check_statements(right, scan)
    if finding is not None or rule.attestation is not Attesting.REQUIRED:
        return finding
    signers = frozenset().union(*(attestation.signers & keys.keys() for attestation in right)) if right else frozenset()
    if len(signers) >= rule.threshold:
        return None
    if signers:
        said = f"{len(signers)} of the {rule.threshold} keys that are needed have attested the image's environment"
        return Reason.ATTESTATION_MISSING, said
    return _why_no_attestation_counts(signed, trusted)


def _check_statements(right: list[Attestation], scan: Fact[ImageScan]) -> tuple[Reason, str] | None:
    """Find out whether what trusted keys state of this image is one thing, and what the layers say."""
    for attestation in right:
        if attestation.document is None:
            return Reason.ATTESTATION_INVALID, attestation.problem or "the attested environment can't be read"
    documents = [attestation.document for attestation in right if attestation.document is not None]
    for other in documents[1:]:
        if (differs := disagreement(documents[0], other)) is not None:
            return Reason.ATTESTATION_CONFLICT, f"two attestations by keys of the policy differ in: {differs}"
    if documents and not isinstance(scan, Unknown) and (differs := disagreement(documents[0], scan.document)) is not None:
        return Reason.ATTESTATION_MISMATCH, f"the attested environment and the image's layers differ in: {differs}"
    return None


def _why_no_attestation_counts(signed: Signed, trusted: list[Attestation]) -> tuple[Reason, str]:
    """Say why no attestation counts, the nearest miss first."""
    for attestation in trusted:
        if attestation.predicate_type == ENVIRONMENT:
            named = ", ".join(sorted(attestation.subjects)[:1]) or "no image"
            return Reason.ATTESTATION_SUBJECT_MISMATCH, f"what is attested is {named}, the image is {signed.digest}"
    if trusted:
        stated = str(trusted[0].predicate_type)[:200]
        return Reason.ATTESTATION_PREDICATE_MISMATCH, f"attested is {stated}, needed is {ENVIRONMENT}"
    broken = [attestation.problem for attestation in signed.attestations if attestation.problem is not None]
    if broken and len(broken) == len(signed.attestations):
        return Reason.ATTESTATION_INVALID, broken[0]
    if signed.attestations:
        return Reason.ATTESTATION_UNTRUSTED, f"none of the {len(signed.attestations)} attestations is of a key of the policy"
    return Reason.ATTESTATION_MISSING, "the image's environment is not attested"


def _next_step(reason: Reason, image: ResolvedImage) -> str:
    if reason in (Reason.SIGNATURE_MISSING, Reason.SIGNATURE_INVALID, Reason.SIGNATURE_SUBJECT_MISMATCH):
        return f"Next step (image): sign this digest with a key of the policy: cosign sign --key KEY {image.pinned}"
    if reason in (Reason.ATTESTATION_CONFLICT, Reason.ATTESTATION_MISMATCH):
        return (
            "Next step (platform team): find out who attested what is not in the image, then attest it anew: "
            f"lockstep environment attest {image.pinned} --key KEY"
        )
    return f"Next step (image): attest its environment: lockstep environment attest {image.pinned} --key KEY"
