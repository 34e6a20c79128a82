"""Images whose files do not say what they start: the kernel of the node shows which environment answers."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from examples.demo import kube, platform
from tests.cluster import images
from tests.e2e.conftest import Served
from tests.e2e.models import Models
from tests.e2e.policies import HASTE, applied
from tests.e2e.stage import Stage

IMAGES = Path(__file__).parent / "images"
OTHER = "/opt/other/bin/python3"

Build = Callable[..., str]


@pytest.fixture(scope="module")
def choosing(platform_images: platform.PlatformImages, first: Served) -> Build:
    """Return what builds an image that chooses when it starts, and gives its reference."""

    def build(tag: str, **arguments: str) -> str:
        local, reference = f"localhost/e2e/tiny:{tag}", f"{images.registry()}/e2e/tiny:{tag}"
        images.build(local, IMAGES / "Choosing.Dockerfile", IMAGES, {"BASE": "localhost/e2e/tiny:first", **arguments})
        images.push(local, reference)
        return reference

    return build


def observers(stage: Stage) -> list[str]:
    """Return how the observers of all pods ended."""
    statuses = [one for pod in stage.pods() for one in pod["status"].get("ephemeralContainerStatuses") or []]
    return [str((one["state"].get("terminated") or {}).get("exitCode")) for one in statuses]


STARTS = {
    "branches": 'if [ -e /etc/choice ]; then exec "$(cat /etc/choice)" /app/server.py; fi',
    "waits": '"$(cat /etc/choice)" /app/server.py & wait',
    "path": 'PATH="$(dirname "$(cat /etc/choice)"):$PATH"; export PATH; exec python3 -u /app/server.py',
    "cleared": 'exec env -i PATH=/usr/bin:/bin "$(cat /etc/choice)" /app/server.py',
    "login": "exec bash -lc 'exec \"$(cat /etc/choice)\" /app/server.py'",
    "perl": 'exec perl -e \'open(F, "/etc/choice"); chomp($p = <F>); exit(system($p, "/app/server.py") >> 8)\'',
}
"""Ways to start a server that its files do not tell, each with a choice of two interpreters."""


def test_what_answers_is_seen_however_it_is_started(choosing: Build, stage: Stage, models: Models, first: Served) -> None:
    version = models.register("observed", first.document).version
    for start, script in STARTS.items():
        stage.deploy("observed", version, choosing(f"{start}-right", SCRIPT=script), name=f"{start}-right")
        stage.deploy("observed", version, choosing(f"{start}-decoy", SCRIPT=script, CHOICE=OTHER), name=f"{start}-decoy")
    for start in STARTS:
        name = f"{start}-right"
        stage.promoted(name)
        message = stage.condition("EnvironmentMatched", name)["message"]
        assert f"; observed: pod {name}-" in message
        assert ", /usr/bin/python3" in message
    for start in STARTS:
        name = f"{start}-decoy"
        message = stage.refused("environment", "EnvironmentMismatch", name)
        assert f"{OTHER}: " in message
        assert "acme-features" in message
        assert stage.service_address(name) is None
    assert set(observers(stage)) == {"0"}


def test_what_is_installed_at_the_start_is_refused_by_name(
    choosing: Build, stage: Stage, models: Models, first: Served
) -> None:
    version = models.register("observed-install", first.document).version
    late = "mkdir -p /tmp/late/acme_late-3.0.dist-info; export PYTHONPATH=/tmp/late"
    reference = choosing("choosing-late", SCRIPT=f"{late}; {STARTS['branches']}")
    stage.deploy("observed-install", version, reference)
    message = stage.refused("environment", "CodeNotOfImage")
    assert "acme_late 3.0 was installed into /tmp/late since the start" in message


def test_a_server_whose_start_is_known_is_seen_where_the_policy_requires_it(
    stage: Stage, models: Models, first: Served
) -> None:
    version = models.register("observed-required", first.document).version
    with applied(environment={"observed": "Required"}, rollout=HASTE) as policy:
        labels = ["lockstep.dev/policy=" + policy, "pod-security.kubernetes.io/enforce=baseline"]
        kube.kubectl("label", "namespace", stage.namespace, *labels)
        stage.deploy("observed-required", version, first.reference)
        stage.promoted()
        assert "; observed: pod model-" in stage.condition("EnvironmentMatched")["message"]


def test_nobody_else_adds_a_container_of_that_name(stage: Stage, models: Models, first: Served) -> None:
    version = models.register("observed-forged", first.document).version
    stage.deploy("observed-forged", version, first.reference)
    stage.promoted()
    (pod, *_) = stage.pods()
    container = {"name": "lockstep-observer", "image": first.reference, "targetContainerName": "server"}
    patch = json.dumps({"spec": {"ephemeralContainers": [container]}})
    name = str(pod["metadata"]["name"])
    with pytest.raises(Exception, match="ephemeral containers"):
        stage.kubectl("patch", "pod", name, "--subresource=ephemeralcontainers", "--type=strategic", "-p", patch)
