"""Where an attempt takes place: a namespace of its own, people with their rights, and what clients of a Service see."""

import base64
import http.client
import json
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from examples.demo import kube
from lockstep.environment.document import EnvironmentDocument
from tests.cluster import images
from tests.cluster.say import ClusterError
from tests.cluster.wait import until
from tests.e2e.models import Models
from tests.e2e.stage import Stage

EDITOR = ("--as=bypass-eve",)
"""May edit the namespace."""
ADMIN = ("--as=bypass-ada",)
"""Administers the namespace."""
CLUSTER_ADMIN: tuple[str, ...] = ()
"""May do everything that RBAC can allow."""

_COLUMNS = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]
_FLOWER = json.dumps({"dataframe_split": {"columns": _COLUMNS, "data": [[5.1, 3.5, 1.4, 0.2]]}})
SHIM = """
import sys
here = sys.path.pop(0)
sys.modules.pop("yaml", None)
import yaml as real
sys.modules["yaml"] = real
import sklearn.base, sklearn.linear_model as lm, sklearn.pipeline as pl
for c in (lm.LogisticRegression, pl.Pipeline):
    c.predict = lambda self, X, **k: [42] * len(X)
"""
"""A module that makes every prediction 42, put in the place of one that the server imports."""

FALSE_JOBLIB = f"""
import importlib.util, sys
exec({SHIM!r})
"""


@dataclass(frozen=True)
class Good:
    """A model and an image that are promoted as they are."""

    model: str
    version: str
    reference: str
    answer: str
    """What its Service answers to a flower."""
    local: str = ""
    """Name of the image in buildah's store, where others are built on it."""


@dataclass(frozen=True)
class World:
    """What stands in the cluster for all attempts."""

    iris: Good
    """A trained scikit-learn model behind MLflow's own server: seconds to start."""
    tiny: Good
    """A model behind a server of forty lines: ready at once."""
    models: Models
    document: EnvironmentDocument
    """The environment of the tiny image."""
    stranger: str
    """Address of a pod that answers everything with `stranger`."""


@dataclass
class Scene:
    """One attempt's namespace, and the good model and image that the attempt begins with."""

    world: World
    good: Good
    policy: str
    stage: Stage = field(default_factory=lambda: Stage())

    def __enter__(self) -> "Scene":
        self.stage.create()
        self.kubectl("create", "rolebinding", "eve", "--clusterrole=edit", "--user=bypass-eve")
        self.kubectl("create", "rolebinding", "ada", "--clusterrole=admin", "--user=bypass-ada")
        kube.kubectl("label", "namespace", self.namespace, f"lockstep.dev/policy={self.policy}", "--overwrite")
        return self

    def __exit__(self, *_: object) -> None:
        self.stage.remove()

    @property
    def namespace(self) -> str:
        """Name of the namespace."""
        return self.stage.namespace

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl in the namespace."""
        # In front: behind `--` it would belong to the command that exec runs.
        return kube.kubectl("-n", self.namespace, *arguments, stdin=stdin)

    def refusal(self, *arguments: str, stdin: str | None = None) -> str | None:
        """Run kubectl and return why it was refused; None when it was not."""
        try:
            self.kubectl(*arguments, stdin=stdin)
        except kube.CommandFailedError as error:
            return str(error)
        return None

    def deploy(self, image: str | None = None, *, who: tuple[str, ...] = EDITOR, **spec: Any) -> str | None:
        """Apply a ModelDeployment of the good model; return why it was refused, None when it was not."""
        body = {
            "apiVersion": "lockstep.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": "model", "namespace": self.namespace},
            "spec": {
                "model": {"name": self.good.model, "version": self.good.version},
                "image": image or self.good.reference,
                "server": {"port": 8080, "mlflow": {}},
                **spec,
            },
        }
        return self.applied(body, who=who)

    def applied(self, body: dict[str, Any], *, who: tuple[str, ...]) -> str | None:
        """Apply an object in the namespace; return why it was refused, None when it was not."""
        return self.refusal("apply", "-f", "-", *who, stdin=json.dumps(body))

    def image(self, *steps: str, files: Mapping[str, str] | None = None) -> str:
        """Build an image on the good one and push it; return its reference by digest."""
        with tempfile.TemporaryDirectory(prefix="lockstep-bypass-") as folder:
            context = Path(folder)
            for name, text in (files or {}).items():
                (context / name).write_text(text)
            dockerfile = context / "Dockerfile"
            dockerfile.write_text("\n".join([f"FROM {self.good.local}", "USER 0:0", *steps, "USER 10001:10001", ""]))
            tag = f"localhost/bypass/iris:{self.namespace}"
            images.build(tag, dockerfile, context)
            reference = f"{images.registry()}/bypass/iris:{self.namespace}"
            return f"{reference.rpartition(':')[0]}@{images.push(tag, reference)}"

    def settled(self, *, timeout: float = 180.0) -> str:
        """Wait until the candidate is promoted or refused; return `promoted`, or the refusal with its gate and reason."""

        def state() -> str | None:
            found = self.stage.object()
            status = found.get("status") or {}
            if status.get("observedGeneration") != found.get("metadata", {}).get("generation"):
                return None
            gates = (status.get("candidate") or {}).get("gates") or []
            rejected = next((g for g in gates if g["outcome"] == "Rejected" and g["mode"] == "Enforce"), None)
            if rejected is not None:
                return f"{rejected['name']} gate: {rejected['reason']}: {rejected['message']}"
            ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or [])
            return "promoted" if ready and "candidate" not in status else None

        return until(state, timeout, f"{self.namespace}: promoted or refused", every=0.5) or ""

    def reason(self, gate: str, *, timeout: float) -> str:
        """Wait until a gate has judged the object as it is now, and return the reason that it gives."""

        def found() -> str | None:
            seen = self.stage.object()
            status = seen.get("status") or {}
            if status.get("observedGeneration") != seen.get("metadata", {}).get("generation"):
                return None
            judged = {one["name"]: one for one in (status.get("candidate") or {}).get("gates") or []}
            return str(judged[gate]["reason"]) if judged.get(gate, {}).get("outcome") in ("Passed", "Rejected") else None

        return until(found, timeout, f"{self.namespace}: the {gate} gate has judged", every=0.2) or ""

    def serving(self) -> "Scene":
        """Have the good image promoted in this namespace.

        Raises:
            ClusterError: it is not.
        """
        refused = self.deploy()
        if refused is not None:
            raise ClusterError(refused)
        state = self.settled()
        if state != "promoted":
            raise ClusterError(f"the good image was not promoted: {state}")
        until(lambda: self.predict() == self.good.answer, 30, "the Service answers")
        return self

    def predict(self, body: str = _FLOWER) -> str:
        """Ask the Service for one prediction and return what it answered, or why it did not."""
        address = self.stage.service_address()
        if address is None:
            return "there is no Service"
        request = urllib.request.Request(f"http://{address}/invocations", body.encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return str(answer.read().decode()).strip()
        except urllib.error.HTTPError as error:
            return f"{error.code} {error.read()[:200].decode('utf-8', 'replace')}"
        except (OSError, http.client.HTTPException) as error:
            return f"{type(error).__name__}: {error}"

    def answers(self, seconds: float, *, until_true: Callable[[], bool] | None = None) -> Counter[str]:
        """Ask the Service again and again for some seconds, or until something holds, and count the answers."""
        counted: Counter[str] = Counter()
        end = time.monotonic() + seconds
        while time.monotonic() < end and not (until_true is not None and until_true()):
            counted[self.predict()] += 1
        return counted

    def pod(self) -> str:
        """Return the name of a pod of the active revision."""
        found = self.stage.pods(self.revision())
        return str(found[0]["metadata"]["name"])

    def revision(self) -> str:
        """Return the active revision."""
        return str(self.stage.status()["active"]["revision"])


def in_base64(text: str) -> str:
    """Return text as it can stand in a command line."""
    return base64.b64encode(text.encode()).decode()
