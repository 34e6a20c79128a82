"""What the API server's refusals mean: its sentence is all that the Deployment controller hands on."""

import re
from dataclasses import dataclass

from lockstep.api.reasons import Reason


@dataclass(frozen=True)
class _Kind:
    """One kind of refusal, recognised by what its sentence holds."""

    pattern: re.Pattern[str]
    reason: Reason
    step: str


# In this order. The sentences are those of kube-apiserver 1.36 and its admission plugins (tests/api/test_refusals.py).
_KINDS = (
    _Kind(re.compile(r"\bexceeded quota: "), Reason.QUOTA_EXCEEDED, ""),
    _Kind(
        re.compile(r"error looking up service account .* not found"),
        Reason.SERVICE_ACCOUNT_MISSING,
        "Next step (manifest): create the ServiceAccount, or change template.serviceAccountName",
    ),
    _Kind(
        re.compile(r"is forbidden: |denied the request|denied request: "),
        Reason.PODS_FORBIDDEN,
        "Next step: change what the rule objects to, or ask the platform team for an exemption",
    ),
    _Kind(re.compile(r"\bis invalid: "), Reason.PODS_INVALID, "Next step (manifest): change what the API server names"),
    _Kind(re.compile(r"is too large|entity too large"), Reason.SPEC_TOO_LARGE, "Next step (manifest): make template smaller"),
)
_FAILED = re.compile(r"Internal error occurred: failed calling webhook")


def refusal(message: str) -> tuple[Reason, str]:
    """Return what a refusal of the API server means, and the next step (empty where waiting is all there is to do).

    What is none of the known refusals is a failure of the cluster's: it is no reason of whoever deploys.
    """
    found = None if _FAILED.search(message) else next((kind for kind in _KINDS if kind.pattern.search(message)), None)
    return (found.reason, found.step) if found is not None else (Reason.CLUSTER_FAILED, "")
