"""The ModelDeployment as the operator reads it: names, bounds, and what is refused without the API server's help."""

from typing import Any

import pytest
from pydantic import ValidationError

from lockstep.api.modeldeployment import (
    CandidateStatus,
    ModelDeployment,
    ModelDeploymentSpec,
    ModelDeploymentStatus,
    RevisionStatus,
)
from tests.fakes import builders as build

MANIFEST: dict[str, Any] = {
    "model": {"name": "iris", "version": "3"},
    "image": "registry.example.com/team/iris:2026-11",
    "server": {"mlflow": {}},
}


def test_the_smallest_manifest_has_the_documented_defaults() -> None:
    spec = ModelDeploymentSpec.model_validate(MANIFEST)
    assert (spec.replicas, spec.server.port, spec.service.port, spec.paused, spec.retry) == (1, 8080, 80, False, 0)
    assert spec.template.termination_grace_period_seconds == 60
    assert spec.readiness.requests is None


def test_a_spec_is_written_in_the_apis_names_and_read_back() -> None:
    spec = build.spec(server={"port": 9000, "openInferenceV2": {"modelName": "iris"}}, template={"serviceAccountName": "model"})
    payload = spec.payload()
    assert payload["server"] == {"port": 9000, "openInferenceV2": {"modelName": "iris"}}
    assert payload["template"]["serviceAccountName"] == "model"
    assert ModelDeploymentSpec.model_validate(payload) == spec


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("model", None),
        ("model", {"name": "iris"}),
        ("model", {"name": "iris", "version": "3", "alias": "champion"}),
        ("model", {"name": "iris", "version": "champion"}),
        ("model", {"name": "iris", "version": 3}),
        ("model", {"name": "", "version": "3"}),
        ("image", None),
        ("image", ""),
        ("image", "r" * 513),
        ("server", None),
        ("server", {}),
        ("server", {"mlflow": {}, "openInferenceV2": {"modelName": "iris"}}),
        ("server", {"port": 0, "mlflow": {}}),
        ("server", {"port": 65536, "mlflow": {}}),
        ("server", {"openInferenceV2": {}}),
        ("server", {"custom": {"readyPath": "ready"}}),
        ("server", {"custom": {"readyPath": "/ready?x=1"}}),
        ("replicas", -1),
        ("replicas", 1001),
        ("retry", -1),
        ("service", {"port": 0}),
        ("readiness", {"requests": 0}),
        ("readiness", {"deadlineSeconds": 9}),
        ("template", {"env": [{"name": "not a name"}]}),
        ("template", {"env": [{"name": "A", "value": "v" * 4097}]}),
        ("template", {"env": [{"name": f"A{n}"} for n in range(65)]}),
        ("template", {"labels": {"team": "not a value"}}),
        ("template", {"labels": {"team": "v" * 64}}),
        ("template", {"terminationGracePeriodSeconds": 0}),
        ("template", {"tolerations": [{"tolerationSeconds": -1}]}),
        ("template", {"imagePullSecrets": [""]}),
    ],
)
def test_a_bad_value_is_refused(part: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        ModelDeploymentSpec.model_validate(MANIFEST | {part: value})


def test_numbers_are_quantities_too() -> None:
    spec = build.spec(template={"resources": {"limits": {"cpu": 1, "memory": "1Gi"}}})
    assert spec.template.resources.limits == {"cpu": "1", "memory": "1Gi"}


def test_a_spec_can_not_be_changed() -> None:
    with pytest.raises(ValidationError):
        build.spec().replicas = 5  # type: ignore[misc]


def test_fields_of_a_newer_version_are_ignored() -> None:
    assert ModelDeploymentSpec.model_validate(MANIFEST | {"traffic": {"percent": 5}}) == ModelDeploymentSpec.model_validate(
        MANIFEST
    )


def test_an_object_is_read_as_the_api_server_returns_it() -> None:
    raw = {
        "metadata": {
            "name": "iris",
            "namespace": "team",
            "uid": build.UID,
            "generation": 3,
            "resourceVersion": "42",
            "deletionTimestamp": "2026-11-20T12:00:00Z",
        },
        "spec": MANIFEST,
        "status": {"active": {"revision": "r1", "runID": build.RUN}},
    }
    found = ModelDeployment.from_object(raw)
    assert (found.name, found.namespace, found.uid, found.generation) == ("iris", "team", build.UID, 3)
    assert found.status.active == RevisionStatus(revision="r1", run_id=build.RUN)


def test_a_manifest_without_a_namespace_or_status_is_read_too() -> None:
    found = ModelDeployment.from_object({"metadata": {"name": "iris"}, "spec": MANIFEST})
    assert (found.namespace, found.generation) == ("default", 0)
    assert found.status == ModelDeploymentStatus()


def test_a_status_is_written_in_the_apis_names_and_read_back() -> None:
    candidate = CandidateStatus(revision="r1", run_id=build.RUN, image_digest=build.DIGEST, pods_since=build.NOW, final=True)
    status = ModelDeploymentStatus(candidate=candidate, observed_generation=2)
    payload = status.payload()
    assert payload["candidate"]["runID"] == build.RUN
    assert payload["candidate"]["podsSince"] == "2026-11-20T12:00:00Z"
    assert "active" not in payload
    assert ModelDeploymentStatus.model_validate(payload) == status


@pytest.mark.parametrize("digest", ["sha256:" + "A" * 64, "sha512:" + "a" * 64, "a" * 64, "sha256:" + "a" * 63])
def test_a_digest_is_a_sha256(digest: str) -> None:
    with pytest.raises(ValidationError):
        RevisionStatus(image_digest=digest)
