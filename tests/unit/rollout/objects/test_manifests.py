"""The objects that are rendered have every default of the API server, so that a stored one equals the desired one."""

import json
from typing import Any

import pytest

from lockstep.api.podtemplate import PodTemplate
from lockstep.api.server import Server
from lockstep.rollout.objects import manifests
from lockstep.rollout.objects.drift import budget_drift, deployment_drift, difference
from lockstep.rollout.objects.revision import Snapshot
from lockstep.rollout.objects.service import service_drift
from tests.fakes import builders as build
from tests.fakes import live
from tests.fakes.live import snapshot

FULL = PodTemplate.model_validate(
    {
        "labels": {"team": "a"},
        "env": [{"name": "WORKERS", "value": "2"}, {"name": "EMPTY"}],
        "resources": {"limits": {"cpu": "0.5", "memory": "1Gi"}, "requests": {"cpu": "0.25"}},
        "serviceAccountName": "model",
        "imagePullSecrets": ["pull"],
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}, {"key": "a", "value": "", "tolerationSeconds": 0}],
        "priorityClassName": "high",
    }
)
SERVERS = [
    {"port": 8080, "mlflow": {}},
    {"port": 9000, "openInferenceV2": {"modelName": "iris"}},
    {"port": 80, "custom": {"readyPath": "/ready"}},
]


@pytest.mark.parametrize("template", [PodTemplate(), FULL], ids=["bare", "full"])
@pytest.mark.parametrize("server", SERVERS, ids=["mlflow", "v2", "custom"])
@pytest.mark.parametrize("drain", [0, 10])
@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("tmp", [None, "2Gi", "2048Mi"])
def test_a_deployment_as_the_api_server_returns_it_has_not_drifted(
    template: PodTemplate, server: dict[str, Any], drain: int, fresh: bool, tmp: str | None
) -> None:
    parsed = Server.model_validate(server)
    of = snapshot(template=template, server=parsed, pre_stop_sleep_seconds=drain, fresh_bytecode=fresh, tmp_size_limit=tmp)
    desired = manifests.deployment(build.owner(), of, replicas=2, paused=True)
    stored = live.deployment(build.owner(), of)
    assert deployment_drift(desired, stored) is None
    pods = desired["spec"]["template"]["spec"]
    assert difference(pods, live.defaulted_pod_spec(pods), "spec") is None


def test_a_service_and_a_budget_as_the_api_server_returns_them_have_not_drifted() -> None:
    owner, of = build.owner(), snapshot()
    assert service_drift(manifests.service(owner, of), live.service(owner, of)) is None
    assert budget_drift(manifests.disruption_budget(owner, of.revision), live.budget(owner, of)) is None


@pytest.mark.parametrize(("server", "path"), list(zip(SERVERS, ["/ping", "/v2/models/iris/ready", "/ready"], strict=True)))
def test_the_kubelet_asks_where_the_model_says_that_it_is_loaded(server: dict[str, Any], path: str) -> None:
    of = snapshot(server=Server.model_validate(server))
    probe = manifests.pod_spec(of)["containers"][0]["readinessProbe"]["httpGet"]
    assert (probe["path"], probe["port"]) == (path, server["port"])


def test_the_kubelet_and_the_audit_ask_the_same_path_whatever_the_models_name() -> None:
    server = Server.model_validate({"port": 8080, "openInferenceV2": {"modelName": "team/iris v2"}})
    probe = container(snapshot(server=server))["readinessProbe"]["httpGet"]
    assert probe["path"] == server.ready_path == "/v2/models/team%2Firis%20v2/ready"


def test_a_revision_keeps_the_probe_that_it_was_made_with() -> None:
    server = Server.model_validate({"port": 8080, "openInferenceV2": {"modelName": "team/iris"}})
    pod = manifests.pod_spec(snapshot(server=server))
    pod["containers"][0]["readinessProbe"]["httpGet"]["path"] = "/v2/models/team/iris/ready"
    assert container(snapshot(server=server, pod=pod))["readinessProbe"]["httpGet"]["path"] == "/v2/models/team/iris/ready"


def container(of: Snapshot) -> dict[str, Any]:
    found: dict[str, Any] = manifests.pod_spec(of)["containers"][0]
    return found


def test_a_pod_runs_the_pinned_digest_alone() -> None:
    pods = manifests.pod_spec(snapshot(template=FULL))
    assert [c["image"] for c in pods["containers"]] == [f"{build.REPOSITORY}@{build.DIGEST}"]
    assert "initContainers" not in pods
    assert pods["nodeSelector"]["kubernetes.io/arch"] == "amd64", "only that platform was scanned"


def test_the_user_can_not_choose_another_architecture() -> None:
    template = PodTemplate.model_validate({"nodeSelector": {"kubernetes.io/arch": "arm64", "kubernetes.io/os": "windows"}})
    chosen = manifests.pod_spec(snapshot(template=template))["nodeSelector"]
    assert chosen == {"kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux"}


def test_the_user_can_not_set_a_reserved_label() -> None:
    template = PodTemplate.model_validate({"labels": {"lockstep.dev/revision": "active"}})
    of = snapshot(template=template)
    with_pod_spec = manifests.deployment(build.owner(), of, replicas=1, paused=False)
    assert with_pod_spec["spec"]["template"]["metadata"]["labels"]["lockstep.dev/revision"] == of.revision


def test_a_drain_comes_on_top_of_the_time_that_the_server_has_for_ending() -> None:
    of = snapshot()
    assert manifests.pod_spec(of)["terminationGracePeriodSeconds"] == 70
    assert container(of)["lifecycle"] == {"preStop": {"sleep": {"seconds": 10}}}
    assert "lifecycle" not in container(snapshot(pre_stop_sleep_seconds=0))


def test_byte_code_is_compiled_anew_into_an_empty_directory_where_policy_says_so() -> None:
    pods = manifests.pod_spec(snapshot(template=FULL, fresh_bytecode=True))
    (mount,) = pods["containers"][0]["volumeMounts"]
    assert pods["containers"][0]["env"][-1] == {"name": "PYTHONPYCACHEPREFIX", "value": mount["mountPath"]}
    assert pods["volumes"] == [{"name": mount["name"], "emptyDir": {"sizeLimit": "2Gi"}}]
    plain = manifests.pod_spec(snapshot(template=FULL))
    assert "volumes" not in plain
    assert "volumeMounts" not in plain["containers"][0]


@pytest.mark.parametrize("fresh", [True, False])
def test_under_a_read_only_root_file_system_tmp_is_an_empty_directory_of_bounded_size(fresh: bool) -> None:
    pods = manifests.pod_spec(snapshot(tmp_size_limit="500Mi", fresh_bytecode=fresh))
    server = pods["containers"][0]
    assert server["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True}
    mount = next(mount for mount in server["volumeMounts"] if mount["mountPath"] == "/tmp")
    assert {"name": mount["name"], "emptyDir": {"sizeLimit": "500Mi"}} in pods["volumes"]
    assert len(pods["volumes"]) == len(server["volumeMounts"]) == (2 if fresh else 1)


def test_a_writable_root_file_system_brings_no_directory_along() -> None:
    pods = manifests.pod_spec(snapshot())
    assert "volumes" not in pods
    assert "readOnlyRootFilesystem" not in pods["containers"][0]["securityContext"]


def test_a_token_is_mounted_only_where_a_service_account_was_asked_for() -> None:
    assert manifests.pod_spec(snapshot())["automountServiceAccountToken"] is False
    assert manifests.pod_spec(snapshot(template=FULL))["automountServiceAccountToken"] is True


def test_service_deployment_and_budget_select_the_pods_of_one_revision() -> None:
    owner, of = build.owner(), snapshot()
    wanted = {"lockstep.dev/model-deployment": "iris", "lockstep.dev/revision": of.revision}
    with_pod_spec = manifests.deployment(owner, of, replicas=1, paused=False)
    assert with_pod_spec["spec"]["selector"]["matchLabels"] == wanted
    assert manifests.service(owner, of)["spec"]["selector"] == wanted
    assert manifests.disruption_budget(owner, of.revision)["spec"]["selector"]["matchLabels"] == wanted
    assert wanted.items() <= with_pod_spec["spec"]["template"]["metadata"]["labels"].items()


def test_all_objects_belong_to_the_model_deployment() -> None:
    owner, of = build.owner(), snapshot()
    for body in (
        manifests.deployment(owner, of, replicas=1, paused=False),
        manifests.service(owner, of),
        manifests.disruption_budget(owner, of.revision),
        manifests.controller_revision(owner, of),
    ):
        (reference,) = body["metadata"]["ownerReferences"]
        assert (reference["uid"], reference["controller"]) == (build.UID, True)
        assert body["metadata"]["namespace"] == "team"


def test_only_a_completed_deployment_is_paused() -> None:
    owner, of = build.owner(), snapshot()
    assert manifests.deployment(owner, of, replicas=1, paused=True)["spec"]["paused"] is True
    assert "paused" not in manifests.deployment(owner, of, replicas=1, paused=False)["spec"]


def test_a_controller_revision_holds_the_whole_snapshot() -> None:
    body = manifests.controller_revision(build.owner(), snapshot(template=FULL))
    assert Snapshot.parse(json.loads(body["data"]["snapshot"])) == snapshot(template=FULL)
