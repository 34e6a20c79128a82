"""Judges environment variables, the pods' and the image's own: a part of the environment gate.

No list of bad names can be complete. So a variable of `spec.template.env` has to be known to be harmless, or be listed in the
policy, or be a number or switch of the image's that is turned. An image's own variables are what its authors chose, like its
files: of those only what is known to run or choose code unseen is refused.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from lockstep.api.modeldeployment import GateOutcome, ModelDeploymentSpec
from lockstep.api.podsspec import VariablesSpec
from lockstep.api.podtemplate import EnvVar
from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.api.reasons import Reason
from lockstep.environment.variables.known import HARMLESS, SPAWNING
from lockstep.environment.variables.variables import find_known_variable, is_forbidden, is_harmless, runs_code, turns_switch
from lockstep.gates.gate import Result
from lockstep.images.image import ResolvedImage
from lockstep.images.scan.result import ImageScan

_SHOWN = 3


@dataclass(frozen=True)
class _Refused:
    """One variable that is refused. Its value is never shown: it may be a secret."""

    name: str
    why: str
    knob: str | None = None
    """The list of the policy that would allow it; None where none can."""
    fits_image: bool = False
    """Whether the image may set it."""

    def __str__(self) -> str:
        return f"{self.name} {self.why}"


def of_pods(
    gate: str, spec: ModelDeploymentSpec, image: ResolvedImage, scan: ImageScan | None, policy: PromotionPolicy
) -> Result | None:
    """Return why the variables of the pods are refused; None when all of them may be set, as far as is known without a scan."""
    rules, image_env = policy.spec.pods.variables, dict(image.config.env)
    refused = [
        variable
        for var in spec.template.env
        if (variable := _of_pod(var, image_env, rules) or _spawning(var, image, scan, rules))
    ]
    if not refused:
        return None
    what = _shown([str(variable) for variable in refused], "; ")
    message = f"spec.template.env sets what the policy {policy.name} does not allow: {what}"
    return Result(gate, GateOutcome.REJECTED, Reason.VARIABLE_NOT_ALLOWED, message, next_step=_step(refused))


def _of_pod(var: EnvVar, image_env: dict[str, str], rules: VariablesSpec) -> _Refused | None:
    if is_forbidden(var.name):
        return _Refused(var.name, "changes which code the server loads, whatever the policy says")
    if var.name in rules.dangerous or is_harmless(var.name, var.value):
        return None
    entry = find_known_variable(var.name)
    if entry is not None:
        return _Refused(var.name, entry.does, "pods.variables.dangerous", fits_image=not entry.in_images)
    turned = var.name in image_env and turns_switch(var.name, image_env[var.name], var.value)
    if turned or any(fnmatchcase(var.name, pattern) for pattern in rules.allowed):
        return None
    why = "has a value that is not one plain word" if var.name in HARMLESS else "is not known to be harmless"
    return _Refused(var.name, why, "pods.variables.allowed", fits_image=True)


def _spawning(var: EnvVar, image: ResolvedImage, scan: ImageScan | None, rules: VariablesSpec) -> _Refused | None:
    """More processes than the scan has reckoned with may import from a place that it has not read."""
    start = scan.document.start if scan is not None else None
    if start is None or var.name not in SPAWNING or var.name in rules.dangerous or var.value in ("", "1"):
        return None
    here = image.config.working_dir.rstrip("/") or "/"
    if here in start.path:
        return None
    why = f"starts processes that import from the working directory {here} too, which the image's server does not"
    return _Refused(var.name, why, "pods.variables.dangerous", fits_image=True)


def _step(refused: Sequence[_Refused]) -> str:
    here = [variable.name for variable in refused if not variable.fits_image]
    image = [variable.name for variable in refused if variable.fits_image]
    steps = [f"remove {_shown(here)}"] if here else []
    steps += [f"set {_shown(image)} in the image instead"] if image else []
    text = f"Next step (manifest): {' and '.join(steps)}"
    by_knob = {
        variable.knob: [other.name for other in refused if other.knob == variable.knob]
        for variable in refused
        if variable.knob is not None
    }
    lists = [f"name {_shown(names)} in {knob}" for knob, names in by_knob.items()]
    return f"{text}; or (platform team): {' and '.join(lists)}" if lists else text


def of_image(gate: str, image: ResolvedImage, scan: ImageScan, policy: PromotionPolicy) -> Result | None:
    """Return why the image's own variables are refused; None when they run and choose nothing that the scan does not see."""
    refused = list(_of_image(image, scan, policy.spec.pods.variables))
    names = _shown([variable.name for variable in refused])
    if refused:
        message = f"the image sets what the scan does not follow: {_shown([str(variable) for variable in refused], '; ')}"
        step = f"Next step (image): take {names} out of its ENV; or (platform team): name {names} in pods.variables.inImages"
        return Result(gate, GateOutcome.REJECTED, Reason.IMAGE_VARIABLE_NOT_ALLOWED, message, next_step=step)
    twice = sorted(name for name, count in Counter(name for name, _ in set(image.config.env)).items() if count > 1)
    if twice:
        message = f"the image sets {_shown(twice)} to several values, and programs differ in which they take"
        step = "Next step (image): build it anew with one value for each variable"
        return Result(gate, GateOutcome.REJECTED, Reason.IMAGE_VARIABLE_NOT_ALLOWED, message, next_step=step)
    return None


def _of_image(image: ResolvedImage, scan: ImageScan, rules: VariablesSpec) -> Iterator[_Refused]:
    start = scan.document.start
    for name, value in dict.fromkeys(image.config.env):
        does = runs_code(name, value, start.server if start is not None else None)
        if does is None or name in rules.in_images or (name == "BASH_ENV" and value == _activate(scan)):
            continue
        yield _Refused(name, does)


def _activate(scan: ImageScan) -> str | None:
    """Return the script that activates the environment that serves: a shell that reads it is in the same environment."""
    start = scan.document.start
    return f"{start.executable.rpartition('/')[0]}/activate" if start is not None else None


def _shown(parts: Sequence[str], by: str = ", ") -> str:
    more = f"{by}and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else ""
    return by.join(parts[:_SHOWN]) + more
