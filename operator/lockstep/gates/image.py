"""Gate: the reference is pinned, its repository is allowed, it is signed where the policy wants that, its layers can be read,
and it holds the registered model.
"""

from collections.abc import Sequence
from dataclasses import replace

from lockstep.api.modeldeployment import GateOutcome
from lockstep.api.promotionpolicy import PromotionPolicySpec
from lockstep.api.reasons import ConditionType, Reason
from lockstep.gates.evidence import Evidence, Undetermined, Unknown, require
from lockstep.gates.gate import Gate, Result
from lockstep.gates.nextstep import new_tag_advice
from lockstep.gates.rules import candidates, observed, served, signatures
from lockstep.images.image import CONTENT_REASONS, ResolvedImage
from lockstep.images.scan.result import ImageScan

NAME = "image"


def _judge(evidence: Evidence) -> Result:
    return _add_tag_advice(_judge_image(evidence), evidence)


def _judge_image(evidence: Evidence) -> Result:
    policy = require(evidence.policy)
    image = require(evidence.image)
    # What can be refused without the layers is refused before they are read.
    refusal = _check_base(image, policy.spec) or signatures.judge(NAME, image, evidence.signed, evidence.scan, policy.spec)
    if refusal is not None:
        return refusal
    scan = evidence.scan if candidates.decides(evidence.scan, policy.spec) else require(evidence.scan)
    if scan.digest != image.digest:
        message = f"what was scanned is {scan.digest}, the image is {image.digest}"
        return Result(NAME, GateOutcome.REJECTED, Reason.DIGEST_MISMATCH, message)
    lineage = evidence.lineage
    if isinstance(lineage, Unknown):
        return Result(NAME, GateOutcome.PENDING, Reason.WAITING, "the lineage has to be known first")
    held = ""
    # What was seen says what an image serves that does not say it itself.
    shown: Sequence[ImageScan | Undetermined] = [seen.scan for seen in observed.seen(evidence)] or [scan]
    for one in shown:
        wrong, held = served.judge(NAME, evidence, image, one, lineage, policy.spec)
        if wrong is not None:
            return wrong
    rules = ", ".join(rule.name for rule in policy.spec.images.signature_rules(image.repository))
    signed = f", and signed as the rules {rules} demand" if rules else ""
    return Result(NAME, GateOutcome.PASSED, Reason.PASSED, f"the image is pinned to {image.digest}{signed}{held}")


_OF_THE_IMAGE = CONTENT_REASONS | {
    Reason.BASE_IMAGE_NOT_LISTED,
    Reason.IMAGE_LACKS_VERSION,
    Reason.MODEL_NOT_IN_IMAGE,
    Reason.MODEL_FILES_DIFFER,
    Reason.SERVED_MODEL_UNKNOWN,
}
"""What only another image mends, so that people push one again under the same tag and nothing happens."""


def _add_tag_advice(result: Result, evidence: Evidence) -> Result:
    """Say that a tag is resolved once, where it is pinned and the image behind it is refused."""
    again = new_tag_advice(evidence.spec.image)
    if not again or isinstance(evidence.image, Unknown) or result.reason not in _OF_THE_IMAGE:
        return result
    step = f"{result.next_step}; {again}" if result.next_step else f"Next step (image): fix it; {again}"
    return replace(result, next_step=step)


def _unpinned(evidence: Evidence) -> bool:
    image, scan = evidence.image, evidence.scan
    return isinstance(image, Unknown) or (not isinstance(scan, Unknown) and scan.digest != image.digest)


def _check_base(image: ResolvedImage, policy: PromotionPolicySpec) -> Result | None:
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


GATE = Gate(NAME, ConditionType.IMAGE_VERIFIED, _judge, unpinned=_unpinned)
