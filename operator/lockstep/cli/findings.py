"""What `lockstep check` found, for people and for programs."""

import json
from typing import Any

from lockstep.api.modeldeployment import GateOutcome, ModelDeployment
from lockstep.cli.exit import Exit
from lockstep.cli.manifests import Manifest
from lockstep.gates.gate import Result, Stage
from lockstep.gates.verdict import Verdict
from lockstep.rollout.status.results import message_of

_SUMMARIES = {Exit.OK: "would go on to the pods", Exit.DIFFERENT: "refused", Exit.UNKNOWN: "could not be determined"}


def exit_of(verdict: Verdict) -> Exit:
    """Return the exit status that a verdict stands for."""
    refused = any(not result.permits and result.outcome is GateOutcome.REJECTED for result in verdict.results)
    if refused:
        return Exit.DIFFERENT
    return Exit.OK if verdict.permits_pods else Exit.UNKNOWN


def _results_shown(verdict: Verdict) -> list[Result]:
    """Leave out what pods would answer, which exist in a cluster only, unless it refuses without any."""
    return [result for result in verdict.results if result.stage is Stage.BEFORE_PODS or result.outcome is GateOutcome.REJECTED]


def verdict_as_table(deployment: ModelDeployment, verdict: Verdict) -> str:
    """Return a verdict for people."""
    rows = [("GATE", "OUTCOME", "REASON", "MESSAGE")]
    rows += [(r.gate, _outcome(r), str(r.reason), message_of(r)) for r in _results_shown(verdict)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows]
    return "\n".join([f"{deployment.namespace}/{deployment.name}: {_SUMMARIES[exit_of(verdict)]}", *lines])


def _outcome(result: Result) -> str:
    audited = result.permits and result.outcome is not GateOutcome.PASSED
    return f"{result.outcome} (Audit)" if audited else str(result.outcome)


def verdict_as_json(deployment: ModelDeployment, verdict: Verdict) -> str:
    """Return a verdict for programs."""
    gates = [
        {"name": r.gate, "outcome": r.outcome, "mode": r.mode, "reason": r.reason, "message": message_of(r)}
        for r in _results_shown(verdict)
    ]
    return _json(
        {
            "namespace": deployment.namespace,
            "name": deployment.name,
            "exitStatus": int(exit_of(verdict)),
            "policyHash": verdict.policy_hash,
            "environmentDigest": verdict.environment_digest,
            "gates": gates,
            "differences": [d.sentence for result in verdict.results for d in result.differences],
            "problems": [],
        }
    )


def refusal_as_table(manifest: Manifest) -> str:
    """Return what the API server would say of a manifest, for people."""
    lines = [f"  {problem}" for problem in manifest.problems]
    return "\n".join([f"{_title(manifest)}: refused: the API server would not take it", *lines])


def refusal_as_json(manifest: Manifest) -> str:
    """Return what the API server would say of a manifest, for programs."""
    return _json(
        {
            "kind": manifest.kind,
            "namespace": manifest.namespace,
            "name": manifest.name,
            "exitStatus": int(Exit.DIFFERENT),
            "gates": [],
            "differences": [],
            "problems": [{"field": one.path, "message": one.message} for one in manifest.problems],
        }
    )


def _title(manifest: Manifest) -> str:
    return f"{manifest.namespace}/{manifest.name}" if manifest.kind == "ModelDeployment" else f"{manifest.kind} {manifest.name}"


def _json(payload: dict[str, Any]) -> str:
    return json.dumps(payload, indent=2, ensure_ascii=False)
