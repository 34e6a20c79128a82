"""The whole controller process against a real API server, without nodes: it leads, decides, restarts, is watched over."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lockstep.api.modeldeployment import ModelDeployment
from lockstep.controller.cluster import ports
from lockstep.controller.cluster.client import KubernetesCluster
from lockstep.controller.cluster.ports import Object
from lockstep.controller.controller import LEASE_NAME
from lockstep.rollout.objects import manifests
from tests.api.guarded import SNAPSHOT
from tests.api.installation import ADMIN, BREAK_GLASS, SYSTEM, UNREACHABLE, Installation, model_deployment
from tests.api.process import Controller, EmptyMLflow
from tests.cluster.wait import until

pytestmark = pytest.mark.api

Start = Callable[..., Controller]
QUIET = 5.0
"""Seconds for which nothing is written before it is called settled."""


@pytest.fixture
def start(api: Installation, tmp_path: Path) -> Iterator[Start]:
    """Start controllers by name; whatever still runs at the end is killed."""
    api.kubectl("delete", "lease", LEASE_NAME, "--namespace", SYSTEM, "--ignore-not-found")
    started: list[Controller] = []

    def begin(identity: str = "one", **settings: str) -> Controller:
        controller = Controller(api, tmp_path, identity, **settings)
        started.append(controller)
        return controller.__enter__()

    yield begin
    for controller in started:
        controller.kill()
        print(f"--- {controller.identity}\n{controller.log[-6000:]}")


@pytest.fixture(scope="module")
def mlflow() -> Iterator[EmptyMLflow]:
    with EmptyMLflow.started() as server:
        yield server


@pytest.fixture
def asked(api: Installation, mlflow: EmptyMLflow) -> Iterator[str]:
    """A namespace whose policy asks the MLflow that knows no model."""
    name = api.namespace(policy=api.policy("empty", mlflow.uri))
    yield name
    api.clear(name)


def deploy(api: Installation, namespace: str, name: str = "iris", **spec: Any) -> None:
    manifest = model_deployment(name, **spec)
    api.apply(manifest | {"metadata": {"name": name, "namespace": namespace}})


def status_of(api: Installation, namespace: str, name: str = "iris") -> Object:
    found: Object = api.get("mdep", name, namespace).get("status") or {}
    return found


def condition(status: Object, type_: str = "Ready") -> tuple[str, str]:
    conditions: list[Object] = status.get("conditions") or []
    found = next((one for one in conditions if one["type"] == type_), {})
    return found.get("status", ""), found.get("reason", "")


def has_reason(api: Installation, namespace: str, reason: str, timeout: float = 20, name: str = "iris") -> Object:
    until(lambda: condition(status_of(api, namespace, name))[1] == reason, timeout, f"{name} is {reason}")
    return status_of(api, namespace, name)


def holder(api: Installation) -> str:
    lease = api.kubectl("get", "lease", LEASE_NAME, "--namespace", SYSTEM, "-o", "json", check=False)
    return str(lease.object["spec"].get("holderIdentity", "")) if lease.code == 0 else ""


def settled(api: Installation, timeout: float = 40) -> None:
    """Wait until the operator has written nothing for a while."""
    seen, rounds = len(api.writes()), 0

    def quiet() -> bool:
        nonlocal seen, rounds
        now = len(api.writes())
        rounds = rounds + 1 if now == seen else 0
        seen = now
        return rounds >= QUIET * 2

    until(quiet, timeout, "the operator writes nothing more", every=0.5)


def test_it_becomes_ready_leads_and_says_what_it_waits_for(api: Installation, start: Start, team: str) -> None:
    deploy(api, team)
    controller = start().leading()
    assert holder(api) == "one"
    assert controller.probe("/healthz") == 200
    status = has_reason(api, team, "RegistryUnreachable")
    assert condition(status, "Reconciling")[0] == "True"
    assert condition(status, "Stalled")[0] == "False"
    ready = next(one for one in status["conditions"] if one["type"] == "Ready")
    assert UNREACHABLE in ready["message"]
    assert status["observedGeneration"] == 1
    assert status["candidate"]["waitingSince"]
    shown = api.kubectl("get", "mdep", "--namespace", team).out
    assert "RegistryUnreachable" in shown
    (event,) = api.find("events.events.k8s.io", team)
    assert event["reason"] == "PromotionWaiting"
    metrics = controller.metrics()
    assert metrics['lockstep_dependency_up{dependency="mlflow"}'] == 0


def test_waiting_writes_nothing(api: Installation, start: Start, team: str) -> None:
    deploy(api, team)
    controller = start().leading()
    has_reason(api, team, "RegistryUnreachable")
    settled(api)
    mark, before = api.mark(), _reconciliations(controller)
    # It asks again every ten seconds or so.
    until(lambda: _reconciliations(controller) > before, 30, "it has reconciled once more")
    assert api.writes(mark) == []


def _reconciliations(controller: Controller) -> float:
    return sum(value for name, value in controller.metrics().items() if name.startswith("lockstep_reconcile_total"))


def test_it_ends_in_order_and_gives_its_lease_up(api: Installation, start: Start, team: str) -> None:
    deploy(api, team)
    controller = start().leading()
    has_reason(api, team, "RegistryUnreachable")
    assert controller.terminate(10) == 0
    assert holder(api) == ""
    assert "Traceback" not in controller.log
    assert "stopped" in controller.log


def test_a_standby_is_ready_and_ends_in_order_too(api: Installation, start: Start) -> None:
    start("one").leading()
    standby = start("two").ready()
    assert standby.metrics()["lockstep_leader"] == 0
    assert standby.terminate(10) == 0
    assert holder(api) == "one"


def test_a_standby_takes_over_from_one_that_is_killed(api: Installation, start: Start, asked: str) -> None:
    first = start("one").leading()
    second = start("two").ready()
    deploy(api, asked)
    has_reason(api, asked, "VersionNotFound")
    first.kill()
    second.leading(20)
    assert holder(api) == "two"
    deploy(api, asked, "later")
    has_reason(api, asked, "VersionNotFound", name="later")


def test_a_standby_takes_over_at_once_from_one_that_ends(api: Installation, start: Start) -> None:
    first = start("one").leading()
    second = start("two").ready()
    assert first.terminate(10) == 0
    second.leading(6)


def test_one_that_lost_its_lease_ends(api: Installation, start: Start, team: str) -> None:
    controller = start().leading()
    stolen = '{"spec": {"holderIdentity": "thief", "renewTime": "2026-11-20T12:00:00.000000Z"}}'
    api.kubectl("patch", "lease", LEASE_NAME, "--namespace", SYSTEM, "--type=merge", "--patch", stolen)
    until(lambda: controller.ended is not None, 20, "the deposed controller has ended")
    assert controller.ended == 1
    assert "the Lease is lost" in controller.log
    assert holder(api) == "thief"


@pytest.mark.parametrize("kind", ["EndpointSlice", "Endpoints"])
async def test_what_leads_the_traffic_elsewhere_past_the_guards_is_taken_away_and_told(
    api: Installation, start: Start, cluster: KubernetesCluster, owner: ModelDeployment, kind: str
) -> None:
    service = manifests.service(owner, SNAPSHOT)
    await cluster.create(ports.SERVICE, owner.namespace, service)
    start().leading()
    has_reason(api, owner.namespace, "RegistryUnreachable")
    api.kubectl("create", "-f", "-", user=BREAK_GLASS, stdin=json.dumps(_leading_elsewhere(kind, service)))
    where = (kind.lower(), "--namespace", owner.namespace, "-l", "kubernetes.io/service-name=iris")
    # Well before the reconciliation that is due every ten seconds anyway: the watch has to wake it.
    until(lambda: api.kubectl("get", *where, "-o", "name").out == "", 5, f"the {kind} is gone", every=0.1)

    def told() -> bool:
        events = api.find("events.events.k8s.io", owner.namespace)
        return any(one["reason"] == "ForeignEndpoints" and "10.88.0.66" in one["note"] for one in events)

    until(told, 5, "ForeignEndpoints is told")


def _leading_elsewhere(kind: str, service: Object) -> Object:
    """Return what sends the Service's traffic to a stranger, with the labels that Kubernetes' controllers copy from it."""
    where = {name: service["metadata"][name] for name in ("name", "namespace")}
    marks = service["metadata"]["labels"] | {"kubernetes.io/service-name": where["name"]}
    head = {"kind": kind, "metadata": where | {"labels": marks}}
    if kind == "Endpoints":
        ports_of = [{"name": "http", "port": 8080}]
        return head | {"apiVersion": "v1", "subsets": [{"addresses": [{"ip": "10.88.0.66"}], "ports": ports_of}]}
    endpoints = [{"addresses": ["10.88.0.66"], "conditions": {"ready": True}}]
    named = {"apiVersion": "discovery.k8s.io/v1", "addressType": "IPv4", "endpoints": endpoints}
    # By somebody who brings no label of Lockstep's.
    bare = where | {"name": "stranger", "labels": {"kubernetes.io/service-name": where["name"]}}
    return head | named | {"metadata": bare}


def test_a_refusal_is_told_once_and_named(api: Installation, start: Start, asked: str) -> None:
    mark = api.mark()
    start().leading()
    deploy(api, asked)
    status = has_reason(api, asked, "VersionNotFound")
    assert condition(status, "Stalled")[0] == "True"
    assert status["candidate"]["blockedSince"]
    settled(api)
    written = [f"{one.verb} {one.resource}" for one in api.writes(mark) if one.namespace == asked]
    assert written.count("create events") == 1
    assert written.count("patch modeldeployments/status") <= 2
    assert set(written) == {"create events", "patch modeldeployments/status"}


def test_a_restart_on_settled_objects_writes_nothing(api: Installation, start: Start, asked: str, team: str) -> None:
    first = start("one").leading()
    for number in range(5):
        deploy(api, asked, f"refused-{number}")
        deploy(api, team, f"waits-{number}")
    for number in range(5):
        has_reason(api, asked, "VersionNotFound", name=f"refused-{number}")
        has_reason(api, team, "RegistryUnreachable", name=f"waits-{number}")
    settled(api)
    assert first.terminate(10) == 0
    mark = api.mark()
    second = start("two").leading()
    until(lambda: _reconciliations(second) >= 20, 40, "everything was reconciled twice")
    assert api.writes(mark) == []


def test_a_status_that_somebody_changed_is_put_right_and_reported(api: Installation, start: Start, asked: str) -> None:
    start().leading()
    deploy(api, asked)
    right = has_reason(api, asked, "VersionNotFound")
    settled(api)
    lie = '[{"op": "replace", "path": "/status/conditions/0/status", "value": "True"}]'
    words = ("patch", "mdep", "iris", "--namespace", asked, "--subresource=status", "--type=json", "--patch", lie)
    assert "only the Lockstep operator writes the status" in api.kubectl(*words, user=ADMIN, check=False).error
    api.kubectl(*words, user=BREAK_GLASS)
    until(lambda: status_of(api, asked) == right, 15, "the status is right again")
    reasons = [event["reason"] for event in api.find("events.events.k8s.io", asked)]
    until(
        lambda: [event["reason"] for event in api.find("events.events.k8s.io", asked)].count("StatusCorrected") == 1,
        10,
        f"it is reported among {reasons}",
    )


def test_a_spec_that_changes_is_looked_at_at_once(api: Installation, start: Start, asked: str) -> None:
    start().leading()
    deploy(api, asked)
    has_reason(api, asked, "VersionNotFound")
    deploy(api, asked, model={"name": "iris", "alias": "champion"})
    status = has_reason(api, asked, "AliasNotFound", timeout=5)
    assert status["observedGeneration"] == 2


def test_a_policy_that_changes_is_heeded(api: Installation, start: Start, mlflow: EmptyMLflow) -> None:
    policy = api.policy("changing", UNREACHABLE)
    namespace = api.namespace(policy=policy)
    start().leading()
    deploy(api, namespace)
    has_reason(api, namespace, "RegistryUnreachable")
    api.policy("changing", mlflow.uri)
    has_reason(api, namespace, "VersionNotFound", timeout=8)
    api.clear(namespace)


def conditions_of(api: Installation, policy: str) -> dict[str, str]:
    status = api.get("ppol", policy).get("status") or {}
    return {one["type"]: one["reason"] for one in status.get("conditions") or []}


def test_a_policy_says_what_it_leaves_open_and_its_status_is_written_once(api: Installation, start: Start) -> None:
    policy = api.policy("open", UNREACHABLE)
    start().leading()
    expected = {"Accepted": "PolicyUnderstood", "RepositoriesRestricted": "AllRepositoriesAllowed"}
    until(lambda: conditions_of(api, policy) == expected, 10, "the policy's status")
    shown = api.kubectl("get", "ppol", policy).out
    assert shown.split()[:6] == ["NAME", "DEFAULT", "ACCEPTED", "REPOSITORIES", "TRACKING", "AGE"]
    assert "AllRepositoriesAllowed" in shown
    settled(api)
    mark = api.mark()
    narrowed = '{"spec": {"images": {"repositories": ["registry.example.com/*"]}}}'
    api.kubectl("patch", "ppol", policy, "--type=merge", "--patch", narrowed)
    until(lambda: conditions_of(api, policy).get("RepositoriesRestricted") == "RepositoriesListed", 10, "it is narrowed")
    settled(api)
    assert len([one for one in api.writes(mark) if one.resource == "promotionpolicies/status"]) == 1
    api.kubectl("delete", "ppol", policy)


def test_namespaces_that_are_not_listed_are_left_alone(api: Installation, start: Start, asked: str, team: str) -> None:
    start("one", LOCKSTEP_WATCH_NAMESPACES=asked).leading()
    deploy(api, team)
    deploy(api, asked)
    has_reason(api, asked, "VersionNotFound")
    settled(api)
    assert status_of(api, team) == {}


def test_wrong_settings_end_it_with_a_sentence(start: Start) -> None:
    controller = start("one", LOCKSTEP_WORKERS="many")
    until(lambda: controller.ended is not None, 20, "it has ended")
    assert controller.ended == 2
    assert "LOCKSTEP_WORKERS is 'many', it has to be" in controller.log
    assert "Traceback" not in controller.log
