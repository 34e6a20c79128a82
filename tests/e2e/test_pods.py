"""What pods may be: variables that run or choose code are refused by name, and nothing but /tmp can be written to."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from examples.demo import kube, platform
from tests.cluster import images
from tests.cluster.wait import until
from tests.e2e.conftest import Served
from tests.e2e.models import Models
from tests.e2e.policies import HASTE, promotion_policy
from tests.e2e.stage import Stage
from tests.e2e.traffic import Traffic

IMAGES = Path(__file__).parent / "images"
STRICT: dict[str, Any] = {
    "environment": {"bytecodeCache": "Fresh", "packages": {"level": "Content", "unowned": "Deny"}},
    "readiness": {"deadlineSeconds": 20},
    "rollout": HASTE,
}


@dataclass
class Governed:
    """A namespace with a strict policy of its own, whose rules about pods can be changed."""

    stage: Stage
    policy: str

    def rules(self, **pods: Any) -> None:
        """Let the policy say this of pods."""
        body = promotion_policy(self.policy, **STRICT, pods=pods)
        kube.apply(json.dumps(body))


@pytest.fixture
def governed(stage: Stage) -> Iterator[Governed]:
    """Make a policy and put the test's namespace under it."""
    made = Governed(stage, f"e2e-pods-{uuid.uuid4().hex[:8]}")
    made.rules()
    kube.kubectl("label", "namespace", stage.namespace, f"lockstep.dev/policy={made.policy}")
    yield made
    kube.kubectl("delete", "promotionpolicy", made.policy)


@pytest.fixture(scope="module")
def shelled(platform_images: platform.PlatformImages, first: Served) -> str:
    """Build the same image with variables that make its shells run a command, and return its reference."""
    tag, reference = "localhost/e2e/tiny:shelled", f"{images.registry()}/e2e/tiny:shelled"
    images.build(tag, IMAGES / "Shell.Dockerfile", IMAGES, {"BASE": "localhost/e2e/tiny:first"})
    images.push(tag, reference)
    return reference


def test_a_variable_that_makes_shells_run_code_is_refused_by_kubectl_apply(
    governed: Governed, models: Models, first: Served
) -> None:
    version = models.register("pods-shellopts", first.document).version
    for variables in ({"SHELLOPTS": "xtrace"}, {"PS4": "$(id)+"}):
        with pytest.raises(kube.CommandFailedError, match="this variable changes which code the server loads"):
            governed.stage.deploy("pods-shellopts", version, first.reference, env=variables)
    assert kube.items("mdep", governed.stage.namespace) == []


def test_a_variable_that_may_choose_code_or_the_model_is_refused_by_name_until_the_policy_names_it(
    governed: Governed, models: Models, first: Served
) -> None:
    stage = governed.stage
    version = models.register("pods-variables", first.document).version
    stage.deploy("pods-variables", version, first.reference, env={"LOG_LEVEL": "debug"})
    serving = stage.promoted()
    stage.deploy(
        "pods-variables", version, first.reference, env={"UVICORN_LOG_CONFIG": "/tmp/x.json", "MODEL_DIR": "/opt/other"}
    )
    message = stage.refused("environment", "VariableNotAllowed")
    assert "UVICORN_LOG_CONFIG chooses code or settings that the server loads" in message
    assert "MODEL_DIR may choose another model than the registered one" in message
    assert "pods.variables.dangerous" in message
    assert stage.status()["active"] == serving
    governed.rules(variables={"allowed": ["*"]})
    stage.refused("environment", "VariableNotAllowed")
    governed.rules(variables={"dangerous": ["UVICORN_LOG_CONFIG", "MODEL_DIR"]})
    assert stage.promoted()["revision"] != serving["revision"]


def test_an_image_whose_own_variables_make_shells_run_code_is_refused_by_name(
    governed: Governed, models: Models, first: Served, shelled: str
) -> None:
    version = models.register("pods-shelled", first.document).version
    governed.stage.deploy("pods-shelled", version, shelled)
    message = governed.stage.refused("environment", "ImageVariableNotAllowed")
    assert "SHELLOPTS makes shells run or read other commands" in message
    governed.rules(variables={"inImages": ["SHELLOPTS", "PS4"]})
    governed.stage.promoted()


def test_a_candidate_is_promoted_with_a_read_only_root_file_system_and_writes_to_tmp(
    governed: Governed, models: Models, first: Served
) -> None:
    governed.rules(variables={"allowed": ["MODE"]}, tmpSizeLimit="100Mi")
    version = models.register("pods-tmp", first.document).version
    governed.stage.deploy("pods-tmp", version, first.reference, env={"MODE": "tmp"})
    active = governed.stage.promoted()
    (pod,) = governed.stage.pods(active["revision"])
    assert pod["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    (volume,) = [volume for volume in pod["spec"]["volumes"] if volume["name"] == "lockstep-tmp"]
    assert volume["emptyDir"] == {"sizeLimit": "100Mi"}
    with Traffic(str(governed.stage.service_address())) as traffic:
        until(lambda: sum(traffic.answers.values()) > 20, 20, "predictions")
    assert traffic.failures == []
    assert set(traffic.answers) == {'{"predictions": ["first"]}'}


def test_an_image_that_writes_elsewhere_is_refused_with_the_knob_and_passes_with_it(
    governed: Governed, models: Models, first: Served
) -> None:
    stage = governed.stage
    governed.rules(variables={"allowed": ["MODE"]})
    version = models.register("pods-data", first.document).version
    stage.deploy("pods-data", version, first.reference, env={"MODE": "good"})
    serving = stage.promoted()
    stage.deploy("pods-data", version, first.reference, env={"MODE": "data"})
    message = stage.refused("readiness", "PodCrashed")
    assert "Read-only file system: '/data/started'" in message
    assert "pods.rootFilesystem: Writable" in message
    assert stage.status()["active"] == serving
    governed.rules(variables={"allowed": ["MODE"]}, rootFilesystem="Writable")
    promoted = stage.promoted()
    assert promoted["revision"] != serving["revision"]
    (pod,) = stage.pods(promoted["revision"])
    assert "readOnlyRootFilesystem" not in pod["spec"]["containers"][0]["securityContext"]


def test_the_status_of_a_policy_says_what_it_leaves_open(governed: Governed) -> None:
    def conditions() -> dict[str, str]:
        found = kube.get("promotionpolicy", governed.policy) or {}
        return {one["type"]: one["reason"] for one in (found.get("status") or {}).get("conditions") or []}

    until(lambda: conditions().get("RepositoriesRestricted") == "RepositoriesListed", 30, "the policy's status")
    kube.kubectl(
        *("patch", "promotionpolicy", governed.policy, "--type=merge", "-p", '{"spec": {"images": {"repositories": ["*"]}}}')
    )
    until(lambda: conditions().get("RepositoriesRestricted") == "AllRepositoriesAllowed", 30, "it says that it is open")
    assert "AllRepositoriesAllowed" in kube.kubectl("get", "ppol", governed.policy)
