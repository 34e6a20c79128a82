"""What pods show, and how one that is not what was asked for is found out."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from lockstep.api.podtemplate import PodTemplate
from lockstep.rollout.observed.pods import controlled_by, is_edited, pod_fact, tampering
from tests.fakes import builders as build
from tests.fakes import live
from tests.fakes.live import snapshot

TEMPLATE = PodTemplate.model_validate(
    {"env": [{"name": "WORKERS", "value": "2"}, {"name": "EMPTY"}], "resources": {"limits": {"cpu": "0.5"}}}
)
OF = snapshot(template=TEMPLATE)
Object = dict[str, Any]


def running() -> Object:
    return live.pod(live.replica_set(live.deployment(build.owner(), OF)), "iris-1")


def test_a_pod_as_the_node_runs_it_is_the_pod_that_was_asked_for() -> None:
    assert tampering(running(), OF) is None
    fact = pod_fact(running(), OF)
    assert fact == build.pod("iris-1", unchanged=True)


def server(pod: Object) -> Object:
    found: Object = pod["spec"]["containers"][0]
    return found


CHANGES: list[tuple[str, Callable[[Object], Any], str]] = [
    ("another image", lambda p: server(p).update(image="evil"), "its image is evil, asked for was"),
    ("a command", lambda p: server(p).update(command=["sh"]), "its command is another value"),
    ("arguments", lambda p: server(p).update(args=["-c"]), "its args is another value"),
    ("another variable", lambda p: server(p)["env"].append({"name": "PYTHONPATH", "value": "s3cret"}), "PYTHONPATH"),
    ("a changed variable", lambda p: server(p)["env"][0].update(value="s3cret"), "its env is WORKERS, EMPTY"),
    ("variables from elsewhere", lambda p: server(p).update(envFrom=[{"secretRef": {"name": "s3cret"}}]), "its envFrom is"),
    ("a working directory", lambda p: server(p).update(workingDir="/tmp"), "its workingDir is /tmp, asked for was unset"),
    ("a hook", lambda p: server(p)["lifecycle"].update(postStart={"exec": {"command": ["sh"]}}), "its lifecycle"),
    ("a probe that runs a command", lambda p: server(p).update(livenessProbe={"exec": {"command": ["sh"]}}), "livenessProbe"),
    ("a start-up probe", lambda p: server(p).update(startupProbe={"exec": {"command": ["sh"]}}), "startupProbe"),
    (
        "a readiness probe that runs a command",
        lambda p: server(p).update(readinessProbe={"exec": {"command": ["sh"]}}),
        "readinessProbe runs a command",
    ),
    ("a mount", lambda p: server(p)["volumeMounts"].append({"name": "v", "mountPath": "/usr/lib/python3"}), "/usr/lib/python3"),
    ("a device", lambda p: server(p).update(volumeDevices=[{"name": "v", "devicePath": "/dev/x"}]), "volumeDevices"),
    ("a sidecar", lambda p: p["spec"]["containers"].append({"name": "sidecar"}), "server, sidecar instead of server alone"),
    ("an init container", lambda p: p["spec"].update(initContainers=[{"name": "copy"}]), "initContainers (copy)"),
    ("a debugger", lambda p: p["spec"].update(ephemeralContainers=[{"name": "debug"}]), "ephemeralContainers (debug)"),
    ("no container", lambda p: p["spec"].update(containers=[]), "instead of server alone"),
    ("the node's processes", lambda p: p["spec"].update(hostPID=True), "hostPID"),
    ("shared processes", lambda p: p["spec"].update(shareProcessNamespace=True), "shareProcessNamespace"),
]


@pytest.mark.parametrize(("change", "says"), [case[1:] for case in CHANGES], ids=[case[0] for case in CHANGES])
def test_a_changed_pod_is_found_out_and_no_value_of_a_variable_is_told(change: Callable[[Object], Any], says: str) -> None:
    pod = running()
    change(pod)
    how = tampering(pod, OF)
    assert how is not None
    assert says in how
    assert "s3cret" not in how
    assert pod_fact(pod, OF).tampered == how


LATER = [("another image", {"generation": 2}), ("a debugger", {})]


@pytest.mark.parametrize(("change", "generation"), LATER, ids=[case[0] for case in LATER])
def test_what_was_changed_later_would_be_right_in_another_pod(change: str, generation: Object) -> None:
    pod = running()
    dict((name, act) for name, act, _ in CHANGES)[change](pod)
    pod["metadata"] |= generation
    assert is_edited(pod, OF)
    server(pod)["env"] = [*server(pod)["env"], {"name": "AWS_ROLE_ARN", "value": "x"}]
    assert not is_edited(pod, OF), "no other pod would be without the variable, which nobody can add later"


@pytest.mark.parametrize("generation", [None, 1])
def test_an_image_that_was_another_one_from_the_beginning_would_be_so_again(generation: int | None) -> None:
    pod = running()
    server(pod).update(image="mirror.example.com/iris")
    pod["metadata"]["generation"] = generation
    assert not is_edited(pod, OF)


@pytest.mark.parametrize(("generation", "unchanged"), [(1, True), (2, False), (None, False)])
def test_the_api_server_vouches_for_a_pod_that_was_never_changed(generation: int | None, unchanged: bool) -> None:
    assert facts(lambda p: p["metadata"].update(generation=generation)).unchanged is unchanged


def test_what_the_scheduler_and_admission_add_to_every_pod_is_no_change() -> None:
    pod = running()
    pod["spec"] |= {
        "nodeName": "node-2",
        "priority": 0,
        "serviceAccountName": "default",
        "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "tolerationSeconds": 300}],
    }
    assert tampering(pod, OF) is None


def facts(change: Callable[[Object], Any]) -> Any:
    pod = running()
    change(pod)
    return pod_fact(pod, OF)


def test_a_pod_without_a_status_is_pending() -> None:
    fact = facts(lambda p: p.pop("status"))
    assert (fact.phase, fact.ready, fact.image_id, fact.restarts) == ("Pending", False, "", 0)


def test_a_pod_that_finds_no_room_says_why() -> None:
    condition = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}
    assert facts(lambda p: p["status"].update(conditions=[condition])).unschedulable == "0/3 nodes are available"


def status(**parts: Any) -> Callable[[Object], None]:
    return lambda p: p["status"]["containerStatuses"][0].update(parts)


def test_why_a_container_waits_is_told() -> None:
    fact = facts(status(state={"waiting": {"reason": "ImagePullBackOff", "message": "403"}}))
    assert (fact.waiting_reason, fact.waiting_message) == ("ImagePullBackOff", "403")


def test_how_a_container_ended_is_told_with_the_servers_last_words() -> None:
    ended = {"terminated": {"reason": "Error", "exitCode": 1, "message": "Traceback\nImportError: no libgomp\n\n"}}
    for fact in (facts(status(restartCount=1, state=ended)), facts(status(restartCount=1, state={}, lastState=ended))):
        assert fact.terminated_reason == "Error: ImportError: no libgomp"
        assert (fact.exit_code, fact.restarts) == (1, 1)


def test_a_server_that_said_nothing_has_only_its_reason() -> None:
    assert facts(status(state={"terminated": {"reason": "OOMKilled", "exitCode": 137}})).terminated_reason == "OOMKilled"


def test_only_the_controller_of_an_object_controls_it() -> None:
    pod = running()
    (reference,) = pod["metadata"]["ownerReferences"]
    assert controlled_by(pod, reference["uid"])
    assert not controlled_by(pod, "another")
    only_owned = copy.deepcopy(pod)
    del only_owned["metadata"]["ownerReferences"][0]["controller"]
    assert not controlled_by(only_owned, reference["uid"])
    del only_owned["metadata"]["ownerReferences"]
    assert not controlled_by(only_owned, reference["uid"])


FRESH = snapshot(fresh_bytecode=True)


def running_fresh() -> Object:
    return live.pod(live.replica_set(live.deployment(build.owner(), FRESH)), "iris-1")


def test_the_directory_for_byte_code_that_was_asked_for_is_no_tampering() -> None:
    assert tampering(running_fresh(), FRESH) is None
    assert "PYTHONPYCACHEPREFIX" in str(tampering(running_fresh(), OF))


def test_another_volume_in_the_place_of_the_one_for_byte_code_is_found_out() -> None:
    pod = running_fresh()
    name = next(m["name"] for m in server(pod)["volumeMounts"] if m["mountPath"].endswith("bytecode"))
    pod["spec"]["volumes"] = [{"name": name, "persistentVolumeClaim": {"claimName": "evil"}}]
    assert tampering(pod, FRESH) == f"its volume {name} is another one"


def test_a_mount_for_byte_code_that_leads_elsewhere_or_is_missing_is_found_out() -> None:
    moved, missing = running_fresh(), running_fresh()
    for mount in server(moved)["volumeMounts"]:
        mount["subPath"] = "other"
    assert "something is mounted at" in str(tampering(moved, FRESH))
    server(missing)["volumeMounts"] = []
    assert "nothing is mounted at" in str(tampering(missing, FRESH))


READ_ONLY = snapshot(tmp_size_limit="2Gi")


def running_read_only() -> Object:
    return live.pod(live.replica_set(live.deployment(build.owner(), READ_ONLY)), "iris-1")


def test_a_read_only_pod_is_the_pod_that_was_asked_for() -> None:
    assert tampering(running_read_only(), READ_ONLY) is None


LOOSENED: list[tuple[str, Callable[[Object], Any], str]] = [
    (
        "writable",
        lambda p: server(p)["securityContext"].pop("readOnlyRootFilesystem"),
        "securityContext.readOnlyRootFilesystem",
    ),
    ("switched off", lambda p: server(p)["securityContext"].update(readOnlyRootFilesystem=False), "readOnlyRootFilesystem"),
    (
        "none at all",
        lambda p: server(p).pop("securityContext"),
        "securityContext.allowPrivilegeEscalation, securityContext.read",
    ),
    ("privileged", lambda p: server(p)["securityContext"].update(privileged=True), "its securityContext.privileged is not"),
    (
        "more capabilities",
        lambda p: server(p)["securityContext"].update(capabilities={"add": ["SYS_ADMIN"]}),
        "its securityContext.capabilities.add is not what was asked for",
    ),
    ("nothing at /tmp", lambda p: server(p).update(volumeMounts=[]), "nothing is mounted at /tmp"),
    (
        "a host's directory at /tmp",
        lambda p: p["spec"].update(volumes=[{"name": "lockstep-tmp", "hostPath": {"path": "/opt/e"}}]),
        "its volume lockstep-tmp is another one",
    ),
]


@pytest.mark.parametrize(("change", "says"), [case[1:] for case in LOOSENED], ids=[case[0] for case in LOOSENED])
def test_a_pod_that_admission_has_loosened_is_found_out(change: Callable[[Object], Any], says: str) -> None:
    pod = running_read_only()
    change(pod)
    assert says in str(tampering(pod, READ_ONLY))


def test_users_groups_and_labels_that_a_cluster_assigns_are_no_tampering() -> None:
    pod = running_read_only()
    pod["spec"]["securityContext"] |= {"fsGroup": 1000650000, "seLinuxOptions": {"level": "s0:c26,c5"}}
    server(pod)["securityContext"] |= {"runAsUser": 1000650000, "runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}}
    assert tampering(pod, READ_ONLY) is None


def test_last_words_about_a_read_only_file_system_are_recognised_wherever_they_stand() -> None:
    text = "OSError: [Errno 30] Read-only file system: '/app/x'\nworker exited\n"
    ended = {"terminated": {"reason": "Error", "exitCode": 1, "message": text}}
    fact = facts(status(restartCount=1, state=ended))
    assert fact.read_only
    assert fact.terminated_reason == "Error: worker exited"
    assert not facts(status(restartCount=1, state={"terminated": {"reason": "Error", "exitCode": 1}})).read_only
