"""Judges what pods with a read-only root file system can still write to: a part of the environment gate.

Under it `/tmp` is an empty directory that the server may write to (`rollout.manifests`). What stands there in the image is
hidden, and what is imported from there could be written by whoever makes the server write a file.
"""

import re
from collections.abc import Iterator

from lockstep.api.modeldeployment import GateOutcome
from lockstep.api.podsspec import RootFilesystem
from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.api.reasons import Reason
from lockstep.environment.document import Start
from lockstep.gates.outcome import Result
from lockstep.images.imagescan import ImageScan

_WRITABLE = ("/tmp", "/dev/shm")
"""What every pod may write to."""
_COMPLAINT = re.compile(r"read-only file ?system|\berrno[ :=]*30\b|\bEROFS\b", re.IGNORECASE)
"""What programs say when they are kept from writing (EROFS, errno 30 on Linux)."""
_OR_POLICY = "; or (platform team): pods.rootFilesystem: Writable"


def judge(gate: str, scan: ImageScan, policy: PromotionPolicy) -> Result | None:
    """Return why the image can't serve from a read-only root file system; None when it can, or need not."""
    if policy.spec.pods.root_filesystem is RootFilesystem.WRITABLE:
        return None
    start = scan.document.start
    if start is None:
        message = "where the image's server imports from could not be determined, and pods can write to /tmp"
        step = "Next step (image): start the interpreter or a console script directly (docs/refusals.md)"
        return Result(gate, GateOutcome.REJECTED, Reason.WRITABLE_PATH, message, next_step=step + _OR_POLICY)
    found = next(_findings(start, scan), None)
    if found is None:
        return None
    message, step = found
    return Result(gate, GateOutcome.REJECTED, Reason.WRITABLE_PATH, message, next_step=f"Next step (image): {step}{_OR_POLICY}")


def _findings(start: Start, scan: ImageScan) -> Iterator[tuple[str, str]]:
    """Yield what lies where pods can write, with what to do in the Dockerfile."""
    for what, path in (("interpreter", start.executable), ("program", start.program or "")):
        if _is_writable(path):
            yield (
                f"the {what} {path} lies in a directory that pods can write to and that is empty there",
                f"put the {what} elsewhere",
            )
    models = [model.path for model in scan.models]
    if start.model is not None or models:
        served = [start.model] if start.model is not None else models
        if all(_is_writable(path) for path in served):
            yield (
                f"the model {served[0]} lies in a directory that is empty in pods",
                "copy the model elsewhere, such as /opt/model",
            )
    for path in start.path:
        if _is_writable(path):
            yield (
                f"the server imports from {path}, which pods can write to",
                "name another WORKDIR, such as /app, and another HOME than /tmp",
            )


def _is_writable(path: str) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in _WRITABLE)


def says_read_only(text: str) -> bool:
    """Tell whether somebody complains that a file system is read-only."""
    return _COMPLAINT.search(text) is not None


def advice(policy: PromotionPolicy, *, told: bool) -> str:
    """Return what to do for a server that may have failed since it could not write; `told` where it said so itself."""
    if policy.spec.pods.root_filesystem is RootFilesystem.WRITABLE:
        return ""
    if told:
        return "let it write below /tmp, or let the platform team set pods.rootFilesystem: Writable in the policy"
    return "if it has to write elsewhere than to /tmp, the platform team can set pods.rootFilesystem: Writable in the policy"
