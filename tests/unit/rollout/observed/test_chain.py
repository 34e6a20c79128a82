"""Whose a ReplicaSet or a pod is, by controller and name."""

import pytest

from lockstep.rollout.observed.chain import controller_of, is_named_after, is_pod_of, is_replica_set_of
from tests.fakes import builders as build
from tests.fakes import live

DEPLOYMENT = live.deployment(build.owner(), live.snapshot())
NAME = str(DEPLOYMENT["metadata"]["name"])
LONG = live.deployment(build.owner(), live.snapshot(name="a" * 52))


def test_a_replica_set_that_the_deployment_controls_or_has_let_go_of_is_its_own() -> None:
    made = live.replica_set(DEPLOYMENT)
    assert is_replica_set_of(made, DEPLOYMENT)
    made["metadata"] |= {"ownerReferences": [], "labels": {}}
    assert is_replica_set_of(made, DEPLOYMENT)
    made["metadata"]["ownerReferences"] = [{"kind": "Deployment", "uid": "another", "controller": True}]
    assert not is_replica_set_of(made, DEPLOYMENT)


@pytest.mark.parametrize(
    "name", ["stranger", f"{NAME}", f"{NAME}-", f"{NAME}-a-b", f"{NAME}-{'a' * 11}", f"{NAME}-A", f"x{NAME}-a"]
)
def test_a_forged_owner_under_another_name_is_none(name: str) -> None:
    assert not is_named_after(name, NAME)
    assert not is_replica_set_of(live.replica_set(DEPLOYMENT, name), DEPLOYMENT)


@pytest.mark.parametrize("deployment", [DEPLOYMENT, LONG], ids=["short", "long"])
def test_a_pod_is_its_replica_sets_by_controller_and_name(deployment: live.Object) -> None:
    made = live.replica_set(deployment)
    # As the API server cuts a generateName.
    name = f"{made['metadata']['name']}-"[:58] + "x7k2p"
    assert is_pod_of(live.pod(made, name), made)
    for stranger in ("stranger", name + "a", name[:-1], f"x{name[1:]}", "x7k2p"):
        assert not is_pod_of(live.pod(made, stranger), made), stranger
    foreign = live.pod(made, name)
    foreign["metadata"]["ownerReferences"][0]["uid"] = "another"
    assert not is_pod_of(foreign, made)


def test_the_controller_of_an_object_is_the_reference_that_says_so() -> None:
    pod = live.pod(live.replica_set(DEPLOYMENT))
    assert (controller_of(pod) or {})["kind"] == "ReplicaSet"
    pod["metadata"]["ownerReferences"].insert(0, {"kind": "ConfigMap", "uid": "x"})
    assert (controller_of(pod) or {})["kind"] == "ReplicaSet"
    del pod["metadata"]["ownerReferences"]
    assert controller_of(pod) is None
