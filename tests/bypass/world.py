"""Sets up what all attempts share: the node, the platform, policies, two models with their images, and a stranger."""

import json

from examples.demo import build, kube, platform, story
from lockstep.environment.document import EnvironmentDocument
from tests.bypass.scene import Good, World
from tests.cluster import images, node
from tests.cluster.say import step
from tests.cluster.wait import until
from tests.e2e.conftest import build_served
from tests.e2e.models import Models
from tests.e2e.policies import promotion_policy

NAMESPACE = "bypass-strangers"
_FAST = {"scaleDownDelaySeconds": 5, "preStopSleepSeconds": 2}
_READINESS = {"requests": 3, "deadlineSeconds": 180}

_STRANGER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'stranger')
http.server.ThreadingHTTPServer(('', 8080), Handler).serve_forever()
"""


def made() -> World:
    """Start the node where it is not running, and put everything there."""
    node.up()
    found = platform.build_images()
    platform.install(found)
    with step("policies for the attempts"):
        for policy in _policies():
            kube.apply(json.dumps(policy))
    with step("a trained model, and the image that serves it"):
        iris = _iris(found)
    service = kube.get("service", "mlflow", "mlflow") or {}
    models = Models(f"http://{service['spec']['clusterIP']}:5000")
    with step("a small model, and the image that serves it"):
        tiny, document = _tiny(models)
    return World(iris, tiny, models, document, _stranger())


def _policies() -> list[dict[str, object]]:
    pods = {"exec": "Deny", "variables": {"allowed": ["MODE"]}}
    return [
        _policy("bypass-standard", {"pods": pods}),
        _policy("bypass-open", {"images": {"repositories": ["*"]}}),
        _policy(
            "bypass-strict",
            {
                "images": {"repositories": [f"{images.registry()}/*"], "modelInImage": "Required"},
                "environment": {"packages": {"level": "Content", "unowned": "Deny"}, "bytecodeCache": "Fresh"},
                "pods": pods,
            },
        ),
    ]


def _policy(name: str, parts: dict[str, object]) -> dict[str, object]:
    return promotion_policy(name, **{"readiness": _READINESS, "rollout": _FAST, **parts})


def _iris(found: platform.PlatformImages) -> Good:
    version = platform.trained("train-bypass", found.mlflow)
    with kube.forwarded("mlflow", "svc/mlflow", 5000) as url:
        model = build.downloaded_model(url, version)
        lock = story.locked(url, version)
    reference = build.serving_image("bypass", lock, model)
    return Good("iris", version, reference, '{"predictions": [0]}', "localhost/demo/iris:bypass")


def _tiny(models: Models) -> tuple[Good, EnvironmentDocument]:
    served = build_served("bypass")
    made = models.register("bypass-tiny", served.document)
    return Good(made.name, made.version, served.pinned, '{"predictions": ["first"]}'), served.document


def _stranger() -> str:
    """Start a pod that answers everything with `stranger` and return its address."""
    kube.apply(json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}))
    served = f"{images.registry()}/e2e/tiny:bypass"
    container = {"name": "stranger", "image": served, "command": ["python3", "-c", _STRANGER]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "stranger", "namespace": NAMESPACE},
        "spec": {"containers": [container]},
    }
    kube.apply(json.dumps(pod))
    return until(lambda: _address(), 60, "the stranger has an address") or ""


def _address() -> str | None:
    status = (kube.get("pod", "stranger", NAMESPACE) or {}).get("status") or {}
    address: str | None = status.get("podIP")
    return address if status.get("phase") == "Running" else None
