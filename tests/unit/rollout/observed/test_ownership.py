"""Whose an object under our name is: owner references prove nothing, labels do."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from lockstep.rollout.objects import labels, manifests
from lockstep.rollout.observed.observed import Observed
from lockstep.rollout.observed.ownership import foreign_object, lacks_labels_only
from tests.fakes import builders as build
from tests.fakes import live

OWNER, OF = build.owner(), live.snapshot()
OURS = live.cluster(OWNER, OF, active=OF)
Change = Callable[[live.Object], Any]
KINDS = ("service", "budget")


def changed(kind: str, *changes: Change) -> Observed:
    found: live.Object = live.service(OWNER, OF) if kind == "service" else live.budget(OWNER, OF)
    for change in changes:
        change(found)
    return replace(OURS, service=found) if kind == "service" else replace(OURS, budget=found)


def unlabelled(found: live.Object) -> None:
    del found["metadata"]["labels"]


def mislabelled(found: live.Object) -> None:
    found["metadata"]["labels"][labels.MODEL_DEPLOYMENT] = "another"


def disowned(found: live.Object) -> None:
    found["metadata"]["ownerReferences"] = []


def another_owner(found: live.Object) -> None:
    found["metadata"]["ownerReferences"][0]["uid"] = "another"


def elsewhere(found: live.Object) -> None:
    selector = found["spec"]["selector"]
    selector.get("matchLabels", selector)["app"] = "mine"


def proxied(found: live.Object) -> None:
    found["metadata"]["labels"] = {"service.kubernetes.io/service-proxy-name": "none"}


def test_what_the_operator_made_is_ours() -> None:
    assert foreign_object(OWNER, OURS, OF) is None
    assert foreign_object(OWNER, OURS, None) is None
    assert foreign_object(OWNER, Observed(), OF) is None


@pytest.mark.parametrize("lost", [unlabelled, mislabelled], ids=["no labels", "another's label"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_owner_reference_proves_nothing(kind: str, lost: Change) -> None:
    """Before the first promotion there is nothing of ours that could have lost its labels."""
    said = foreign_object(OWNER, changed(kind, lost), None)
    assert said is not None
    assert labels.MODEL_DEPLOYMENT in said
    assert "rename the ModelDeployment or delete it" in said


@pytest.mark.parametrize("lost", [unlabelled, mislabelled], ids=["no labels", "another's label"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_serves_and_has_lost_nothing_but_its_labels_is_still_ours(kind: str, lost: Change) -> None:
    assert foreign_object(OWNER, changed(kind, lost), OF) is None
    assert foreign_object(OWNER, changed(kind, lost, elsewhere), OF) is not None


def test_a_label_that_takes_a_service_from_its_proxy_is_no_mere_loss_of_labels() -> None:
    assert foreign_object(OWNER, changed("service", proxied), OF) is not None


@pytest.mark.parametrize("change", [disowned, another_owner])
@pytest.mark.parametrize("kind", KINDS)
def test_what_another_owns_is_theirs_whatever_its_labels(kind: str, change: Change) -> None:
    """As after a deletion of the ModelDeployment that left its objects behind."""
    for active in (OF, None):
        assert "is not Lockstep's: rename" in str(foreign_object(OWNER, changed(kind, change), active))


@pytest.mark.parametrize(
    ("desired", "found"),
    [
        (manifests.service(OWNER, OF), live.service(OWNER, OF)),
        (manifests.disruption_budget(OWNER, OF.revision), live.budget(OWNER, OF)),
        (manifests.deployment(OWNER, OF, replicas=2, paused=True), live.deployment(OWNER, OF)),
        (manifests.controller_revision(OWNER, OF), live.controller_revision(OWNER, OF)),
    ],
    ids=lambda one: str(one["kind"]),
)
def test_only_what_is_the_very_object_but_for_labels_lacks_labels_only(desired: live.Object, found: live.Object) -> None:
    found["metadata"]["labels"] = {"team": "a"}
    assert lacks_labels_only(desired, found)
    ending = found | {"metadata": found["metadata"] | {"deletionTimestamp": "2026-11-20T12:00:00Z"}}
    assert not lacks_labels_only(desired, ending)
    part = "data" if "data" in found else "spec"
    key = next(key for key in ("selector", "snapshot") if key in found[part])
    assert not lacks_labels_only(desired, found | {part: found[part] | {key: {"app": "mine"}}})
