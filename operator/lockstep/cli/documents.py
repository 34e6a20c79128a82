"""Environment documents from where people keep them: files, standard input, MLflow, images."""

import re
import sys
from pathlib import Path

from lockstep.api.reasons import Reason
from lockstep.cli.access.access import Access, parse_platform
from lockstep.cli.exit import CommandError
from lockstep.environment.candidate import Candidate
from lockstep.environment.document import EnvironmentDocument, InvalidDocumentError
from lockstep.environment.frameworks import FRAMEWORK_MODULES
from lockstep.images.image import ResolvedImage
from lockstep.images.open import is_local
from lockstep.images.resolve import resolve
from lockstep.images.scan.result import UndeterminedImageError
from lockstep.images.source import ImageSource

_VERSION = re.compile(r"^models:/([^/@]+)(?:/([0-9]+)|@(.+))$")
_MODEL_ID = re.compile(r"^(?:models:/)?(m-[0-9A-Za-z]+)$")
_RUN_ID = re.compile(r"^(?:runs:/([^/]+)(?:/.*)?|([0-9a-f]{32}))$")


def read_local(what: str) -> EnvironmentDocument | None:
    """Read a document's file, or standard input (`-`); None when it names neither.

    Raises:
        CommandError: it is no document.
    """
    if what == "-":
        return parse_document(sys.stdin.buffer.read(), "standard input")
    if not is_local(what) and Path(what).is_file():
        return parse_document(Path(what).read_bytes(), what)
    return None


def is_recorded(what: str) -> bool:
    """Return whether something names a version, a logged model or a run in MLflow, rather than an image."""
    return what.startswith(("models:/", "runs:/")) or bool(_MODEL_ID.match(what) or _RUN_ID.match(what))


async def read_recorded(reach: Access, what: str, tracking_uri: str | None) -> EnvironmentDocument:
    """Read the environment that a training run recorded.

    Raises:
        CommandError: there is none, it can't be read, or no tracking server is named.
        LineageError: MLflow says no, or does not answer.
    """
    if tracking_uri is None:
        raise CommandError(Reason.REGISTRY_UNREACHABLE, "set MLFLOW_TRACKING_URI or --tracking-uri")
    mlflow = reach.mlflow(tracking_uri)
    if model := _MODEL_ID.match(what):
        return parse_document(await mlflow.recorded_document(model_id=model[1]), what)
    if run := _RUN_ID.match(what):
        return parse_document(await mlflow.recorded_document(run_id=run[1] or run[2]), what)
    version = _VERSION.match(what)
    if version is None:
        message = f"{what!r} is none of models:/NAME/VERSION, models:/NAME@ALIAS, m-… and a run id"
        raise CommandError(Reason.REFERENCE_INVALID, message)
    lineage = await mlflow.lineage(name=version[1], version=version[2], alias=version[3])
    if lineage.environment_document is None:
        raise CommandError(Reason.ENVIRONMENT_NOT_RECORDED, f"{what} has no recorded environment")
    document = parse_document(lineage.environment_document, what)
    if document.digest != lineage.environment_digest:
        message = f"the document of {what} is not the one that its run recorded"
        raise CommandError(Reason.ENVIRONMENT_DIGEST_CONFLICT, message)
    return document


async def scan_document(reach: Access, reference: str, platform: str) -> EnvironmentDocument:
    """Read an image's layers.

    Raises:
        ImageError: with the reason why they could not be read. Where they do not say what the image starts, what it could
            run is printed first.
    """
    source, image = await resolve_image(reach, reference, platform)
    if sys.stderr.isatty():
        size = sum(layer.size for layer in image.layers) / 1e6
        print(f"reading {len(image.layers)} layers, {size:.0f} MB compressed …", file=sys.stderr)
    try:
        return (await reach.scanner.scan(source, image)).document
    except UndeterminedImageError as error:
        # Before the reason, which is the last line of every refusal.
        print("what the image could run:", file=sys.stderr)
        for candidate in error.candidates:
            print(f"  {_describe_candidate(candidate)}", file=sys.stderr)
        raise


def _describe_candidate(candidate: Candidate) -> str:
    if candidate.document is None:
        return f"{candidate}: {candidate.fault}"
    python, packages = candidate.document.python, candidate.document.packages
    count = "1 package" if len(packages) == 1 else f"{len(packages)} packages"
    known = [f"{one.name} {one.version}" for one in packages if one.name in FRAMEWORK_MODULES]
    named = f" ({', '.join(known)})" if known else ""
    return f"{candidate}: {python.implementation} {python.version}, {count}{named}"


async def resolve_image(reach: Access, reference: str, platform: str) -> tuple[ImageSource, ResolvedImage]:
    """Pin an image and return where it is read.

    Raises:
        ImageError: with the reason why it can't be pinned.
    """
    source, wanted = await reach.open(reference)
    return source, await resolve(source, wanted, parse_platform(platform), reach.limits)


def parse_document(body: bytes, where: str) -> EnvironmentDocument:
    """Read a document.

    Raises:
        CommandError: it is none.
    """
    try:
        return EnvironmentDocument.parse(body)
    except InvalidDocumentError as error:
        raise CommandError(Reason.ENVIRONMENT_DOCUMENT_INVALID, f"{where}: {error}") from error
