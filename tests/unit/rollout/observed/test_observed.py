"""Which objects count as a revision's own."""

from dataclasses import replace

from lockstep.rollout.observed.observed import Observed, revision_of
from tests.fakes import builders as build
from tests.fakes import live
from tests.fakes.live import snapshot

OF, OTHER = snapshot(), snapshot(version="4")
OBSERVED = live.cluster(build.owner(), OF, OTHER)


def test_a_revision_has_the_pods_that_its_own_replica_sets_control() -> None:
    pods = OBSERVED.pods_of(OF.revision)
    assert len(pods) == 2
    assert {revision_of(pod) for pod in pods} == {OF.revision}
    assert OBSERVED.pods_of("unknown") == []
    assert Observed().pods_of(OF.revision) == []


def test_a_stranger_that_bears_the_label_is_none_of_them() -> None:
    stranger = live.pod(OBSERVED.replica_sets[0], "stranger")
    stranger["metadata"]["ownerReferences"] = [{"uid": "another", "controller": True}]
    assert len(replace(OBSERVED, pods=[*OBSERVED.pods, stranger]).pods_of(OF.revision)) == 2


def test_a_pod_that_only_names_our_replica_set_as_an_owner_is_none_of_them() -> None:
    stranger = live.pod(OBSERVED.replica_sets[0], "stranger")
    stranger["metadata"]["ownerReferences"][0]["controller"] = False
    assert len(replace(OBSERVED, pods=[stranger]).pods_of(OF.revision)) == 0


def test_a_pod_with_another_revisions_label_is_none_of_them() -> None:
    moved = live.pod(OBSERVED.replica_sets[0], "moved")
    moved["metadata"]["labels"] |= live.reserved("iris", OTHER.revision)
    found = replace(OBSERVED, pods=[moved])
    assert found.pods_of(OF.revision) == found.pods_of(OTHER.revision) == []


def test_a_pod_that_is_being_deleted_no_longer_counts() -> None:
    ending = live.pod(OBSERVED.replica_sets[0], "ending")
    ending["metadata"]["deletionTimestamp"] = "2026-11-20T12:00:00Z"
    assert replace(OBSERVED, pods=[ending]).pods_of(OF.revision) == []


def test_an_object_without_labels_names_no_revision() -> None:
    assert revision_of({"metadata": {}}) == revision_of({"metadata": {"labels": None}}) == ""
