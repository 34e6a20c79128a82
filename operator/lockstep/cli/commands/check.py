"""`lockstep check`: the gates before the pods, decided without a cluster, for use in CI."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from datetime import UTC, datetime

from lockstep.api.kinds import MODEL_DEPLOYMENT
from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.api.reasons import Reason
from lockstep.cli import options
from lockstep.cli.access.access import Access, access, parse_platform
from lockstep.cli.access.registry import Tracking, tracking_of
from lockstep.cli.access.sources import DirectSources
from lockstep.cli.exit import Exit
from lockstep.cli.findings import exit_of, refusal_as_json, refusal_as_table, verdict_as_json, verdict_as_table
from lockstep.cli.manifests import Manifest, read_manifests, read_policy
from lockstep.gates.chain import evaluate
from lockstep.gates.gate import Gate
from lockstep.gates.table import GATES
from lockstep.gathering.gather import gather
from lockstep.gathering.subject import Subject

DESCRIPTION = """Decides ModelDeployments as the controller would, up to the pods, and whether those could be asked
anything. What the cluster alone knows (pods, what a version declared when it was first seen, admission policies) is not part
of it. All files of the registered model are read through MLflow, weights too, unless the policy's `lineage.modelFiles` is
`Ignore`. A manifest that `kubectl apply` refuses is refused here too, and for the same reasons: unknown and misspelt fields,
types, bounds and the rules between fields, as this version of Lockstep has them. Variables of `spec.template.env` that it takes
are judged by the policy. With several ModelDeployments, the worst decides the exit status; manifests of other kinds are passed
over.

The policy is the manifest that the cluster has: `kubectl get ppol standard -o yaml > policy.yaml`, or the file in which
the platform team keeps it. MLflow is asked at `--tracking-uri`; without it where the policy says, unless that is an
address inside a cluster (`*.svc`, a name without dots) and `MLFLOW_TRACKING_URI` is set. Standard error says which was
used.

```bash
lockstep check -f modeldeployment.yaml --policy policy.yaml            # 0 would go on, 1 refused, 2 could not be determined
lockstep check -f deploy/ --policy policy.yaml -o json                 # a folder; one JSON object a ModelDeployment
kustomize build overlays/prod | lockstep check -f - --policy policy.yaml
```"""


def arguments(command: ArgumentParser) -> None:
    """Take manifests and a policy."""
    command.add_argument(
        "-f",
        "--filename",
        required=True,
        action="append",
        metavar="FILE",
        help="manifest, folder, or - for standard input; may be given several times",
    )
    command.add_argument("-R", "--recursive", action="store_true", help="also read the folders below a folder")
    command.add_argument("--policy", required=True, metavar="FILE", help="manifest of the PromotionPolicy, or - ")
    command.add_argument(
        "--tracking-uri", metavar="URI", help="MLflow tracking server, where it is another one from here than the policy's"
    )
    options.table_or_json(command)
    options.image(command)


async def run(arguments: Namespace, gates: Sequence[Gate] = GATES) -> Exit:
    """Decide every ModelDeployment of the manifests under a policy and print the gates."""
    policy = read_policy(arguments.policy)
    manifests = read_manifests(arguments.filename, recursive=arguments.recursive)
    tracking = tracking_of(policy.spec.registry.tracking_uri, arguments.tracking_uri)
    if any(one.deployment is not None for one in manifests):
        print(tracking.sentence, file=sys.stderr)
    worst = Exit.OK
    async with access(arguments.insecure_registry) as reach:
        for manifest in manifests:
            found = await _check_manifest(reach, manifest, policy, tracking, arguments, gates)
            worst = max(worst, found, key=lambda one: (Exit.OK, Exit.UNKNOWN, Exit.DIFFERENT).index(one))
    return worst


async def _check_manifest(
    reach: Access,
    manifest: Manifest,
    policy: PromotionPolicy,
    tracking: Tracking,
    arguments: Namespace,
    gates: Sequence[Gate],
) -> Exit:
    as_json = arguments.output == "json"
    if manifest.problems:
        print(refusal_as_json(manifest) if as_json else refusal_as_table(manifest))
        reason = Reason.SPEC_INVALID if manifest.kind == MODEL_DEPLOYMENT.kind else Reason.POLICY_INVALID
        _complain(reason, f"{manifest.where}: {manifest.refusal}")
        return Exit.DIFFERENT
    if manifest.deployment is None:
        return Exit.OK
    subject = Subject(manifest.deployment, policy, reach, parse_platform(arguments.platform))
    reference = manifest.deployment.spec.image
    evidence = await gather(subject, DirectSources(reach, tracking), datetime.now(UTC), version=None, reference=reference)
    verdict = evaluate(evidence, gates)
    print((verdict_as_json if as_json else verdict_as_table)(manifest.deployment, verdict))
    if exit_of(verdict) is Exit.UNKNOWN and verdict.blocking is not None:
        _complain(verdict.blocking.reason, verdict.blocking.message)
    return exit_of(verdict)


def _complain(reason: Reason, message: str) -> None:
    sys.stdout.flush()
    print(f"{reason}: {' '.join(message.split())}", file=sys.stderr)
