"""`lockstep environment scan | base | diff | lock`."""

import json
import re
import sys
from argparse import Namespace
from pathlib import Path

import yaml

from lockstep.api.environmentspec import EnvironmentSpec
from lockstep.api.reasons import Reason
from lockstep.cli.access import Access, access, parse_platform
from lockstep.cli.capture import pretty
from lockstep.cli.manifests import read_policy
from lockstep.cli.status import CommandError, Exit
from lockstep.environment.compare import Comparison, compare
from lockstep.environment.document import EnvironmentDocument, InvalidDocumentError
from lockstep.environment.lock import lock
from lockstep.environment.projection import RequiredSetError
from lockstep.environment.text import comparison_text
from lockstep.images.open import is_local
from lockstep.images.resolve import resolve

_MODEL = re.compile(r"^models:/([^/@]+)(?:/([0-9]+)|@(.+))$")


async def scan_image(arguments: Namespace) -> Exit:
    """Print the document of an image's environment."""
    async with access(arguments.insecure_registry) as reach:
        print(pretty(await _scanned(reach, arguments.reference, arguments.platform)))
    return Exit.OK


async def base(arguments: Namespace) -> Exit:
    """Print an image's layers as a policy lists base images."""
    async with access(arguments.insecure_registry) as reach:
        source, wanted = await reach.open(arguments.reference)
        image = await resolve(source, arguments.reference, wanted, parse_platform(arguments.platform), reach.limits)
    listed = {"name": arguments.name or arguments.reference, "diffIDs": list(image.config.diff_ids)}
    print(yaml.safe_dump([listed], sort_keys=False), end="")
    return Exit.OK


async def diff(arguments: Namespace) -> Exit:
    """Compare two documents or images; the first one is what trained."""
    rules = _rules(arguments.policy)
    on_disk = [_from_disk(one) for one in (arguments.trained, arguments.image)]
    async with access(arguments.insecure_registry) as reach:
        named = zip(on_disk, (arguments.trained, arguments.image), strict=True)
        first, second = [known or await _document(reach, one, arguments) for known, one in named]
    try:
        comparison = compare(first, second, rules)
    except RequiredSetError as error:
        raise CommandError(Reason.REQUIRED_SET_UNPROVEN, Reason.REQUIRED_SET_UNPROVEN.sentence) from error
    print(_json(comparison) if arguments.output == "json" else comparison_text(comparison))
    return Exit.OK if comparison.equal else Exit.DIFFERENT


async def lock_requirements(arguments: Namespace) -> Exit:
    """Print the pinned requirements of a recorded environment."""
    async with access([]) as reach:
        document = await _recorded(reach, arguments.source, arguments.tracking_uri)
    print(lock(document, source=arguments.source), end="")
    return Exit.OK


def _from_disk(what: str) -> EnvironmentDocument | None:
    """Read a document's file, or standard input (`-`); None when it names neither."""
    if what == "-":
        return _parsed(sys.stdin.buffer.read(), "standard input")
    if not is_local(what) and Path(what).is_file():
        return _parsed(Path(what).read_bytes(), what)
    return None


async def _document(reach: Access, what: str, arguments: Namespace) -> EnvironmentDocument:
    """Read a recorded environment or an image."""
    if what.endswith(".json"):
        raise CommandError(Reason.ENVIRONMENT_DOCUMENT_INVALID, f"there is no file {what}")
    if what.startswith(("models:/", "runs:/")):
        return await _recorded(reach, what, arguments.tracking_uri)
    return await _scanned(reach, what, arguments.platform)


async def _scanned(reach: Access, reference: str, platform: str) -> EnvironmentDocument:
    source, wanted = await reach.open(reference)
    image = await resolve(source, reference, wanted, parse_platform(platform), reach.limits)
    if sys.stderr.isatty():
        size = sum(layer.size for layer in image.layers) / 1e6
        print(f"reading {len(image.layers)} layers, {size:.0f} MB compressed …", file=sys.stderr)
    return (await reach.scanner.scan(source, image)).document


def _parsed(body: bytes, where: str) -> EnvironmentDocument:
    try:
        return EnvironmentDocument.parse(body)
    except InvalidDocumentError as error:
        raise CommandError(Reason.ENVIRONMENT_DOCUMENT_INVALID, f"{where}: {error}") from error


async def _recorded(reach: Access, source: str, tracking_uri: str | None) -> EnvironmentDocument:
    if tracking_uri is None:
        raise CommandError(Reason.REGISTRY_UNREACHABLE, "set MLFLOW_TRACKING_URI or --tracking-uri")
    mlflow = reach.mlflow(tracking_uri)
    if found := _MODEL.match(source):
        lineage = await mlflow.lineage(name=found[1], version=found[2], alias=found[3])
        body = lineage.environment_document
        if body is None:
            raise CommandError(Reason.ENVIRONMENT_NOT_RECORDED, f"{source} has no recorded environment")
        document = _parsed(body, source)
        if document.digest != lineage.environment_digest:
            message = f"the document of {source} is not the one that its run recorded"
            raise CommandError(Reason.ENVIRONMENT_DIGEST_CONFLICT, message)
        return document
    bare = source.removeprefix("models:/").removeprefix("runs:/").partition("/")[0]
    if bare.startswith("m-"):
        return _parsed(await mlflow.recorded_document(model_id=bare), source)
    return _parsed(await mlflow.recorded_document(run_id=bare), source)


def _rules(policy: str | None) -> EnvironmentSpec:
    if policy is None:
        return EnvironmentSpec()
    return read_policy(policy).spec.environment


def _json(comparison: Comparison) -> str:
    differences = [
        {"kind": d.kind, "subject": d.subject, "trained": d.trained, "image": d.image, "message": d.sentence}
        for d in comparison.differences
    ]
    payload = {
        "equal": comparison.equal,
        "trainedDigest": comparison.trained_digest,
        "imageDigest": comparison.image_digest,
        "compared": comparison.compared,
        "differences": differences,
        "notes": list(comparison.notes),
    }
    return json.dumps(payload, indent=2, ensure_ascii=False)
