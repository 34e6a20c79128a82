"""Which model an image serves: the registered one, as far as its layers, its command line and its variables say."""

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lockstep.api.environmentspec import BytecodeCache
from lockstep.api.imagesspec import InImage
from lockstep.api.modeldeployment import GateOutcome
from lockstep.api.promotionpolicy import ModelFilesRule, PromotionPolicySpec
from lockstep.api.reasons import Reason
from lockstep.environment.document import Start
from lockstep.formats.canonical import sha256_of
from lockstep.formats.modelfiles import FileChanges, ModelFiles, changes
from lockstep.gates.evidence import Evidence, Fact, Undetermined, Unknown
from lockstep.gates.gate import Result, result_of_unknown
from lockstep.gates.rules.modelfiles import registered_files
from lockstep.images.image import ResolvedImage
from lockstep.images.scan.result import ImageModel, ImageScan
from lockstep.lineage.lineage import Lineage

_URI = re.compile(r"^[a-z][a-z0-9+.-]*:/")
_MODEL_URI = re.compile(r"^(?:models|runs|mlflow-artifacts):/")
_VERSION = re.compile(r"^models:/([^/@]+)/([0-9]+)/?$")
_MAX_PATH = 4096
_COMMAND = "the command line"
_MODEL_SERVERS = frozenset({"mlflow", "mlserver"})
"""Known servers of models, which serve what their settings name and nothing else (`Start.server`)."""
_ONE_MODEL = "Next step (image): keep one model in the image, or name it on the command line"


@dataclass(frozen=True)
class _Held:
    """One model in the image; `fault` says why it is not the registered one."""

    path: str
    fault: Result | None


@dataclass(frozen=True)
class _Case:
    """What is decided about."""

    gate: str
    lineage: Lineage
    models: Sequence[ImageModel]
    start: Start | None
    policy: PromotionPolicySpec
    files: Fact[ModelFiles] | None
    variables: Mapping[str, str]
    working_dir: str

    @property
    def version(self) -> str:
        return f"{self.lineage.name} {self.lineage.version}"

    @property
    def named(self) -> str | None:
        """What the image says that it serves: a directory or a URI."""
        return self.start.model if self.start is not None else None

    @property
    def server(self) -> str | None:
        """The known server that the image starts."""
        return self.start.server if self.start is not None else None

    @property
    def required(self) -> bool:
        return self.policy.images.model_in_image is InImage.REQUIRED

    def reject(self, reason: Reason, message: str, step: str) -> Result:
        return Result(self.gate, GateOutcome.REJECTED, reason, message, next_step=step)


def judge(
    gate: str,
    evidence: Evidence,
    image: ResolvedImage,
    scan: ImageScan | Undetermined,
    lineage: Lineage,
    policy: PromotionPolicySpec,
) -> tuple[Result | None, str]:
    """Return why the image does not serve the registered model for sure, and what the verdict says where it does."""
    template = {variable.name: variable.value for variable in evidence.spec.template.env}
    case = _Case(
        gate=gate,
        lineage=lineage,
        models=scan.models,
        start=None if isinstance(scan, Undetermined) else scan.document.start,
        policy=policy,
        files=registered_files(evidence.files, evidence.pins),
        variables={**dict(image.config.env), **template},
        working_dir=image.config.working_dir or "/",
    )
    fetched = dict(_uris(case))
    refusal = next((refusal for who, uri in fetched.items() if (refusal := _check_fetched(case, who, uri)) is not None), None)
    if refusal is not None:
        return refusal, ""
    if fetched and case.required:
        message = f"{_first(fetched)}, so that the model is fetched at start, and the policy requires it in the image"
        return case.reject(Reason.MODEL_NOT_IN_IMAGE, message, _copy(lineage)), ""
    if not case.models:
        if case.required:
            message = "no MLmodel file is in the image, and the policy requires the registered model in it"
            return case.reject(Reason.MODEL_NOT_IN_IMAGE, message, _copy(lineage)), ""
        how = f"{_first(fetched)}: what is fetched at start" if fetched else "no model is in the image: what it serves"
        return None, f"; {how} is not checked"
    return _judge_layers(case, fetched)


def _judge_layers(case: _Case, fetched: Mapping[str, str]) -> tuple[Result | None, str]:
    if isinstance(case.files, Unknown) and not _is_tolerated(case, case.files):
        return result_of_unknown(case.gate, case.files), ""
    held = [_Held(model.path, _fault(case, model)) for model in case.models]
    right = [model.path for model in held if model.fault is None]
    others = [model for model in held if model.fault is not None and not _within_any(model.path, right)]
    if not right:
        return min((model.fault for model in others if model.fault is not None), key=_weight), ""
    if case.named is not None and not _URI.match(case.named):
        if not _serves(case.named, held, right):
            message = f"{_COMMAND} names {case.named}, and {case.version} is at {right[0]}"
            return case.reject(Reason.SERVED_MODEL_DIFFERS, message, _copy(case.lineage)), ""
    elif not fetched and case.server in _MODEL_SERVERS:
        message = f"which model {case.server} serves could not be determined: its settings name several models, or none"
        return case.reject(Reason.SERVED_MODEL_UNKNOWN, message, _ONE_MODEL), ""
    elif others and not fetched:
        message = f"the image holds {_list(others)} beside {case.version}, and does not say which one it serves"
        return case.reject(Reason.SERVED_MODEL_UNKNOWN, message, _ONE_MODEL), ""
    for name, path in _paths(case):
        if any(_within(path, other.path) for other in others):
            message = f"the variable {name} names {path}, which is not {case.version}"
            return case.reject(Reason.SERVED_MODEL_DIFFERS, message, f"Next step (manifest): let {name} name {right[0]}"), ""
    if fetched:
        return None, f"; {_first(fetched)}: what is fetched at start is not checked"
    compared = "" if isinstance(case.files, ModelFiles) else ", by its MLmodel file alone"
    return None, f", and holds {case.version} at {right[0]}{compared}"


def _is_tolerated(case: _Case, files: Unknown) -> bool:
    """Return whether the policy lets the MLmodel file alone decide where the registry does not list the others."""
    rule = case.policy.lineage.model_files
    return files.reason is Reason.MODEL_FILES_UNREADABLE and rule is ModelFilesRule.IF_READABLE


# --- one model ------------------------------------------------------------------------------------------------------------


def _fault(case: _Case, model: ImageModel) -> Result | None:
    """Say why a model in the image is not the registered one; None when it is."""
    if not same_ids(model, case.lineage):
        held = f"{model.model_id or model.run_id or 'a model without ids'} at {model.path}"
        wanted = case.lineage.model_id or (case.lineage.run.run_id if case.lineage.run else "?")
        message = f"the image holds {held}; {case.version} is {wanted}"
        step = f"Next step (image): build it with models:/{case.lineage.name}/{case.lineage.version}"
        return case.reject(Reason.IMAGE_LACKS_VERSION, message, step)
    if not isinstance(case.files, ModelFiles):
        if case.lineage.mlmodel is not None and sha256_of(case.lineage.mlmodel) == model.sha256:
            return None
        return _reject_difference(case, model, FileChanges(changed=("MLmodel",)))
    if model.files is None:
        message = f"whether the model at {model.path} is {case.version} could not be determined: {model.undetermined}"
        step = f"Next step (image): copy models:/{case.lineage.name}/{case.lineage.version} to a directory below /opt"
        return case.reject(Reason.FILE_UNREADABLE, message, step)
    fresh = case.policy.environment.bytecode_cache is BytecodeCache.FRESH
    different = _compare_files(model, model.files, case.files, fresh=fresh)
    return _reject_difference(case, model, different) if different else None


def same_ids(model: ImageModel, lineage: Lineage) -> bool:
    """Return whether a model says that it is the registered one; its files show whether that is so."""
    if lineage.model_id is not None:
        return model.model_id == lineage.model_id
    return model.run_id is not None and lineage.run is not None and model.run_id == lineage.run.run_id


def _compare_files(model: ImageModel, held: ModelFiles, wanted: ModelFiles, *, fresh: bool) -> FileChanges:
    """Compare all files. Cached byte code that is not there is no loss; what is there counts unless pods compile anew."""
    found = changes(wanted, held)
    added = tuple(path for path in found.added if path not in model.harmless)
    missing = tuple(path for path in found.missing if "/__pycache__/" not in f"/{path}")
    return FileChanges(found.changed, missing, added if fresh else tuple(sorted((*added, *model.caches))))


def _reject_difference(case: _Case, model: ImageModel, different: FileChanges) -> Result:
    said = different.describe(f"in {model.path} is another file than the one of {case.version}")
    return case.reject(Reason.MODEL_FILES_DIFFER, said, _copy(case.lineage))


def _weight(fault: Result) -> int:
    """Order faults: what claims to be the registered model and is not says more than a stranger does."""
    return (Reason.MODEL_FILES_DIFFER, Reason.FILE_UNREADABLE, Reason.IMAGE_LACKS_VERSION).index(fault.reason)


# --- what is named --------------------------------------------------------------------------------------------------------


def _uris(case: _Case) -> Iterator[tuple[str, str]]:
    """Yield the URIs of models that are to be fetched at start, with who names them."""
    if case.named is not None and _URI.match(case.named):
        yield _COMMAND, case.named
    for name, value in case.variables.items():
        if _MODEL_URI.match(value):
            yield f"the variable {name}", value


def _check_fetched(case: _Case, who: str, uri: str) -> Result | None:
    """Refuse what is fetched at start and is another version than the one that is decided about, or may become one."""
    lineage = case.lineage
    same = {f"models:/{lineage.name}/{lineage.version}", lineage.source, lineage.artifact_uri}
    same |= {f"models:/{lineage.model_id}"} if lineage.model_id is not None else set()
    if uri.rstrip("/") in {one.rstrip("/") for one in same if one}:
        return None
    step = f"Next step (image): name models:/{lineage.name}/{lineage.version}, or copy that model into the image"
    if _VERSION.match(uri):
        message = f"{who} names {uri}; the ModelDeployment asks for version {lineage.version} of {lineage.name}"
        return case.reject(Reason.SERVED_MODEL_DIFFERS, message, step)
    message = f"{who} names {uri}, which may lead to another model than {case.version} when a pod starts"
    return case.reject(Reason.SERVED_MODEL_UNKNOWN, message, step)


def _paths(case: _Case) -> Iterator[tuple[str, str]]:
    """Yield the variables whose values can be paths, as seen from the working directory."""
    for name, value in case.variables.items():
        if value and not _URI.match(value) and len(value) <= _MAX_PATH:
            yield name, posixpath.normpath(posixpath.join(case.working_dir, value))


def _serves(named: str, held: list[_Held], right: list[str]) -> bool:
    """Return whether a directory, or file, that is served is of the registered model and of no other one."""
    around = [one.path for one in held if _within(named, one.path)]
    if around:
        return max(around, key=len) in right
    below = [one.path for one in held if _within(one.path, named) and not _within_any(one.path, right)]
    return not below and any(_within(path, named) for path in right)


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def _within_any(path: str, folders: list[str]) -> bool:
    return any(_within(path, folder) for folder in folders)


def _list(others: list[_Held]) -> str:
    return ", ".join(f"another model at {one.path}" for one in others[:3])


def _first(fetched: Mapping[str, str]) -> str:
    return next(f"{who} names {uri}" for who, uri in fetched.items())


def _copy(lineage: Lineage) -> str:
    return (
        f"Next step (image): copy the files of models:/{lineage.name}/{lineage.version} into it as `mlflow artifacts download` "
        "gives them, and build it again"
    )
