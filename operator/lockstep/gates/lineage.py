"""Gate: the version, its run and its logged model exist, agree with one another, and have what the policy requires."""

from collections.abc import Iterator
from datetime import datetime

from lockstep.api.environmentspec import EnvironmentEvidence
from lockstep.api.imagesspec import InImage
from lockstep.api.modeldeployment import GateOutcome
from lockstep.api.promotionpolicy import LineageRequirement, ModelFilesRule, PromotionPolicySpec
from lockstep.api.reasons import ConditionType, Reason
from lockstep.environment.document import EnvironmentDocument, InvalidDocumentError
from lockstep.formats.canonical import sha256_of
from lockstep.formats.modelfiles import ModelFiles
from lockstep.gates.evidence import Evidence, Fact, LineagePins, Unknown, require
from lockstep.gates.gate import Gate, Result
from lockstep.gates.rules import modelfiles
from lockstep.lineage.lineage import Lineage

NAME = "lineage"
_RETRAIN = "Next step (who trains): "


def _judge(evidence: Evidence) -> Result:
    """Judge the lineage. Whether the pins of this version still hold is part of it."""
    policy = require(evidence.policy)
    lineage = require(evidence.lineage)
    finding = first_finding(lineage, policy.spec, evidence.pins, evidence.files)
    if finding is not None:
        return finding
    rule = policy.spec.lineage.model_files
    open_question, files = modelfiles.judge(NAME, lineage, evidence.files, evidence.pins, rule)
    if open_question is not None:
        return open_question
    run = lineage.run.run_id if lineage.run else "?"
    return Result(NAME, GateOutcome.PASSED, Reason.PASSED, f"{lineage.name} {lineage.version} was made by run {run}{files}")


def first_finding(
    lineage: Lineage, policy: PromotionPolicySpec, pins: LineagePins | None, files: Fact[ModelFiles] | None = None
) -> Result | None:
    """Return the first thing that is wrong with a lineage, whatever is still to be read of its files."""
    return next(_findings(lineage, policy, pins, files), None)


def pins_of(lineage: Lineage, *, first_seen: datetime, files: ModelFiles | None = None) -> LineagePins:
    """Return what a version declares, to be pinned."""
    return LineagePins(
        run_id=lineage.run.run_id if lineage.run else None,
        model_id=lineage.model_id,
        document_digest=_document_digest(lineage),
        mlmodel_sha256=sha256_of(lineage.mlmodel) if lineage.mlmodel is not None else None,
        first_seen=first_seen,
        files=files,
        files_first_seen=first_seen if files is not None else None,
    )


def _document_digest(lineage: Lineage) -> str | None:
    if lineage.environment_document is None:
        return None
    try:
        return EnvironmentDocument.parse(lineage.environment_document).digest
    except InvalidDocumentError:
        return sha256_of(lineage.environment_document)


def _findings(
    lineage: Lineage, policy: PromotionPolicySpec, pins: LineagePins | None, files: Fact[ModelFiles] | None
) -> Iterator[Result]:
    yield from _check_existence(lineage)
    yield from _check_changes(lineage, pins, files)
    yield from _check_agreement(lineage)
    yield from _check_place(lineage, policy)
    yield from _check_environment(lineage, policy)
    yield from _check_completeness(lineage, policy)


def _reject(reason: Reason, message: str, next_step: str | None = None) -> Result:
    return Result(NAME, GateOutcome.REJECTED, reason, message, next_step=next_step)


def _check_existence(lineage: Lineage) -> Iterator[Result]:
    named = f"{lineage.name} {lineage.version}"
    if lineage.version_status != "READY":
        yield Result(NAME, GateOutcome.PENDING, Reason.VERSION_NOT_READY, f"{named} is {lineage.version_status} in MLflow")
    if lineage.run is None:
        wanted = lineage.version_run_id or (lineage.logged_model.source_run_id if lineage.logged_model else None)
        what = f"names the run {wanted}, which does not exist" if wanted else "names no run"
        yield _reject(Reason.RUN_MISSING, f"{named} {what}", f"{_RETRAIN}log the model within a run and register that version")
        return
    if lineage.run.lifecycle_stage != "active":
        step = f"Next step (who trains): mlflow runs restore --run-id {lineage.run.run_id}"
        yield _reject(Reason.RUN_DELETED, f"the run {lineage.run.run_id} of {named} has been deleted", step)
    if lineage.run.status != "FINISHED":
        message = f"the run {lineage.run.run_id} of {named} is {lineage.run.status}, not FINISHED"
        goes_on = lineage.run.status in ("RUNNING", "SCHEDULED")
        step = "let the run end" if goes_on else "train again and register the new version"
        yield _reject(Reason.RUN_NOT_FINISHED, message, f"{_RETRAIN}{step}")
    if lineage.unreadable is not None:
        message = f"MLflow can't give the files of {named} at {lineage.artifact_uri or '?'}: {lineage.unreadable}"
        step = "Next step (platform team): let the tracking server read them (credentials of the storage, --serve-artifacts)"
        yield Result(NAME, GateOutcome.RETRY, Reason.MODEL_FILES_UNREADABLE, message, next_step=step)


def _check_agreement(lineage: Lineage) -> Iterator[Result]:
    run = lineage.run.run_id if lineage.run else None
    claims = {"the model version": lineage.version_run_id or None, "MLmodel": lineage.mlmodel_run_id}
    if lineage.logged_model is not None:
        claims["the logged model"] = lineage.logged_model.source_run_id or None
    others = [f"{who} names {claimed or 'none'}" for who, claimed in claims.items() if claimed != run]
    if others:
        message = f"run {run} made {lineage.name} {lineage.version}, but {' and '.join(others)}"
        yield _reject(Reason.LINEAGE_CONFLICT, message, f"{_RETRAIN}register the version from its own logged model")
    if lineage.model_id is not None and lineage.mlmodel_model_id != lineage.model_id:
        message = (
            f"the version leads to logged model {lineage.model_id}, its MLmodel names {lineage.mlmodel_model_id or 'none'}"
        )
        yield _reject(Reason.LINEAGE_CONFLICT, message)


def _check_changes(lineage: Lineage, pins: LineagePins | None, files: Fact[ModelFiles] | None) -> Iterator[Result]:
    if pins is None:
        return
    labels = {
        "document_digest": "environment document",
        "mlmodel_sha256": "MLmodel file",
        "model_id": "logged model",
        "run_id": "run",
    }
    now = pins_of(lineage, first_seen=pins.first_seen)
    # A run that has vanished is reported as such; a document that was added later is still a change.
    changed = [label for key, label in labels.items() if getattr(now, key) != getattr(pins, key)]
    version = f"{lineage.name} {lineage.version}"
    if changed:
        message = f"{version} declares another {' and '.join(changed)} than when first seen ({_day(pins.first_seen)})"
        yield _reject(Reason.LINEAGE_CHANGED, message, _new_version(pins))
    if different := modelfiles.changed_since(lineage, files, pins):
        since = _day(pins.files_first_seen or pins.first_seen)
        message = (
            f"the files of {version} are not those that were first seen ({since}): {different.describe('is another file')}"
        )
        yield _reject(Reason.LINEAGE_CHANGED, message, _new_version(pins))


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%SZ")


def _new_version(pins: LineagePins) -> str:
    pin = f"; where its name was given to another model on purpose, the platform team lifts {pins.name}" if pins.name else ""
    return f"{_RETRAIN}register a new version: a version may not change{pin}"


def _check_place(lineage: Lineage, policy: PromotionPolicySpec) -> Iterator[Result]:
    """Refuse a version whose files lie where neither its logged model nor its run keeps any: MLflow has no list of them."""
    if lineage.place is not None or policy.lineage.model_files is ModelFilesRule.IGNORE:
        return
    message = (
        f"the files of {lineage.name} {lineage.version} are at {lineage.artifact_uri or '?'}, which is not where its logged "
        "model or its run keeps files, so that MLflow does not list them"
    )
    step = f"{_RETRAIN}register the version from its own logged model; (platform team): or set lineage.modelFiles to Ignore"
    yield _reject(Reason.LINEAGE_CONFLICT, message, step)


def _check_environment(lineage: Lineage, policy: PromotionPolicySpec) -> Iterator[Result]:
    if lineage.environment_document is None:
        weaker = policy.environment.evidence is EnvironmentEvidence.MODEL_REQUIREMENTS and lineage.requirements is not None
        if not weaker:
            message = f"the run {lineage.run.run_id if lineage.run else '?'} recorded no environment for {_model(lineage)}"
            step = f"{_RETRAIN}call lockstep.training.log_environment() in the training script, train again and register"
            yield _reject(Reason.ENVIRONMENT_NOT_RECORDED, message, step)
        return
    try:
        document = EnvironmentDocument.parse(lineage.environment_document)
    except InvalidDocumentError as error:
        message = f"the environment document of {_model(lineage)} can't be read: {error}"
        yield _reject(Reason.ENVIRONMENT_DOCUMENT_INVALID, message, f"{_RETRAIN}train again and register")
        return
    if lineage.environment_digest is None:
        message = f"the run recorded no digest for the environment document of {_model(lineage)}"
        yield _reject(Reason.ENVIRONMENT_DIGEST_CONFLICT, message, f"{_RETRAIN}train again and register")
    elif document.digest != lineage.environment_digest:
        message = f"the environment document is {document.digest[:19]}, the run recorded {lineage.environment_digest[:19]}"
        yield _reject(Reason.ENVIRONMENT_DIGEST_CONFLICT, message, f"{_RETRAIN}train again and register")


def _model(lineage: Lineage) -> str:
    return f"logged model {lineage.model_id}" if lineage.model_id else f"{lineage.name} {lineage.version}"


def _check_completeness(lineage: Lineage, policy: PromotionPolicySpec) -> Iterator[Result]:
    wanted = list(policy.lineage.require)
    if policy.readiness.input_example is InImage.REQUIRED:
        wanted.append(LineageRequirement.INPUT_EXAMPLE)
    missing = [str(one) for one in wanted if not _has(lineage, one)]
    if missing:
        run = lineage.run.run_id if lineage.run else "?"
        message = f"the run {run} lacks what the policy requires: {', '.join(dict.fromkeys(missing))}"
        yield _reject(Reason.LINEAGE_INCOMPLETE, message, f"{_RETRAIN}record it, train again and register")


def _has(lineage: Lineage, wanted: LineageRequirement) -> bool:
    run = lineage.run
    if run is None:
        return False
    seeds = ("seed", "random_state", "random_seed")
    match wanted:
        case LineageRequirement.GIT_COMMIT:
            return bool(run.tag("mlflow.source.git.commit"))
        case LineageRequirement.CLEAN_TREE:
            return run.tag("lockstep.git.dirty") == "false"
        case LineageRequirement.DATASET:
            return any(digest for _, digest in run.datasets)
        case LineageRequirement.PARAMETERS:
            return any(not key.startswith("lockstep.") for key, _ in run.params)
        case LineageRequirement.SEED:
            return any(key.lower().rpartition("__")[2] in seeds and value != "None" for key, value in run.params)
        case LineageRequirement.TRAINING_SCRIPT:
            return bool(run.tag("mlflow.source.name"))
        case LineageRequirement.SIGNATURE:
            return lineage.signature_present
        case LineageRequirement.INPUT_EXAMPLE:
            return lineage.input_example is not None


def _unpinned(evidence: Evidence) -> bool:
    return isinstance(evidence.lineage, Unknown) or evidence.lineage.run is None


GATE = Gate(NAME, ConditionType.LINEAGE_VERIFIED, _judge, unpinned=_unpinned)
