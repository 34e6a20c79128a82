"""What leads the traffic of an owned Service elsewhere is taken away, and nothing else is."""

from typing import Any

import pytest

from lockstep.controller.cluster import ports
from lockstep.controller.cluster.endpoints import ForeignEndpoints
from lockstep.controller.cluster.ports import Kind, Object
from lockstep.rollout.observed.observed import Observed
from tests.fakes import builders as build
from tests.fakes import live
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster
from tests.fakes.events import FakeEvents

TEAM, STRANGER = "team", "10.88.0.66"
SERVICE_NAME, MANAGED_BY = "kubernetes.io/service-name", "endpointslice.kubernetes.io/managed-by"
CONTROLLER = "endpointslice-controller.k8s.io"
OWNER, OF = build.owner(), live.snapshot()
RAW: Object = {"metadata": {"name": "iris", "namespace": TEAM, "uid": build.UID}}
SLICE, ENDPOINTS = ports.ENDPOINT_SLICE, ports.ENDPOINTS


class Removing:
    """A cluster in which pods with the addresses 10.88.1.0 and .1 serve."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.cluster = FakeCluster(self.clock)
        self.events = FakeEvents()
        self.removed = 0
        self.foreign = ForeignEndpoints(self.cluster, self.events, self.clock, self._count)
        self.observed = live.cluster(OWNER, OF, active=OF)
        for number, pod in enumerate(self.observed.pods):
            pod["status"] |= {"podIP": f"10.88.1.{number}", "podIPs": [{"ip": f"10.88.1.{number}"}, {"ip": f"fd00::{number}"}]}

    def _count(self) -> None:
        self.removed += 1

    def slice(self, name: str, *addresses: str, by: str | None = "byp", of: str = "iris") -> None:
        marks = {SERVICE_NAME: of} | ({MANAGED_BY: by} if by is not None else {})
        endpoints = [{"addresses": [address]} for address in addresses]
        self.cluster.add(SLICE, {"metadata": {"name": name, "labels": marks}, "endpoints": endpoints}, TEAM)

    def endpoints(self, *addresses: str, name: str = "iris") -> None:
        body = {"metadata": {"name": name}, "subsets": [{"addresses": [{"ip": address} for address in addresses]}]}
        self.cluster.add(ENDPOINTS, body, TEAM)

    def rewrite(self, *addresses: str) -> None:
        subsets = [{"addresses": [{"ip": address}]} for address in addresses]
        self.cluster.edit(ENDPOINTS, TEAM, "iris", lambda found: found.update(subsets=subsets))

    async def remove(self, observed: Observed | None = None) -> float | None:
        return await self.foreign.remove(RAW, OWNER, observed or self.observed)

    def names(self, kind: Kind) -> set[str]:
        return {found["metadata"]["name"] for found in self.cluster.all(kind)}


# --- slices -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [None, "", "byp", "endpointslicemirroring-controller.k8s.io"])
@pytest.mark.parametrize("address", [STRANGER, "10.88.1.0"], ids=["a stranger's address", "an address of ours"])
async def test_a_slice_of_somebody_elses_goes_at_the_first_reconciliation(by: str | None, address: str) -> None:
    removing = Removing()
    removing.slice("stranger", address, by=by)
    removing.slice("iris-abc", "10.88.1.0", by=CONTROLLER)
    removing.slice("other", STRANGER, of="other")
    assert await removing.remove() is None
    assert removing.names(SLICE) == {"iris-abc", "other"}
    [event] = removing.events.posted
    assert (event.type, event.reason) == ("Warning", "ForeignEndpoints")
    assert event.note == (
        f"EndpointSlice stranger was written by somebody else and led the Service's traffic to {address}; it was removed"
    )
    assert removing.removed == 1


async def test_a_slice_that_claims_to_be_the_controllers_is_left_to_the_controller() -> None:
    removing = Removing()
    removing.slice("claims", STRANGER, by=CONTROLLER)
    assert await removing.remove() is None
    assert removing.names(SLICE) == {"claims"}


async def test_many_slices_go_over_several_reconciliations_and_are_told_once_a_minute() -> None:
    removing = Removing()
    for number in range(45):
        removing.slice(f"stranger-{number}", *(f"10.88.7.{n}" for n in range(9)))
    assert await removing.remove() == 0.2
    assert len(removing.names(SLICE)) == 25
    assert await removing.remove() == 0.2
    assert await removing.remove() is None
    assert removing.names(SLICE) == set()
    assert removing.removed == 45
    assert len({event.key for event in removing.events.posted}) == 1
    assert "10.88.7.2 and 6 more" in removing.events.posted[0].note
    removing.clock.advance(60)
    removing.slice("again", STRANGER)
    await removing.remove()
    assert len({event.key for event in removing.events.posted}) == 2


# --- Endpoints ----------------------------------------------------------------------------------------------------------


async def test_endpoints_that_lead_elsewhere_go_when_they_still_do_a_second_later() -> None:
    removing = Removing()
    removing.endpoints("10.88.1.0", STRANGER)
    assert await removing.remove() == 1.0
    removing.clock.advance(0.4)
    assert await removing.remove() == pytest.approx(0.6)
    assert removing.names(ENDPOINTS) == {"iris"}
    removing.clock.advance(0.6)
    assert await removing.remove() is None
    assert removing.names(ENDPOINTS) == set()
    [event] = removing.events.posted
    assert f"led the Service's traffic to {STRANGER};" in event.note


async def test_endpoints_that_the_controller_corrects_meanwhile_are_left_alone() -> None:
    """A pod that was deleted by force is named a moment longer."""
    removing = Removing()
    removing.endpoints("10.88.1.0", "10.88.1.9")
    for address in ("10.88.1.8", "10.88.1.7"):
        assert await removing.remove() == 1.0
        removing.clock.advance(1.5)
        removing.rewrite("10.88.1.0", address)
    assert await removing.remove() == 1.0
    removing.rewrite()
    removing.clock.advance(1.5)
    assert await removing.remove() is None
    assert removing.events.posted == []


@pytest.mark.parametrize("addresses", [(), ("10.88.1.0",), ("10.88.1.1", "10.88.1.0"), ("fd00::1",)])
async def test_endpoints_of_our_pods_are_left_alone(addresses: tuple[str, ...]) -> None:
    removing = Removing()
    removing.endpoints(*addresses)
    removing.endpoints(STRANGER, name="other")
    for _ in range(3):
        assert await removing.remove() is None
        removing.clock.advance(2)
    assert removing.names(ENDPOINTS) == {"iris", "other"}


# --- whose Service it is ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("observed", [Observed(), Observed(service={"metadata": {}}, conflict="it is not Lockstep's")])
async def test_where_the_service_is_not_ours_nothing_is_taken_away(observed: Observed) -> None:
    removing = Removing()
    removing.slice("own", STRANGER)
    removing.endpoints(STRANGER)
    for _ in range(3):
        assert await removing.remove(observed) is None
        removing.clock.advance(2)
    assert removing.removed == 0


async def test_slices_and_endpoints_in_odd_shapes_are_read() -> None:
    removing = Removing()
    bodies: list[Any] = [{}, {"endpoints": None}, {"endpoints": [{"addresses": None}]}]
    for number, body in enumerate(bodies):
        metadata = {"name": f"odd-{number}", "labels": {SERVICE_NAME: "iris"}}
        removing.cluster.add(SLICE, {"metadata": metadata, **body}, TEAM)
    removing.cluster.add(
        ENDPOINTS, {"metadata": {"name": "iris"}, "subsets": [{"notReadyAddresses": [{"ip": STRANGER}]}]}, TEAM
    )
    assert await removing.remove() is None
    assert removing.names(SLICE) == set()
    assert "held no address" in removing.events.posted[0].note
