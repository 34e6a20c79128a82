"""A LineageRelease in a real API server: who lifts a pin says so by their own name, and for good."""

import pytest

from lockstep.controller.cluster import ports
from lockstep.controller.cluster.client import KubernetesCluster
from lockstep.controller.cluster.ports import Object
from lockstep.controller.records.store import Records, pin_name
from lockstep.gates.evidence import LineagePins
from tests.api.guarded import NAMESPACE_CONTROLLER, as_master, create, refused
from tests.api.installation import ADMIN, BREAK_GLASS, OPERATOR, SYSTEM, Installation
from tests.fakes import builders as build

pytestmark = pytest.mark.api

WHERE = ("-n", SYSTEM)
WHY = "iris was registered anew by another team"


def release(version: str, *, by: str = ADMIN, reason: str = WHY) -> Object:
    """Return what lifts the pin of a version of iris."""
    head = {"apiVersion": "lockstep.dev/v1alpha1", "kind": "LineageRelease"}
    return head | {"metadata": {"name": pin_name("http://m", "iris", version)}, "spec": {"by": by, "reason": reason}}


async def test_a_pin_is_lifted_in_ones_own_name_and_the_next_one_says_by_whom(
    api: Installation, cluster: KubernetesCluster
) -> None:
    records, first = Records(cluster, SYSTEM), pin_name("http://m", "iris", "1")
    await records.pin("http://m", "iris", "1", build.pins())
    assert create(api, release("1"), *WHERE).code == 0
    assert await records.pins("http://m", "iris", "1") is None
    await records.pin("http://m", "iris", "1", build.pins(run_id="f" * 32))
    spec = api.get("lineagepin", f"{first}-2", SYSTEM)["spec"]
    assert (spec["replaces"], spec["releasedBy"], spec["releaseReason"]) == (first, ADMIN, WHY)
    again = await records.pins("http://m", "iris", "1")
    assert isinstance(again, LineagePins)
    assert again.run_id == "f" * 32
    assert api.get("lineagepin", first, SYSTEM)["spec"]["runID"] == build.RUN, "the old pin stays"


def test_nobody_lifts_a_pin_in_the_name_of_somebody_else(api: Installation) -> None:
    for user in (ADMIN, BREAK_GLASS):
        said = create(api, release("2", by="somebody@example.com"), *WHERE, user=user)
        refused(said, "releases")
        assert f"the name of the user who creates it: {user}" in said.error


def test_a_release_is_neither_changed_nor_deleted(api: Installation) -> None:
    assert create(api, release("3"), *WHERE).code == 0
    name = release("3")["metadata"]["name"]
    refused(api.kubectl("annotate", "lineagerelease", name, "a=b", *WHERE, check=False), "releases")
    refused(api.kubectl("delete", "lineagerelease", name, *WHERE, check=False), "releases")
    changed = release("3", reason="another reason than before")
    changed["metadata"]["namespace"] = SYSTEM
    assert "a record can't be changed" in api.apply(changed, user=BREAK_GLASS, check=False).error
    api.kubectl("delete", "lineagerelease", name, "--dry-run=server", *WHERE, *as_master(NAMESPACE_CONTROLLER))


async def test_the_operator_lifts_nothing_itself(cluster: KubernetesCluster) -> None:
    with pytest.raises(ports.RejectedError, match="cannot create"):
        await cluster.create(ports.LINEAGE_RELEASE, SYSTEM, release("4", by=OPERATOR))


@pytest.mark.parametrize(
    ("name", "reason", "says"),
    [
        ("iris-3", WHY, "named like the LineagePin that it lifts"),
        (f"pin-{'0' * 40}-files", WHY, "named like the LineagePin that it lifts"),
        (f"pin-{'0' * 40}", "why not", "spec.reason"),
    ],
)
def test_a_release_without_a_pins_name_or_a_reason_is_refused(api: Installation, name: str, reason: str, says: str) -> None:
    body = release("5", reason=reason)
    body["metadata"]["name"] = name
    assert says in create(api, body, *WHERE).error
