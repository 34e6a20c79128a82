"""`kubectl lockstep explain`: why a ModelDeployment is where it is, and what to change."""

import json
import shutil
import subprocess
from argparse import Namespace

from lockstep.api.modeldeployment import GateMode, GateOutcome, GateStatus, ModelDeployment
from lockstep.api.reasons import Reason
from lockstep.cli.status import CommandError, Exit
from lockstep.rollout.status import blocking_gate

_TIMEOUT = 30


def explain(arguments: Namespace) -> Exit:
    """Print what serves, what is being checked, every gate's answer, and what differs."""
    deployment = ModelDeployment.from_object(_read(arguments.name, arguments.namespace))
    for line in explanation(deployment):
        print(line)
    return Exit.OK


def _read(name: str, namespace: str | None) -> dict[str, object]:
    """Ask kubectl, which knows contexts, plugins and credentials better than anything of ours."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise CommandError(Reason.INTERNAL_ERROR, "kubectl is not on the PATH")
    scope = ["--namespace", namespace] if namespace else []
    command = [kubectl, "get", "modeldeployments.lockstep.dev", name, *scope, "--output", "json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT)
    except subprocess.TimeoutExpired as error:
        raise CommandError(Reason.INTERNAL_ERROR, f"kubectl did not answer within {_TIMEOUT} s") from error
    if done.returncode:
        raise CommandError(Reason.INTERNAL_ERROR, done.stderr.strip() or "kubectl failed")
    found: dict[str, object] = json.loads(done.stdout)
    return found


def explanation(deployment: ModelDeployment) -> list[str]:
    """Return what there is to say, the cause first."""
    status = deployment.status
    gate = blocking_gate(status.candidate)
    lines = [f"{deployment.namespace}/{deployment.name}: {_headline(deployment, gate)}", ""]
    if status.active is not None:
        active = status.active
        lines.append(f"Serving    revision {active.revision}, version {active.model_version}, image {active.image}")
        lines.append(f"           {status.ready_replicas} of {status.replicas} pods ready, promoted {active.start_time}")
        lines.append(f"           evidence: PromotionRecord {active.record}")
    else:
        lines.append("Serving    nothing has been promoted yet")
    candidate = status.candidate
    if candidate is not None:
        image = candidate.image or deployment.spec.image
        lines.append(f"Candidate  version {candidate.model_version or '?'}, image {image}")
        lines += [f"           {_mark(one)} {one.name}: {one.reason}: {one.message}" for one in candidate.gates]
    if status.differences:
        lines += ["", "What differs (trained | image)"]
        lines += [f"  {d.subject}: {d.trained or '-'} | {d.image or '-'}" for d in status.differences]
    return lines


def _headline(deployment: ModelDeployment, gate: GateStatus | None) -> str:
    ready = next((c for c in deployment.status.conditions if c.type == "Ready"), None)
    if gate is not None and gate.outcome is GateOutcome.REJECTED:
        return f"the {gate.name} gate refuses the candidate"
    if gate is not None:
        return f"the {gate.name} gate waits: {gate.reason}"
    return f"{ready.reason}: {ready.message}" if ready else "Lockstep has not looked at it yet"


def _mark(gate: GateStatus) -> str:
    if gate.mode is GateMode.AUDIT and gate.outcome is not GateOutcome.PASSED:
        return "! (Audit)"
    marks = {GateOutcome.PASSED: "✓", GateOutcome.REJECTED: "✗", GateOutcome.PENDING: "…", GateOutcome.RETRY: "?"}
    return marks[gate.outcome]
