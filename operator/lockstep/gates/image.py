"""Gate: the reference is pinned, its repository is allowed, it is signed where the policy wants that, its layers can be told,
and it holds the registered model.
"""

from fnmatch import fnmatchcase

from lockstep.api.modeldeployment import GateOutcome
from lockstep.api.promotionpolicy import PromotionPolicySpec
from lockstep.api.reasons import Reason
from lockstep.gates import served, signatures
from lockstep.gates.evidence import Evidence, Unknown
from lockstep.gates.outcome import Result
from lockstep.gates.unknown import result_of_unknown
from lockstep.images.image import ResolvedImage
from lockstep.images.reference import repository_of

NAME = "image"


def evaluate(evidence: Evidence) -> Result:
    """Judge the image."""
    policy, image, scan, lineage = evidence.policy, evidence.image, evidence.scan, evidence.lineage
    if isinstance(policy, Unknown):
        return result_of_unknown(NAME, policy)
    repository = evidence.spec.image.partition("@")[0]
    if not repository_allowed(repository, policy.spec):
        return Result(
            NAME,
            GateOutcome.REJECTED,
            Reason.REPOSITORY_NOT_ALLOWED,
            f"the policy {policy.name} allows no images from {repository}",
            next_step="Next step (manifest): use an allowed repository, or ask the platform team to list it",
        )
    if isinstance(image, Unknown):
        return result_of_unknown(NAME, image)
    refusal = _wrong_base(image, policy.spec) or signatures.judge(NAME, image, evidence.signed, scan, policy.spec)
    if refusal is not None:
        return refusal
    if isinstance(scan, Unknown):
        return result_of_unknown(NAME, scan)
    if scan.digest != image.digest:
        message = f"what was scanned is {scan.digest}, the image is {image.digest}"
        return Result(NAME, GateOutcome.REJECTED, Reason.DIGEST_MISMATCH, message)
    if isinstance(lineage, Unknown):
        return Result(NAME, GateOutcome.PENDING, Reason.WAITING, "the lineage has to be known first")
    wrong, held = served.judge(NAME, evidence, image, scan, lineage, policy.spec)
    if wrong is not None:
        return wrong
    rules = ", ".join(rule.name for rule in signatures.rules_for(image.repository, policy.spec))
    signed = f", and signed as the rules {rules} demand" if rules else ""
    return Result(NAME, GateOutcome.PASSED, Reason.PASSED, f"the image is pinned to {image.digest}{signed}{held}")


def repository_allowed(reference: str, policy: PromotionPolicySpec) -> bool:
    """Tell whether images may come from a reference's repository."""
    repository = repository_of(reference)
    return any(fnmatchcase(repository, pattern) for pattern in policy.images.repositories)


def _wrong_base(image: ResolvedImage, policy: PromotionPolicySpec) -> Result | None:
    """Compare the lowest layers with those of the listed base images: what an image says of its own base is no evidence."""
    bases = policy.images.base_images
    if not bases or any(image.config.diff_ids[: len(base.diff_ids)] == tuple(base.diff_ids) for base in bases):
        return None
    names = ", ".join(base.name for base in bases[:5])
    return Result(
        NAME,
        GateOutcome.REJECTED,
        Reason.BASE_IMAGE_NOT_LISTED,
        f"its lowest layers are not those of a base image that the policy lists ({names})",
        next_step="Next step (image): build it on a listed base image; a base that was rebuilt has other layers: "
        "ask the platform team to list it",
    )
