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
from lockstep.gates.gate import Result
from lockstep.images.image import ResolvedImage
from lockstep.images.scan.result import ImageScan

_WRITABLE = ("/tmp", "/dev/shm")
"""What every pod may write to. Volumes of the image's configuration come on top: runtimes mount them writable."""
_COMPLAINT = re.compile(r"read-only file ?system|\berrno[ :=]*30\b|\bEROFS\b", re.IGNORECASE)
"""What programs say when they are kept from writing (EROFS, errno 30 on Linux)."""


def judge(gate: str, image: ResolvedImage, scan: ImageScan, policy: PromotionPolicy) -> Result | None:
    """Return why the image can't serve from a read-only root file system; None when it can, or need not."""
    if policy.spec.pods.root_filesystem is RootFilesystem.WRITABLE:
        return None
    start = scan.document.start
    if start is None:
        message = "where the image's server imports from could not be determined, and pods can write to /tmp"
        step = "start the interpreter or a console script directly (docs/refusals.md)"
        return _refuse(gate, message, step)
    places = (*_WRITABLE, *image.config.volumes)
    for what, path, step in _served_paths(start, scan):
        place = next((one for one in places if _is_below(path, one)), None)
        if place is not None:
            message = f"{what} {path}, and pods can write to {place}"
            return _refuse(gate, message, step if place in _WRITABLE else f"take the VOLUME {place} out of the image")
    return None


def _refuse(gate: str, message: str, step: str) -> Result:
    step = f"Next step (image): {step}; or (platform team): pods.rootFilesystem: Writable"
    return Result(gate, GateOutcome.REJECTED, Reason.WRITABLE_PATH, message, next_step=step)


def _served_paths(start: Start, scan: ImageScan) -> Iterator[tuple[str, str, str]]:
    """Yield what is said of each path that is served or imported from, the path, and what to do should it be writable."""
    yield "the interpreter is", start.executable, "install it elsewhere"
    if start.program is not None:
        yield "the program is", start.program, "copy it elsewhere, such as to /app"
    for path in start.path:
        yield "the server imports from", path, "name another WORKDIR, such as /app, and another HOME than /tmp"
    models = sorted(model.path for model in scan.models)
    if start.model is not None:
        yield "the model is", start.model, "copy it elsewhere, such as to /opt/model"
    elif len(models) == 1:
        # Of several, any may be the one that is served.
        yield "the model is", models[0], "copy it elsewhere, such as to /opt/model"


def _is_below(path: str, place: str) -> bool:
    folder = place.rstrip("/")
    return path == folder or path.startswith(f"{folder}/")


def says_read_only(text: str) -> bool:
    """Return whether a text complains that a file system is read-only."""
    return _COMPLAINT.search(text) is not None


def advice(policy: PromotionPolicy, *, reported: bool) -> str:
    """Return what to do for a server that may have failed since it could not write; `reported` where it said so itself."""
    if policy.spec.pods.root_filesystem is RootFilesystem.WRITABLE:
        return ""
    if reported:
        return "let it write below /tmp, or let the platform team set pods.rootFilesystem: Writable in the policy"
    return "if it has to write elsewhere than to /tmp, the platform team can set pods.rootFilesystem: Writable in the policy"
