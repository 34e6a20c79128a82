"""The story of the demo: one model promoted, one refused by name, and what everybody sees of it."""

import json
import re
import subprocess
import sys
import time
from typing import Any
from urllib.request import urlopen

from examples.demo import build, kube, platform
from examples.demo.narrate import heading, shown, tell
from tests.cluster import images
from tests.cluster.say import step
from tests.cluster.wait import until

NAMESPACE = "demo"
OTHER_SCIKIT_LEARN = "1.8.0"
_COLUMNS = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]
_SAMPLE = json.dumps({"dataframe_split": {"columns": _COLUMNS, "data": [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]}})

_CLIENT = f"""
import sys, urllib.request
headers = {{"Content-Type": "application/json"}}
request = urllib.request.Request("http://iris.{NAMESPACE}/invocations", sys.stdin.buffer.read(), headers)
print(urllib.request.urlopen(request, timeout=10).read().decode())
"""


def tell_the_story(found: platform.PlatformImages) -> None:
    """Train, build, promote, refuse."""
    heading("1. Train a model in a Job; one line of its script is Lockstep's")
    with step("training"):
        version = platform.trained("train-iris", found.mlflow)
    shown("logs", "-n", "mlflow", "job/train-iris", "--tail=3")
    good, other, lock = _images(version)
    promote(version, good)
    refuse(version, other)
    alerted()
    after(version, lock)


def _images(version: str) -> tuple[str, str, str]:
    heading("2. Build two serving images: one from the recorded environment, one with another scikit-learn")
    with kube.forwarded("mlflow", "svc/mlflow", 5000) as url:
        model = build.downloaded_model(url, version)
        lock = locked(url, version)
    trained = re.search(r"^scikit-learn==(\S+)$", lock, re.MULTILINE)
    assert trained is not None, "the lock holds no scikit-learn"
    tell(f"$ lockstep environment lock models:/iris/{version} > environment.lock")
    tell("\n".join(line for line in lock.splitlines() if line.startswith(("#", "numpy", "scikit-learn"))))
    good = build.serving_image("good", lock, model)
    changed = lock.replace(trained[0], f"scikit-learn=={OTHER_SCIKIT_LEARN}")
    other = build.serving_image("other", changed, model)
    tell(f"{good}   scikit-learn {trained[1]}, as trained")
    tell(f"{other}  scikit-learn {OTHER_SCIKIT_LEARN}")
    return good, other, lock


def locked(url: str, version: str) -> str:
    """Return what `lockstep environment lock` prints for a version."""
    command = [
        sys.executable,
        "-m",
        "lockstep.cli.main",
        "environment",
        "lock",
        f"models:/iris/{version}",
        "--tracking-uri",
        url,
    ]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def promote(version: str, image: str) -> None:
    """Apply the image that matches and wait until it serves."""
    heading("3. kubectl apply the image that matches")
    kube.apply(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}}}\n")
    tell(kube.apply(kube.manifest("iris.yaml", {"VERSION": version, "IMAGE": image})).strip())
    started = time.monotonic()
    with step("layers scanned, environments compared, pods audited, traffic switched"):
        until(lambda: _ready("iris"), 240, "iris is promoted", every=0.5)
    tell(f"promoted after {time.monotonic() - started:.0f} s")
    shown("get", "mdep", "-n", NAMESPACE)
    tell("$ curl http://iris.demo/invocations -d '{two flowers}'")
    tell(until(predict, 30, "a prediction"))


def refuse(version: str, image: str) -> None:
    """Apply the image that differs, and show that it is refused by name while the first one keeps answering."""
    heading("4. kubectl apply the image with another scikit-learn")
    tell(kube.apply(kube.manifest("iris.yaml", {"VERSION": version, "IMAGE": image})).strip())
    started = time.monotonic()
    refused = until(_refusal, 120, "iris is refused", every=0.2)
    tell(f"refused after {time.monotonic() - started:.1f} s")
    tell(f"\n  {refused}\n")
    shown("get", "mdep", "-n", NAMESPACE)
    events = ("get", "events", "-n", NAMESPACE, "--field-selector=reason=PromotionBlocked")
    shown(*events, "-o", "custom-columns=TYPE:.type,REASON:.reason,COUNT:.deprecatedCount,NOTE:.message")
    tell("\nThe first one keeps answering:")
    tell(predict())


def alerted() -> None:
    """Show the metric and the alert."""
    heading("5. Prometheus raises the alert")
    with kube.forwarded("monitoring", "svc/prometheus", 9090) as url:
        alert = until(lambda: _alert(url), 90, "the alert is pending or firing", every=1.0) or {}
    labels = alert["labels"]
    whose = f"{labels['namespace']}/{labels['name']}"
    tell(f"{labels['alertname']}: {alert['state']}  ({whose}: {labels['gate']} gate, {labels['reason']})")
    tell(alert["annotations"].get("description", ""))


def after(version: str, lock: str) -> None:
    """Say what to try next."""
    heading("What to try next")
    registry = images.registry()
    tell(f"""eval "$(python3 -m tests.cluster env)"        # kubectl and helm of this cluster
kubectl describe mdep iris -n {NAMESPACE}           # conditions, gates, differences, events
kubectl get promotionrecords -n {platform.SYSTEM}   # the evidence of each decision
kubectl patch mdep iris -n {NAMESPACE} --type merge -p '{{"spec": {{"image": "{registry}/demo/iris:good"}}}}'
kubectl set image deploy --all server=nginx -n {NAMESPACE}   # the guards refuse it, whoever you are
make demo-down                                 # removes everything again""")


def predict() -> str:
    """Ask the Service for two predictions, as a client in the cluster does."""
    client = ("exec", "-i", "-n", "mlflow", "deploy/mlflow", "--", "python", "-c", _CLIENT)
    return kube.kubectl(*client, stdin=_SAMPLE).strip()


def _status(name: str) -> dict[str, Any]:
    found = kube.get("mdep", name, NAMESPACE)
    status: dict[str, Any] = (found or {}).get("status") or {}
    return status


def _ready(name: str) -> bool:
    found = kube.get("mdep", name, NAMESPACE) or {}
    status = found.get("status") or {}
    if status.get("observedGeneration") != found["metadata"]["generation"]:
        return False
    gates = (status.get("candidate") or {}).get("gates") or []
    rejected = [gate for gate in gates if gate["outcome"] == "Rejected"]
    if rejected:
        raise RuntimeError(f"{rejected[0]['name']} gate: {rejected[0]['message']}")
    return any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or [])


def _refusal() -> str | None:
    gates = (_status("iris").get("candidate") or {}).get("gates") or []
    return next((f"{g['name']} gate: {g['message']}" for g in gates if g["outcome"] == "Rejected"), None)


def _alert(url: str) -> dict[str, Any] | None:
    found = fetched(f"{url}/api/v1/alerts")["data"]["alerts"]
    return next((a for a in found if a["labels"]["alertname"] == "LockstepPromotionBlocked"), None)


def fetched(url: str) -> dict[str, Any]:
    """Return the JSON at a URL."""
    with urlopen(url, timeout=10) as response:
        answer: dict[str, Any] = json.load(response)
    return answer
