"""What a version's files are now, compared with what they were when they were first seen."""

from collections.abc import Mapping

from lockstep.api.modeldeployment import GateOutcome
from lockstep.api.promotionpolicy import ModelFilesRule
from lockstep.api.reasons import Reason
from lockstep.formats.canonical import sha256_of
from lockstep.formats.modelfiles import FileChanges, ModelFile, ModelFiles, changes
from lockstep.gates.evidence import Fact, LineagePins
from lockstep.gates.gate import Result, result_of_unknown
from lockstep.lineage.lineage import Lineage

_EXAMPLE = "serving_input_example.json"
_KNOB = "lineage.modelFiles"


def registered_files(files: Fact[ModelFiles] | None, pins: LineagePins | None) -> Fact[ModelFiles] | None:
    """Return the files that a model in an image has to have: the pinned ones, else those that there are now."""
    return pins.files if pins is not None and pins.files is not None else files


def changed_since(lineage: Lineage, files: Fact[ModelFiles] | None, pins: LineagePins) -> FileChanges:
    """Compare with the pinned files: those that were read now, and in any case the small ones that came with the lineage."""
    if pins.files is None:
        return FileChanges()
    known = isinstance(files, ModelFiles)
    now = dict(files.files if isinstance(files, ModelFiles) else pins.files.files)
    for path, body in _bodies(lineage).items():
        if body is not None:
            now[path] = _file_of(body)
        elif not known and path != _EXAMPLE:
            # An example that is too large is none, too; only what was read as a whole distinguishes the two.
            now.pop(path, None)
    return changes(pins.files, ModelFiles(dict(sorted(now.items()))))


def judge(
    gate: str, lineage: Lineage, files: Fact[ModelFiles] | None, pins: LineagePins | None, rule: ModelFilesRule
) -> tuple[Result | None, str]:
    """Return why the lineage can't hold yet because of the files, and what the verdict says of them where it holds."""
    if files is None:
        return None, f"; its files are not compared ({_KNOB} is {rule})"
    if isinstance(files, ModelFiles):
        return _check_agreement(gate, lineage, files), f", and its {len(files.files)} files are {files.digest[:19]}"
    if files.reason is Reason.MODEL_FILES_UNREADABLE:
        if rule is ModelFilesRule.IF_READABLE:
            since = ", only with those that were pinned before" if pins is not None and pins.files is not None else ""
            return None, f"; its files could not be listed and are not compared{since}: {files.message}"
        step = f"Next step (platform team): let MLflow list them, or set {_KNOB} to IfReadable"
        return Result(gate, GateOutcome.RETRY, files.reason, files.message, next_step=step), ""
    if files.reason is Reason.MODEL_FILES_REFUSED:
        step = (
            f"Next step (who trains): log fewer and smaller files; (platform team): raise the limit, or set {_KNOB} to Ignore"
        )
        return Result(gate, GateOutcome.REJECTED, files.reason, files.message, next_step=step), ""
    return result_of_unknown(gate, files), ""


def _check_agreement(gate: str, lineage: Lineage, files: ModelFiles) -> Result | None:
    """Find files that were others a moment ago, when the lineage was read: what is pinned has to be of one piece."""
    moved = [
        path
        for path, body in _bodies(lineage).items()
        if (body is not None and files.files.get(path) != _file_of(body))
        or (body is None and path in files.files and path != _EXAMPLE)
    ]
    if not moved:
        return None
    message = f"the files of {lineage.name} {lineage.version} change while they are read: {', '.join(moved)}"
    return Result(gate, GateOutcome.RETRY, Reason.LINEAGE_CHANGED, message)


def is_consistent(lineage: Lineage, files: ModelFiles) -> bool:
    """Return whether lineage and files are of one piece."""
    return _check_agreement("", lineage, files) is None


def _bodies(lineage: Lineage) -> Mapping[str, bytes | None]:
    return {
        "MLmodel": lineage.mlmodel,
        "python_env.yaml": lineage.python_env,
        "requirements.txt": lineage.requirements,
        _EXAMPLE: lineage.input_example,
    }


def _file_of(body: bytes) -> ModelFile:
    return ModelFile(sha256_of(body), len(body))
