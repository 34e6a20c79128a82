"""What an end-to-end test acts on: a namespace of its own, and words for what people do there."""

import json
import uuid
from dataclasses import dataclass, field
from typing import Any

from examples.demo import kube
from tests.cluster.wait import until

PROMOTED = 90.0
"""Generous deadlines, in seconds: the tests wait for conditions, the benchmark measures."""
REFUSED = 60.0


@dataclass
class Stage:
    """One namespace."""

    namespace: str = field(default_factory=lambda: f"e2e-{uuid.uuid4().hex[:8]}")

    def create(self) -> None:
        """Make the namespace."""
        kube.kubectl("create", "namespace", self.namespace)

    def remove(self) -> None:
        """Begin to delete the namespace; nobody waits for it."""
        kube.kubectl("delete", "namespace", self.namespace, "--wait=false", "--ignore-not-found")

    def deploy(
        self,
        model: str,
        version: str,
        image: str,
        *,
        name: str = "model",
        alias: str | None = None,
        env: dict[str, str] | None = None,
        template: dict[str, Any] | None = None,
        **spec: Any,
    ) -> None:
        """Apply a ModelDeployment of a version, or of an alias."""
        pod = {"env": [{"name": key, "value": value} for key, value in (env or {}).items()], **(template or {})}
        body = {
            "apiVersion": "lockstep.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "model": {"name": model} | ({"alias": alias} if alias else {"version": version}),
                "image": image,
                "server": {"port": 8080, "mlflow": {}},
                "template": pod,
                **spec,
            },
        }
        kube.apply(json.dumps(body))

    def patch(self, spec: dict[str, Any], name: str = "model") -> None:
        """Change a ModelDeployment's spec."""
        self.kubectl("patch", "mdep", name, "--type", "merge", "-p", json.dumps({"spec": spec}))

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl in the namespace."""
        # In front: behind `--` it would belong to the command that exec runs.
        return kube.kubectl("-n", self.namespace, *arguments)

    def object(self, name: str = "model") -> dict[str, Any]:
        """Return the ModelDeployment."""
        return kube.get("mdep", name, self.namespace) or {}

    def status(self, name: str = "model") -> dict[str, Any]:
        """Return its status."""
        status: dict[str, Any] = self.object(name).get("status") or {}
        return status

    def condition(self, type_: str, name: str = "model") -> dict[str, Any]:
        """Return one of its conditions; empty when it has none of that type."""
        conditions = self.status(name).get("conditions") or []
        return next((c for c in conditions if c["type"] == type_), {})

    def gates(self, name: str = "model") -> dict[str, dict[str, Any]]:
        """Return the candidate's gate results by name."""
        candidate = self.status(name).get("candidate") or {}
        return {gate["name"]: gate for gate in candidate.get("gates") or []}

    def promoted(self, name: str = "model", *, image: str | None = None, timeout: float = PROMOTED) -> dict[str, Any]:
        """Wait until the current spec is active (in an image with this digest) and return the active revision."""

        def active() -> dict[str, Any] | None:
            found = self.object(name)
            status = found.get("status") or {}
            ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or [])
            current = status.get("observedGeneration") == found.get("metadata", {}).get("generation")
            serving: dict[str, Any] = status.get("active") or {}
            fits = image is None or serving.get("imageDigest") == image.partition("@")[2]
            return serving if ready and current and fits and "candidate" not in status else None

        return until(active, timeout, f"{self.namespace}/{name} is promoted") or {}

    def refused(self, gate: str, reason: str, name: str = "model", *, timeout: float = REFUSED) -> str:
        """Wait until a gate refuses the candidate for a reason and return the message."""
        return self.answered(gate, "Rejected", reason, name, timeout=timeout)

    def answered(self, gate: str, outcome: str, reason: str, name: str = "model", *, timeout: float = REFUSED) -> str:
        """Wait until a gate answers with an outcome and a reason and return the message."""

        def message() -> str | None:
            found = self.gates(name).get(gate) or {}
            return str(found["message"]) if (found.get("outcome"), found.get("reason")) == (outcome, reason) else None

        try:
            return until(message, timeout, f"the {gate} gate says {outcome} {reason}") or ""
        except Exception as error:
            error.add_note(json.dumps(self.status(name), indent=1)[:4000])
            raise

    def events(self, reason: str, name: str = "model") -> list[dict[str, Any]]:
        """Return the events of a reason about the ModelDeployment."""
        found = kube.items("events.v1.events.k8s.io", self.namespace)
        return [e for e in found if e["reason"] == reason and e["regarding"]["name"] == name]

    def pods(self, revision: str | None = None) -> list[dict[str, Any]]:
        """Return the pods of a revision, or of all."""
        selector = f"lockstep.dev/revision={revision}" if revision else "lockstep.dev/model-deployment"
        return kube.items("pods", self.namespace, selector)

    def service_address(self, name: str = "model") -> str | None:
        """Return the cluster address of the Service; None while there is none."""
        service = kube.get("service", name, self.namespace)
        return str(service["spec"]["clusterIP"]) if service else None
