"""`lockstep check`: the gates before the pods, decided without a cluster, for use in CI."""

import json
import sys
from argparse import Namespace
from datetime import UTC, datetime

from lockstep.api.modeldeployment import GateOutcome, ModelDeployment
from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.cli.access import Access, access, parse_platform
from lockstep.cli.manifests import read_deployments, read_policy
from lockstep.cli.status import Exit
from lockstep.evidence.facts import OpenedImage, image_fact, lineage_fact, signed_fact
from lockstep.gates.chain import evaluate, prerequisites_permit
from lockstep.gates.evidence import Evidence, Fact, Unknown
from lockstep.gates.outcome import Result, Verdict
from lockstep.images.image import ImageError
from lockstep.images.imagescan import ImageScan
from lockstep.images.reference import parse_reference
from lockstep.rollout.candidate import message_of


async def check(arguments: Namespace) -> Exit:
    """Decide every ModelDeployment of a manifest under a policy and print the gates."""
    policy = read_policy(arguments.policy)
    deployments = read_deployments(arguments.filename)
    worst = Exit.OK
    async with access(arguments.insecure_registry) as reach:
        for deployment in deployments:
            evidence = await _gather(reach, deployment, policy, arguments.platform)
            verdict = evaluate(evidence)
            print(_as_json(deployment, verdict) if arguments.output == "json" else _as_table(deployment, verdict))
            if _exit(verdict) is Exit.UNKNOWN and verdict.blocking is not None:
                sys.stdout.flush()
                print(f"{verdict.blocking.reason}: {verdict.blocking.message}", file=sys.stderr)
            worst = max(worst, _exit(verdict), key=lambda one: (Exit.OK, Exit.UNKNOWN, Exit.DIFFERENT).index(one))
    return worst


async def _gather(reach: Access, deployment: ModelDeployment, policy: PromotionPolicy, platform: str) -> Evidence:
    spec = deployment.spec
    parse_reference(spec.image)
    lineage = await lineage_fact(spec, policy, reach)
    opened = await image_fact(spec.image, policy, reach, parse_platform(platform), reach.limits)
    return Evidence(
        now=datetime.now(UTC),
        namespace=deployment.namespace,
        name=deployment.name,
        spec=spec,
        policy=policy,
        lineage=lineage,
        image=opened if isinstance(opened, Unknown) else opened.image,
        scan=await _scan(reach, opened),
        signed=None if isinstance(opened, Unknown) else await signed_fact(opened, policy),
    )


async def _scan(reach: Access, opened: Fact[OpenedImage]) -> Fact[ImageScan]:
    if isinstance(opened, Unknown):
        return opened
    try:
        return await reach.scanner.scan(opened.source, opened.image)
    except ImageError as error:
        return Unknown(error.reason, error.message, retry=error.retry)


def _exit(verdict: Verdict) -> Exit:
    refused = any(not result.permits and result.outcome is GateOutcome.REJECTED for result in verdict.results)
    if refused:
        return Exit.DIFFERENT
    return Exit.OK if prerequisites_permit(verdict) else Exit.UNKNOWN


def _shown(verdict: Verdict) -> list[Result]:
    """Leave readiness out, whose pods exist in a cluster only, unless it refuses without any."""
    return [result for result in verdict.results if result.gate != "readiness" or result.outcome is GateOutcome.REJECTED]


def _as_table(deployment: ModelDeployment, verdict: Verdict) -> str:
    rows = [("GATE", "OUTCOME", "REASON", "MESSAGE")]
    rows += [(r.gate, _outcome(r), str(r.reason), message_of(r)) for r in _shown(verdict)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows]
    outcome = {Exit.OK: "would go on to the pods", Exit.DIFFERENT: "refused", Exit.UNKNOWN: "could not be told"}
    return "\n".join([f"{deployment.namespace}/{deployment.name}: {outcome[_exit(verdict)]}", *lines])


def _outcome(result: Result) -> str:
    audited = result.permits and result.outcome is not GateOutcome.PASSED
    return f"{result.outcome} (Audit)" if audited else str(result.outcome)


def _as_json(deployment: ModelDeployment, verdict: Verdict) -> str:
    payload = {
        "namespace": deployment.namespace,
        "name": deployment.name,
        "exitStatus": int(_exit(verdict)),
        "policyHash": verdict.policy_hash,
        "environmentDigest": verdict.environment_digest,
        "gates": [
            {"name": r.gate, "outcome": r.outcome, "mode": r.mode, "reason": r.reason, "message": message_of(r)}
            for r in _shown(verdict)
        ],
        "differences": [d.sentence for result in verdict.results for d in result.differences],
    }
    return json.dumps(payload, indent=2, ensure_ascii=False)
