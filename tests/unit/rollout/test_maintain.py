"""What serves is kept as it was promoted, whatever somebody else does to it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.api.modeldeployment import ModelDeployment, RevisionStatus
from lockstep.rollout.actions import Action, Apply, Correct, Create, Delete, Scale
from lockstep.rollout.maintain import Maintenance, maintain
from lockstep.rollout.objects.revision import Snapshot
from lockstep.rollout.observed.observed import Observed
from tests.fakes import builders as build
from tests.fakes import live
from tests.fakes.live import snapshot

NEW, OLD, OLDER, OLDEST = (snapshot(version=version) for version in ("4", "3", "2", "1"))
DRAINED = build.NOW + timedelta(seconds=30)
Objects = dict[str, live.Object]


def entry(of: Snapshot) -> RevisionStatus:
    return RevisionStatus(revision=of.revision, start_time=build.NOW)


def serving(*history: Snapshot, active: Snapshot | None = NEW, **parts: Any) -> ModelDeployment:
    status = {
        "active": entry(active) if active else None,
        "history": [entry(one) for one in history],
        "observed_generation": build.owner().generation,
    }
    return build.owner(status=status, **parts)


def maintenance(
    owner: ModelDeployment,
    observed: Observed,
    *,
    active: Snapshot | None = NEW,
    keep: frozenset[str] = frozenset(),
    known: tuple[Snapshot, ...] = (NEW, OLD, OLDER, OLDEST),
    rollout: Mapping[str, Any] | None = None,
    now: datetime = build.NOW + timedelta(hours=1),
) -> Maintenance:
    return maintain(
        owner,
        observed,
        active=active,
        snapshots={one.revision: one for one in known},
        keep=keep,
        rollout=build.policy(rollout=dict(rollout or {})).spec.rollout,
        now=now,
    )


def after(change: Callable[[Objects], Any]) -> tuple[Action, ...]:
    """Return what is done after somebody changed an object of the active revision."""
    owner = serving()
    return maintenance(owner, live.cluster(owner, NEW, active=NEW, change=change)).actions


# --- settled -----------------------------------------------------------------------------------------------------------


def test_nothing_is_done_to_a_settled_object() -> None:
    owner = serving()
    assert maintenance(owner, live.cluster(owner, NEW, active=NEW)) == Maintenance(())


@given(st.integers(0, 3), st.integers(80, 90), st.booleans())
def test_nothing_is_done_to_a_settled_object_whatever_its_size(replicas: int, port: int, paused: bool) -> None:
    owner = serving(replicas=replicas, service={"port": port}, paused=paused)
    assert maintenance(owner, live.cluster(owner, NEW, active=NEW, replicas=replicas)) == Maintenance(())


def test_before_the_first_promotion_there_is_nothing_to_keep() -> None:
    owner = build.owner()
    assert maintenance(owner, Observed(), active=None) == Maintenance(())
    checked = live.cluster(owner, NEW)
    assert maintenance(owner, checked, active=None, keep=frozenset({NEW.revision})) == Maintenance(())


# --- what is missing ---------------------------------------------------------------------------------------------------


def test_lost_objects_are_made_again_from_the_snapshot() -> None:
    owner = serving()
    actions = maintenance(owner, Observed()).actions
    kinds = [action.body["kind"] for action in actions if isinstance(action, Create)]
    assert kinds == ["Deployment", "Service", "PodDisruptionBudget"]
    made = actions[0]
    assert isinstance(made, Create)
    assert made.body["spec"]["template"]["spec"]["containers"][0]["image"] == NEW.image
    assert "paused" not in made.body["spec"], "a paused Deployment would make no pods"


def test_an_objects_name_that_somebody_else_has_is_left_to_them() -> None:
    owner = serving()
    assert maintenance(owner, replace(live.cluster(owner, NEW), conflict="the Service iris exists")).actions == ()


def test_a_deployment_is_scaled_to_the_specs_replicas() -> None:
    owner = serving(replicas=5)
    asked = build.owner(replicas=5, generation=2, status=dict(serving().status))
    assert maintenance(asked, live.cluster(asked, NEW, active=NEW)).actions == (Scale(NEW.object_name, 5),)
    (corrected,) = maintenance(owner, live.cluster(owner, NEW, active=NEW)).actions
    assert isinstance(corrected, Scale)
    assert corrected.replicas == 5
    assert "spec.replicas was changed" in str(corrected.why)


# --- drift -------------------------------------------------------------------------------------------------------------


def container(objects: Objects, kind: str = "deployment") -> live.Object:
    spec = objects[kind]["spec"]
    found: live.Object = spec.get("template", {"spec": spec})["spec"]["containers"][0]
    return found


TEMPLATE_EDITS: list[tuple[str, Callable[[Objects], Any], str]] = [
    ("another image", lambda o: container(o).update(image="evil"), "spec.template.spec.containers[0].image"),
    ("a sidecar", lambda o: o["deployment"]["spec"]["template"]["spec"]["containers"].append({"name": "x"}), "containers"),
    ("a variable", lambda o: container(o).update(env=[{"name": "PYTHONPATH", "value": "/x"}]), "containers[0].env"),
    ("a volume", lambda o: o["deployment"]["spec"]["template"]["spec"].update(volumes=[{"name": "x"}]), "spec.volumes"),
    (
        "a restart",
        lambda o: o["deployment"]["spec"]["template"]["metadata"].update(annotations={"restartedAt": "now"}),
        "spec.template.metadata.annotations",
    ),
    ("another strategy", lambda o: o["deployment"]["spec"].update(strategy={"type": "Recreate"}), "spec.strategy"),
    ("a label less", lambda o: o["deployment"]["metadata"]["labels"].pop("app.kubernetes.io/instance"), "metadata.labels"),
    ("no pause", lambda o: o["deployment"]["spec"].pop("paused"), "spec.paused"),
]


@pytest.mark.parametrize(("change", "where"), [case[1:] for case in TEMPLATE_EDITS], ids=[case[0] for case in TEMPLATE_EDITS])
def test_an_edited_deployment_is_replaced_as_it_was_promoted(change: Callable[[Objects], Any], where: str) -> None:
    (action,) = after(change)
    assert isinstance(action, Correct)
    assert where in str(action.why)
    owner = serving()
    whole = live.cluster(owner, NEW, active=NEW).deployments[NEW.revision]
    for key in ("template", "selector", "strategy"):
        desired = live.deployment(owner, NEW)["spec"][key]
        if key == "template":
            assert live.defaulted_pod_spec(action.body["spec"][key]["spec"]) == desired["spec"]
        else:
            assert action.body["spec"][key] == desired
    assert action.body["spec"]["paused"] is True
    assert action.body["metadata"]["uid"] == whole["metadata"]["uid"]
    assert action.resource_version == "100"
    assert "status" not in action.body


SERVICE_EDITS: list[tuple[str, Callable[[Objects], Any], str]] = [
    ("another selector", lambda o: o["service"]["spec"]["selector"].update({"lockstep.dev/revision": "x"}), "selector"),
    ("a wider selector", lambda o: o["service"]["spec"]["selector"].pop("lockstep.dev/revision"), "selector"),
    ("no selector", lambda o: o["service"]["spec"].pop("selector"), "selector"),
    ("another type", lambda o: o["service"]["spec"].update(type="LoadBalancer"), "type"),
    ("another port", lambda o: o["service"]["spec"]["ports"][0].update(targetPort=22), "ports"),
    ("one more port", lambda o: o["service"]["spec"]["ports"].append({"name": "ssh", "port": 22}), "ports"),
    ("an address", lambda o: o["service"]["spec"].update(externalIPs=["192.0.2.1"]), "externalIPs"),
    ("pods that are not ready", lambda o: o["service"]["spec"].update(publishNotReadyAddresses=True), "publishNotReady"),
    ("a label less", lambda o: o["service"]["metadata"]["labels"].clear(), "labels"),
]


@pytest.mark.parametrize(("change", "where"), [case[1:] for case in SERVICE_EDITS], ids=[case[0] for case in SERVICE_EDITS])
def test_an_edited_service_is_replaced_and_keeps_its_address(change: Callable[[Objects], Any], where: str) -> None:
    (action,) = after(change)
    assert isinstance(action, Correct)
    assert where in str(action.why)
    spec = action.body["spec"]
    assert spec["selector"] == {"lockstep.dev/model-deployment": "iris", "lockstep.dev/revision": NEW.revision}
    assert [port["targetPort"] for port in spec["ports"]] == [8080]
    assert spec["clusterIP"] == "10.96.0.10"
    assert "externalIPs" not in spec
    assert "publishNotReadyAddresses" not in spec


def test_the_switch_to_a_promoted_revision_is_a_step_of_our_own() -> None:
    owner = serving(OLD)
    before = live.cluster(owner, NEW, OLD, active=OLD)
    service, budget = (action for action in maintenance(owner, before).actions if isinstance(action, Apply))
    assert service.body["spec"]["selector"]["lockstep.dev/revision"] == NEW.revision
    assert budget.body["spec"]["selector"]["matchLabels"]["lockstep.dev/revision"] == NEW.revision
    assert service.resource_version == "100"


def test_a_switch_together_with_a_new_port_replaces_the_service_as_a_whole() -> None:
    owner = serving(OLD, service={"port": 81})
    observed = replace(live.cluster(owner, NEW, OLD, active=NEW), service=live.service(serving(active=OLD), OLD))
    (action,) = maintenance(owner, observed, now=build.NOW).actions
    assert isinstance(action, Correct)
    assert [port["port"] for port in action.body["spec"]["ports"]] == [81]
    assert action.body["spec"]["selector"]["lockstep.dev/revision"] == NEW.revision


def test_a_new_port_of_the_spec_replaces_the_old_one() -> None:
    owner = serving(service={"port": 81})
    observed = replace(live.cluster(owner, NEW, active=NEW), service=live.service(serving(), NEW))
    (action,) = maintenance(owner, observed).actions
    # Ports are merged by number in a server-side apply: the old one would stay, under the same name.
    assert isinstance(action, Correct)
    assert [port["port"] for port in action.body["spec"]["ports"]] == [81]


@pytest.mark.parametrize(
    "spec",
    [{"maxUnavailable": "100%"}, {"maxUnavailable": None, "minAvailable": 0}, {"unhealthyPodEvictionPolicy": "AlwaysAllow"}],
)
def test_an_edited_budget_is_replaced(spec: dict[str, Any]) -> None:
    (action,) = after(lambda o: o["budget"]["spec"].update(spec))
    assert isinstance(action, Correct)
    assert "PodDisruptionBudget iris" in str(action.why)
    assert {k: v for k, v in action.body["spec"].items() if k != "selector"} == {"maxUnavailable": 1}


# --- what is foreign ---------------------------------------------------------------------------------------------------


def test_a_pod_that_bears_the_revision_label_and_is_not_ours_is_deleted() -> None:
    owner = serving()
    observed = live.cluster(owner, NEW, active=NEW)
    stranger = live.pod(observed.replica_sets[0], "stranger")
    del stranger["metadata"]["ownerReferences"]
    (action,) = maintenance(owner, replace(observed, pods=[*observed.pods, stranger])).actions
    assert isinstance(action, Delete)
    assert (action.kind, action.name, action.uid) == ("Pod", "stranger", "uid-stranger")
    assert action.why is not None


def test_a_candidates_pod_that_was_given_the_active_label_is_deleted() -> None:
    owner = serving()
    observed = live.cluster(owner, NEW, OLD, active=NEW)
    moved = next(pod for pod in observed.pods if pod["metadata"]["labels"]["lockstep.dev/revision"] == OLD.revision)
    moved["metadata"]["labels"]["lockstep.dev/revision"] = NEW.revision
    actions = maintenance(owner, observed, keep=frozenset({OLD.revision})).actions
    assert [action.name for action in actions if isinstance(action, Delete)] == [moved["metadata"]["name"]]


def test_a_stranger_that_the_deployment_has_adopted_goes_even_while_it_has_no_pods() -> None:
    owner = serving()
    observed = live.cluster(owner, NEW, active=NEW)
    stranger = live.replica_set(observed.deployments[NEW.revision], "stranger")
    stranger["spec"]["replicas"] = 0
    stranger["spec"]["template"]["spec"]["containers"][0]["image"] = "example.com/stranger:1"
    actions = maintenance(owner, replace(observed, replica_sets=[*observed.replica_sets, stranger])).actions
    assert [(type(action), action.name) for action in actions if isinstance(action, Delete)] == [(Delete, "stranger")]


def test_a_replica_set_that_bears_the_label_and_is_not_ours_is_deleted() -> None:
    owner = serving()
    observed = live.cluster(owner, NEW, active=NEW)
    stranger = live.replica_set(observed.deployments[NEW.revision], "stranger")
    del stranger["metadata"]["ownerReferences"]
    actions = maintenance(owner, replace(observed, replica_sets=[*observed.replica_sets, stranger])).actions
    assert [(type(action), action.name) for action in actions if isinstance(action, Delete)] == [(Delete, "stranger")]


def test_what_bears_no_revision_label_gets_no_traffic_and_is_left_alone() -> None:
    owner = serving()
    observed = live.cluster(owner, NEW, active=NEW)
    bystander = live.pod(observed.replica_sets[0], "bystander")
    bystander["metadata"] |= {"labels": {"lockstep.dev/model-deployment": "iris"}, "ownerReferences": []}
    assert maintenance(owner, replace(observed, pods=[*observed.pods, bystander])).actions == ()


def test_a_pod_that_was_edited_is_deleted_and_one_that_is_ending_is_not() -> None:
    def edit(objects: Objects) -> None:
        container(objects, "pod").update(image="evil")
        objects["pod"]["metadata"]["generation"] = 2

    (action,) = after(edit)
    assert isinstance(action, Delete)
    assert action.why is not None
    assert "its image is evil" in action.why

    def edit_one_that_ends(objects: Objects) -> None:
        edit(objects)
        objects["pod"]["metadata"]["deletionTimestamp"] = "2026-11-20T12:00:00Z"

    assert after(edit_one_that_ends) == ()


def test_the_remains_of_a_deleted_deployment_are_left_to_the_garbage_collector() -> None:
    owner = serving()
    observed = live.cluster(owner, NEW, OLD, active=NEW)
    gone = replace(observed, deployments={NEW.revision: observed.deployments[NEW.revision]})
    deleted = [action for action in maintenance(owner, gone).actions if isinstance(action, Delete)]
    assert [action.kind for action in deleted] == ["ControllerRevision"]


def test_a_replica_set_that_runs_something_else_beside_ours_is_deleted() -> None:
    owner = serving()
    observed = live.cluster(owner, NEW, active=NEW)
    other = live.replica_set(observed.deployments[NEW.revision], "rolled-out", replicas=1)
    other["spec"]["template"]["spec"]["containers"][0]["image"] = "evil"
    (action,) = maintenance(owner, replace(observed, replica_sets=[*observed.replica_sets, other])).actions
    assert isinstance(action, Delete)
    assert (action.kind, action.name) == ("ReplicaSet", "rolled-out")


def test_the_only_replica_set_is_put_right_when_it_was_edited() -> None:
    (action,) = after(lambda o: container(o, "replica_set").update(image="evil"))
    assert isinstance(action, Correct)
    assert action.body["kind"] == "ReplicaSet"
    assert action.body["spec"]["template"]["spec"]["containers"][0]["image"] == NEW.image


# --- old revisions -----------------------------------------------------------------------------------------------------


def test_the_old_revision_drains_then_scales_to_zero_then_stays() -> None:
    owner = serving(OLD)
    observed = live.cluster(owner, NEW, OLD, active=NEW)
    assert maintenance(owner, observed, now=build.NOW + timedelta(seconds=10)) == Maintenance((), due=20.0)
    assert maintenance(owner, observed, now=DRAINED) == Maintenance((Scale(OLD.object_name, 0),))
    observed.deployments[OLD.revision]["spec"]["replicas"] = 0
    assert maintenance(owner, observed, now=DRAINED) == Maintenance(())


def test_revisions_beyond_the_limit_are_deleted_with_their_snapshots_after_them() -> None:
    owner = serving(OLD, OLDER, OLDEST)
    observed = live.cluster(owner, NEW, OLD, OLDER, OLDEST, active=NEW, replicas=0)
    empty = serving(OLD, OLDER, OLDEST, replicas=0)
    deleted = maintenance(empty, observed, rollout={"revisionHistoryLimit": 1}).actions
    assert {(action.kind, action.name) for action in deleted if isinstance(action, Delete)} == {
        ("Deployment", OLDER.object_name),
        ("Deployment", OLDEST.object_name),
    }
    without = replace(observed, deployments={one.revision: observed.deployments[one.revision] for one in (NEW, OLD)})
    then = maintenance(owner, without, rollout={"revisionHistoryLimit": 1}).actions
    assert {(action.kind, action.name) for action in then if isinstance(action, Delete)} == {
        ("ControllerRevision", OLDER.object_name),
        ("ControllerRevision", OLDEST.object_name),
    }


def test_without_a_history_the_old_revision_still_drains_before_it_is_deleted() -> None:
    owner = serving(OLD)
    observed = live.cluster(owner, NEW, OLD, active=NEW)
    limit = {"revisionHistoryLimit": 0}
    assert maintenance(owner, observed, rollout=limit, now=build.NOW).actions == ()
    (action,) = maintenance(owner, observed, rollout=limit, now=DRAINED).actions
    assert isinstance(action, Delete)
    assert action.why is None, "our own clearing up is no correction"


def test_a_candidate_that_was_given_up_is_deleted_at_once() -> None:
    owner = serving()
    observed = live.cluster(owner, NEW, OLD, active=NEW)
    (action,) = maintenance(owner, observed, now=build.NOW).actions
    assert (type(action), getattr(action, "name", None)) == (Delete, OLD.object_name)


def test_a_candidate_is_kept_and_its_deployment_guarded_too() -> None:
    owner = serving()
    observed = live.cluster(owner, NEW, OLD, active=NEW)
    keep = frozenset({OLD.revision})
    assert maintenance(owner, observed, keep=keep) == Maintenance(())
    observed.deployments[OLD.revision]["spec"]["template"]["spec"]["containers"][0]["image"] = "evil"
    (action,) = maintenance(owner, observed, keep=keep).actions
    assert isinstance(action, Correct)


def test_a_candidate_that_comes_up_is_not_paused_by_upkeep() -> None:
    owner = build.owner()
    observed = live.cluster(owner, NEW)
    del observed.deployments[NEW.revision]["spec"]["paused"]
    assert maintenance(owner, observed, active=None, keep=frozenset({NEW.revision})) == Maintenance(())


def test_what_serves_is_never_cleared_away_when_its_snapshot_or_record_can_not_be_read() -> None:
    owner = serving(OLD)
    observed = live.cluster(owner, NEW, OLD, active=NEW)
    assert maintenance(owner, observed, active=None, known=()).actions == ()


def test_what_the_service_selects_is_never_cleared_away_even_when_no_record_vouches_for_it() -> None:
    forgotten = build.owner(status={"history": [entry(OLD)]})
    observed = live.cluster(forgotten, NEW, OLD, OLDER, active=NEW)
    actions = maintenance(forgotten, observed, active=None).actions
    assert {getattr(action, "name", "") for action in actions} == {OLD.object_name, OLDER.object_name}


def test_an_emptied_status_clears_nothing_away() -> None:
    observed = live.cluster(serving(OLD), NEW, OLD, OLDER, active=NEW)
    assert not [action for action in maintenance(build.owner(), observed).actions if isinstance(action, Delete | Scale)]


REVISIONS = st.lists(st.sampled_from([OLD, OLDER, OLDEST]), unique_by=lambda one: one.revision)


@given(
    running=REVISIONS,
    history=REVISIONS,
    keep=st.sets(st.sampled_from([OLD.revision, OLDER.revision])),
    limit=st.integers(0, 3),
    seconds=st.integers(0, 60),
    believed=st.booleans(),
    stated=st.booleans(),
)
def test_upkeep_never_takes_pods_from_what_serves_or_is_checked(
    running: list[Snapshot], history: list[Snapshot], keep: set[str], limit: int, seconds: int, believed: bool, stated: bool
) -> None:
    owner = serving(*history, active=NEW if stated else None)
    observed = live.cluster(owner, NEW, *running, active=NEW)
    found = maintenance(
        owner,
        observed,
        active=NEW if believed else None,
        keep=frozenset(keep),
        rollout={"revisionHistoryLimit": limit},
        now=build.NOW + timedelta(seconds=seconds),
    )
    spared = {f"iris-{revision}" for revision in {NEW.revision, *keep}}
    assert not [action for action in found.actions if isinstance(action, Delete | Scale) and action.name in spared]
    assert found.due is None or found.due > 0
