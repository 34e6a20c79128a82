"""A bad manifest is refused by kubectl apply, with a sentence that says what to write instead."""

import json
from typing import Any

import pytest

from examples.demo import kube
from tests.e2e.stage import Stage

GOOD: dict[str, Any] = {
    "model": {"name": "manifests", "version": "1"},
    "image": "registry.example.com/team/iris:2026-11",
    "server": {"port": 8080, "mlflow": {}},
}


def refusal(stage: Stage, spec: dict[str, Any], name: str = "model") -> str:
    """Apply a manifest and return how it was refused."""
    body = {"apiVersion": "lockstep.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": name}, "spec": spec}
    with pytest.raises(kube.CommandFailedError) as caught:
        kube.kubectl("apply", "-n", stage.namespace, "-f", "-", stdin=json.dumps(body))
    assert kube.items("mdep", stage.namespace) == []
    return str(caught.value)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        pytest.param(
            {"model": {"name": "iris", "version": "3", "alias": "champion"}},
            'set exactly one of model.version (such as "3") and model.alias (such as champion)',
            id="version and alias",
        ),
        pytest.param(
            {"model": {"name": "iris"}},
            'set exactly one of model.version (such as "3") and model.alias (such as champion)',
            id="neither version nor alias",
        ),
        pytest.param(
            {"model": {"name": "iris", "version": "champion"}},
            'write model.version as a number in quotes, such as "3"; an alias goes to model.alias',
            id="an alias as version",
        ),
        pytest.param(
            {"model": {"name": "iris", "version": 3}},
            'spec.model.version in body must be of type string: "integer"',
            id="number",
        ),
        pytest.param({"server": {"grpc": {}}}, 'unknown field "spec.server.grpc"', id="unknown protocol"),
        pytest.param({"server": {"port": 8080}}, "set exactly one of server.mlflow, server.openInferenceV2", id="no protocol"),
        pytest.param(
            {"image": "iris:2026-11"}, "image must be a full reference with registry and repository", id="no registry"
        ),
        pytest.param({"image": "registry.example.com/team/IRIS latest"}, "such as registry.example.com/team/iris", id="image"),
        pytest.param({"replicas": -1}, "spec.replicas in body should be greater than or equal to 0", id="negative replicas"),
        pytest.param(
            {"model": {"name": "i" * 10_000, "version": "3"}},
            "Too long: may not be more than 256",
            id="ten thousand characters",
        ),
        pytest.param({"image": "r" * 10_000}, "Too long: may not be more than 512", id="image of ten thousand characters"),
        pytest.param(
            {"template": {"env": [{"name": "PYTHONPATH", "value": "/x"}]}},
            "this variable changes which code the server loads",
            id="PYTHONPATH",
        ),
    ],
)
def test_a_bad_manifest_is_refused_with_what_to_write_instead(stage: Stage, fault: dict[str, Any], sentence: str) -> None:
    assert sentence in refusal(stage, GOOD | fault)


def test_a_name_that_no_service_can_have_is_refused_with_the_rule(stage: Stage) -> None:
    assert "at most 52 characters" in refusal(stage, GOOD, name="a" * 53)
    assert "must start with a letter" in refusal(stage, GOOD, name="1model")
