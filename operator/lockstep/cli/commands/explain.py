"""`kubectl lockstep explain`: why a ModelDeployment is where it is, and what to change."""

import json
import shutil
import subprocess
from argparse import ArgumentParser, Namespace

from lockstep.api.modeldeployment import GateMode, GateOutcome, GateStatus, ModelDeployment
from lockstep.api.reasons import Reason
from lockstep.cli import options
from lockstep.cli.exit import CommandError, Exit
from lockstep.rollout.status.status import blocking

DESCRIPTION = """Asks kubectl for a ModelDeployment and says what serves, what is checked, what each gate answered and what
differs.

```bash
kubectl lockstep explain iris -n team
kubectl lockstep explain iris -n team -o json    # for programs: the same, with the status as it is
```"""
_TIMEOUT = 30


def arguments(command: ArgumentParser) -> None:
    """Take a ModelDeployment."""
    command.add_argument("name", help="name of the ModelDeployment")
    command.add_argument("-n", "--namespace", help="its namespace (default: the one of the kubeconfig's context)")
    options.table_or_json(command)


def run(arguments: Namespace) -> Exit:
    """Print what serves, what is being checked, every gate's answer, and what differs."""
    deployment = ModelDeployment.from_object(_read(arguments.name, arguments.namespace))
    print(as_json(deployment) if arguments.output == "json" else "\n".join(explanation(deployment)))
    return Exit.OK


def _read(name: str, namespace: str | None) -> dict[str, object]:
    """Ask kubectl, which knows contexts, plugins and credentials better than anything of ours."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise CommandError(Reason.DEPENDENCY_MISSING, "kubectl is not on the PATH: install it, explain asks the cluster by it")
    scope = ["--namespace", namespace] if namespace else []
    command = [kubectl, "get", "modeldeployments.lockstep.dev", name, *scope, "--output", "json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT)
    except subprocess.TimeoutExpired as error:
        raise CommandError(Reason.KUBECTL_FAILED, f"kubectl did not answer within {_TIMEOUT} s") from error
    if done.returncode:
        raise CommandError(Reason.KUBECTL_FAILED, done.stderr.strip() or f"kubectl ended with {done.returncode}")
    found: dict[str, object] = json.loads(done.stdout)
    return found


def as_json(deployment: ModelDeployment) -> str:
    """Return the summary, the gate or hold that stands in the way, and the status, for programs."""
    now = blocking(deployment.status)
    payload = {
        "namespace": deployment.namespace,
        "name": deployment.name,
        "summary": _headline(deployment, now),
        "blocking": now.payload() if now is not None else None,
        "status": deployment.status.payload(),
    }
    return json.dumps(payload, indent=2, ensure_ascii=False)


def explanation(deployment: ModelDeployment) -> list[str]:
    """Return what there is to say, the cause first."""
    status = deployment.status
    lines = [f"{deployment.namespace}/{deployment.name}: {_headline(deployment, blocking(status))}", ""]
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
        lines += [f"           {_mark(gate)} {gate.name}: {gate.reason}: {gate.message}" for gate in candidate.gates]
    lines += [f"Held       {_mark(gate)} {gate.name}: {gate.reason}: {gate.message}" for gate in status.holds]
    if status.differences:
        lines += ["", "What differs (trained | image)"]
        lines += [f"  {d.subject}: {d.trained or '-'} | {d.image or '-'}" for d in status.differences]
    return lines


def _headline(deployment: ModelDeployment, now: GateStatus | None) -> str:
    ready = next((c for c in deployment.status.conditions if c.type == "Ready"), None)
    if now is not None and now in deployment.status.holds:
        return f"{now.reason}: {now.message}"
    if now is not None and now.outcome is GateOutcome.REJECTED:
        return f"the {now.name} gate refuses the candidate"
    if now is not None:
        return f"the {now.name} gate waits: {now.reason}"
    return f"{ready.reason}: {ready.message}" if ready else "Lockstep has not reconciled it yet"


def _mark(gate: GateStatus) -> str:
    if gate.mode is GateMode.AUDIT and gate.outcome is not GateOutcome.PASSED:
        return "! (Audit)"
    marks = {GateOutcome.PASSED: "✓", GateOutcome.REJECTED: "✗", GateOutcome.PENDING: "…", GateOutcome.RETRY: "?"}
    return marks[gate.outcome]
