"""`lockstep environment diff`: two environments beside each other."""

import json
from argparse import ArgumentParser, Namespace

from lockstep.api.environmentspec import EnvironmentSpec
from lockstep.api.reasons import Reason
from lockstep.cli import options
from lockstep.cli.access.access import Access, access
from lockstep.cli.documents import is_recorded, read_local, read_recorded, scan_document
from lockstep.cli.exit import CommandError, Exit
from lockstep.cli.manifests import read_policy
from lockstep.environment.comparison.compare import Comparison, compare
from lockstep.environment.comparison.projection import RequiredSetError
from lockstep.environment.comparison.text import comparison_text
from lockstep.environment.document import EnvironmentDocument

DESCRIPTION = """Compares what trained with what serves. Each side is a document's file, `-`, `models:/NAME/VERSION`,
`models:/NAME@ALIAS`, `m-…`, `runs:/ID`, a run id, or an image.

```bash
lockstep environment diff models:/iris/3 registry.example.com/team/iris:2026-11
```"""


def arguments(command: ArgumentParser) -> None:
    """Take two environments and the rules."""
    command.add_argument("trained", help=f"what trained: {options.DOCUMENTS}, or an image")
    command.add_argument("image", help="what serves: the same")
    command.add_argument("--policy", metavar="FILE", help="PromotionPolicy whose rules apply (default: the standard rules)")
    options.table_or_json(command)
    options.image(command)
    options.tracking(command)


async def run(arguments: Namespace) -> Exit:
    """Compare two documents or images; the first one is what trained."""
    rules = read_policy(arguments.policy).spec.environment if arguments.policy is not None else EnvironmentSpec()
    sides = (arguments.trained, arguments.image)
    files = [read_local(one) for one in sides]
    async with access(arguments.insecure_registry) as reach:
        first, second = [known or await _document(reach, one, arguments) for known, one in zip(files, sides, strict=True)]
    try:
        comparison = compare(first, second, rules)
    except RequiredSetError as error:
        raise CommandError(Reason.REQUIRED_SET_UNPROVEN, Reason.REQUIRED_SET_UNPROVEN.sentence) from error
    print(_json(comparison) if arguments.output == "json" else comparison_text(comparison))
    return Exit.OK if comparison.equal else Exit.DIFFERENT


async def _document(reach: Access, what: str, arguments: Namespace) -> EnvironmentDocument:
    """Read a recorded environment or an image."""
    if what.endswith(".json"):
        raise CommandError(Reason.ENVIRONMENT_DOCUMENT_INVALID, f"there is no file {what}")
    if is_recorded(what):
        return await read_recorded(reach, what, arguments.tracking_uri)
    return await scan_document(reach, what, arguments.platform)


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
