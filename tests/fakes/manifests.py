"""Good and bad manifests, as text, and whether an API server takes them: asked of a real one and of `lockstep check` alike."""

from dataclasses import dataclass
from typing import Any

import yaml

HEAD = {"apiVersion": "lockstep.dev/v1alpha1"}
IMAGE = "registry.example.com/team/iris:2026-11"
PEM = "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n"
RULE: dict[str, Any] = {"name": "release", "keys": [PEM]}
DIGEST = "sha256:" + "a" * 64


@dataclass(frozen=True)
class Case:
    """One manifest."""

    name: str
    text: str
    taken: bool
    """Whether `kubectl apply` with strict validation takes it."""
    names: str = ""
    """What a refusal has to name."""
    duplicate: bool = False
    """True where kubectl drops what is wrong before the API server sees it, and `check` refuses it all the same."""


def deployment(name: str = "iris", /, *, metadata: dict[str, Any] | None = None, **spec: Any) -> str:
    """Return a ModelDeployment; parts of its spec are given by name."""
    parts = {
        "model": {"name": "iris", "version": "3"},
        "image": IMAGE,
        "server": {"port": 8080, "mlflow": {}},
    } | spec
    return _dumped({**HEAD, "kind": "ModelDeployment", "metadata": {"name": name} | (metadata or {}), "spec": parts})


def policy(**spec: Any) -> str:
    """Return a PromotionPolicy."""
    parts = {"registry": {"trackingURI": "http://mlflow:5000"}} | spec
    return _dumped({**HEAD, "kind": "PromotionPolicy", "metadata": {"name": "tried"}, "spec": parts})


def _dumped(value: Any) -> str:
    # A name of this many characters is no longer broken into lines.
    return str(yaml.safe_dump(value, sort_keys=False, width=100_000))


def env(*names: str) -> dict[str, Any]:
    return {"template": {"env": [{"name": name, "value": "x"} for name in names]}}


def limits(**amounts: Any) -> dict[str, Any]:
    return {"template": {"resources": {"limits": amounts}}}


_NO_NAME = f"apiVersion: lockstep.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {{}}\nspec: {{image: '{IMAGE}'}}\n"
_PLAIN = """\
apiVersion: lockstep.dev/v1alpha1
kind: ModelDeployment
metadata: {name: iris}
spec:
  model: {name: iris, version: "3"}
  image: registry.example.com/team/iris:2026-11
  server: {port: 8080, mlflow: {}}
"""

DEPLOYMENTS: tuple[Case, ...] = (
    Case("as in the README", _PLAIN + "  replicas: 2\n", True),
    Case("an alias", deployment(model={"name": "iris", "alias": "champion"}), True),
    Case("a model with blanks", deployment(model={"name": "my iris", "version": "12"}), True),
    Case("a digest", deployment(image=f"registry.example.com/iris@{DIGEST}"), True),
    Case("tag and digest", deployment(image=f"registry.example.com:5000/iris:1@{DIGEST}"), True),
    Case("a local registry", deployment(image="localhost:5000/iris:1"), True),
    Case("no replicas", deployment(replicas=0), True),
    Case("replicas that are null", deployment(replicas=None), True),
    Case("a template that is null", deployment(template=None), True),
    Case("replicas as a float without a fraction", _PLAIN + "  replicas: 2.0\n", True),
    Case("replicas with an exponent", _PLAIN + "  replicas: 1e1\n", True),
    Case("replicas with underscores", _PLAIN + "  replicas: 1_0\n", True),
    Case("paused: yes", _PLAIN + "  paused: yes\n", True),
    Case("open inference", deployment(server={"openInferenceV2": {"modelName": "iris"}}), True),
    Case("custom", deployment(server={"custom": {"readyPath": "/ready", "predictPath": "/p", "predictBody": "{}"}}), True),
    Case("numbers as quantities", deployment(**limits(cpu=1, memory="1Gi")), True),
    Case("quantities of every kind", deployment(**limits(a="1e3", b="1E", c=".5", d="1.", e="-1", f="500m", g="2Ti")), True),
    Case("labels of one's own", deployment(template={"labels": {"team": "fraud", "example.com/a": ""}}), True),
    Case("two variables", deployment(**env("A", "MY_PYTHONISH")), True),
    Case("tolerations", deployment(template={"tolerations": [{"key": "gpu", "operator": "Exists"}]}), True),
    Case("a status that is not ours", _PLAIN + "status: {replicas: 7}\n", True),
    Case("labels and annotations", deployment(metadata={"labels": {"a": "b"}, "annotations": {"example.com/A": "x y"}}), True),
    Case("a timestamp as an annotation", _PLAIN.replace("{name: iris}", "{name: iris, annotations: {a: 2026-11-25}}"), True),
    Case("a merge key", "x: &m {port: 8080, mlflow: {}}\n" + _PLAIN, False, "x"),
    Case("an unknown field", deployment(replica=2), False, "replica"),
    Case("an unknown field below", deployment(template={"volumez": []}), False, "volumez"),
    Case("an unknown field in a list", deployment(template={"env": [{"name": "A", "valeu": "x"}]}), False, "valeu"),
    Case("a field of another place", deployment(env=[]), False, "spec.env"),
    Case("an unknown field at the root", _PLAIN + "replicas: 2\n", False, "replicas"),
    Case("an unknown field of an empty object", deployment(server={"mlflow": {"port": 1}}), False, "mlflow"),
    Case("an unknown field of the status", _PLAIN + "status: {replica: 7}\n", False, "replica"),
    Case("an unknown field of the metadata", deployment(metadata={"lables": {"a": "b"}}), False, "lables"),
    Case("an unknown protocol", deployment(server={"port": 1, "grpc": {}}), False, "grpc"),
    Case("version and alias", deployment(model={"name": "i", "version": "3", "alias": "c"}), False, "model"),
    Case("neither version nor alias", deployment(model={"name": "iris"}), False, "model"),
    Case("an alias as version", deployment(model={"name": "i", "version": "champion"}), False, "version"),
    Case("a version without quotes", deployment(model={"name": "i", "version": 3}), False, "version"),
    Case("a version with a line break", deployment(model={"name": "i", "version": "3\n"}), False, "version"),
    Case("no model", deployment(model=None), False, "model"),
    Case("no image", deployment(image=None), False, "image"),
    Case("no server", deployment(server=None), False, "server"),
    Case("no protocol", deployment(server={"port": 8080}), False, "server"),
    Case("two protocols", deployment(server={"mlflow": {}, "custom": {"readyPath": "/"}}), False, "server"),
    Case("open inference without a name", deployment(server={"openInferenceV2": {}}), False, "modelName"),
    Case("an empty name", deployment(server={"openInferenceV2": {"modelName": ""}}), False, "modelName"),
    Case("a path that is a URL", deployment(server={"custom": {"readyPath": "http://a/"}}), False, "readyPath"),
    Case("a path with a blank", deployment(server={"custom": {"readyPath": "/a b"}}), False, "readyPath"),
    Case("port 0", deployment(server={"port": 0, "mlflow": {}}), False, "port"),
    Case("port 70000", deployment(server={"port": 70000, "mlflow": {}}), False, "port"),
    Case("a port in quotes", deployment(server={"port": "8080", "mlflow": {}}), False, "port"),
    Case("a port with a fraction", deployment(server={"port": 80.5, "mlflow": {}}), False, "port"),
    Case("an image without a registry", deployment(image="iris"), False, "image"),
    Case("an image with a short digest", deployment(image="registry.example.com/iris@sha256:abc"), False, "image"),
    Case("an image with a line break", deployment(image="registry.example.com/iris:1\n"), False, "image"),
    Case("a long image", deployment(image="registry.example.com/" + "a" * 600), False, "image"),
    Case("negative replicas", deployment(replicas=-1), False, "replicas"),
    Case("a million replicas", deployment(replicas=1_000_000), False, "replicas"),
    Case("replicas as text", deployment(replicas="2"), False, "replicas"),
    Case("replicas that are true", deployment(replicas=True), False, "replicas"),
    Case("paused as text", deployment(paused="true"), False, "paused"),
    Case("PYTHONPATH", deployment(**env("PYTHONPATH")), False, "env"),
    Case("a variable with a blank", deployment(**env("A B")), False, "env"),
    Case("the same variable twice", deployment(**env("A", "A")), False, "env"),
    Case("a variable that is a number", deployment(template={"env": [{"name": "A", "value": 1}]}), False, "value"),
    Case("variables as a map", deployment(template={"env": {"A": "1"}}), False, "env"),
    Case("a quantity in words", deployment(**limits(memory="lots")), False, "memory"),
    Case("an empty quantity", deployment(**limits(memory="")), False, "memory"),
    Case("a quantity with two suffixes", deployment(**limits(memory="1Gim")), False, "memory"),
    Case("a quantity with a blank", deployment(**limits(memory="1 Gi")), False, "memory"),
    Case("a quantity with a fraction and no quotes", deployment(**limits(cpu=0.5)), False, "cpu"),
    Case("a reserved label", deployment(template={"labels": {"lockstep.dev/revision": "a"}}), False, "labels"),
    Case("a label with a blank", deployment(template={"labels": {"team": "a b"}}), False, "labels"),
    Case("no spec", "apiVersion: lockstep.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {name: iris}\n", False, "spec"),
    Case("a spec that is a list", _PLAIN.partition("spec:")[0] + "spec: []\n", False, "spec"),
    Case("a name with a dot", deployment("iris.v2"), False, "metadata.name"),
    Case("a name of 53 characters", deployment("a" * 53), False, "metadata.name"),
    Case("a name in upper case", deployment("Iris"), False, "metadata.name"),
    Case("no name", _NO_NAME, False, "name"),
    Case("a label that is a number", deployment(metadata={"labels": {"a": 1}}), False, "labels"),
    Case("a label that is no label", deployment(metadata={"labels": {"a": "b c"}}), False, "labels"),
    Case("a label's key that is none", deployment(metadata={"labels": {"-a": "b"}}), False, "labels"),
    Case("another version of the API", _PLAIN.replace("v1alpha1", "v1beta7"), False, "apiVersion"),
    Case("no version of the API", _PLAIN.partition("\n")[2], False, "apiVersion"),
    Case("a key twice", _PLAIN + "  replicas: 1\n  replicas: 2\n", False, "replicas", duplicate=True),
)

POLICIES: tuple[Case, ...] = (
    Case("the least", policy(), True),
    Case("lineage", policy(lineage={"require": ["GitCommit", "Dataset"]}), True),
    Case("two signatures", policy(images={"signatures": [RULE | {"keys": [PEM, PEM + "\n"], "threshold": 2}]}), True),
    Case("a required attestation", policy(images={"signatures": [RULE | {"attestation": "Required"}]}), True),
    Case("base images", policy(images={"baseImages": [{"name": "python", "diffIDs": [DIGEST]}]}), True),
    Case("gates in audit", policy(gates=[{"name": "environment", "mode": "Audit"}]), True),
    Case("a signed record", policy(environment={"signature": {"keys": [PEM]}}), True),
    Case("everything of the environment", policy(environment={"startup": "Ignore", "packages": {"unowned": "Deny"}}), True),
    Case("requires", policy(lineage={"requires": ["GitCommit"]}), False, "requires"),
    Case("levels", policy(environment={"packages": {"levels": "Content"}}), False, "levels"),
    Case("a field of another place", policy(packages={"level": "Content"}), False, "spec.packages"),
    Case("an unknown requirement", policy(lineage={"require": ["Git"]}), False, "require"),
    Case("the same requirement twice", policy(lineage={"require": ["Seed", "Seed"]}), False, "require"),
    Case("requirements as one word", policy(lineage={"require": "Seed"}), False, "require"),
    Case("no registry", policy(registry=None), False, "registry"),
    Case("an address without a scheme", policy(registry={"trackingURI": "mlflow:5000"}), False, "trackingURI"),
    Case("credentials in the address", policy(registry={"trackingURI": "http://a:b@mlflow"}), False, "trackingURI"),
    Case("a private key", policy(images={"signatures": [RULE | {"keys": ["-----BEGIN PRIVATE KEY-----"]}]}), False, "keys"),
    Case("no keys", policy(images={"signatures": [RULE | {"keys": []}]}), False, "keys"),
    Case("more signatures than keys", policy(images={"signatures": [RULE | {"threshold": 2}]}), False, "signatures"),
    Case("a rule that requires nothing", policy(images={"signatures": [RULE | {"signature": "Ignore"}]}), False, "signatures"),
    Case("two rules of one name", policy(images={"signatures": [RULE, RULE]}), False, "signatures"),
    Case("more than there are", policy(environment={"signature": {"keys": [PEM], "threshold": 2}}), False, "signature"),
    Case("a base image without layers", policy(images={"baseImages": [{"name": "p", "diffIDs": []}]}), False, "diffIDs"),
    Case("a layer that is no digest", policy(images={"baseImages": [{"name": "p", "diffIDs": ["x"]}]}), False, "diffIDs"),
    Case("a rule for byte code", policy(environment={"bytecode": "Maybe"}), False, "bytecode"),
    Case("an unknown gate", policy(gates=[{"name": "speed", "mode": "Audit"}]), False, "gates"),
    Case("readiness off", policy(gates=[{"name": "readiness", "mode": "Off"}]), False, "gates"),
    Case("one gate twice", policy(gates=[{"name": "image", "mode": "Off"}] * 2), False, "gates"),
    Case("a gate without a mode", policy(gates=[{"name": "image"}]), False, "mode"),
    Case("no requests", policy(readiness={"requests": 0}), False, "requests"),
    Case("a deadline in words", policy(readiness={"deadlineSeconds": "10m"}), False, "deadlineSeconds"),
    Case("a thousand revisions", policy(rollout={"revisionHistoryLimit": 1000}), False, "revisionHistoryLimit"),
)
CASES = DEPLOYMENTS + POLICIES
