"""Images whose files do not say what they start: their pods start without traffic, and show it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from lockstep.controller.cluster import ports
from lockstep.controller.cluster.ports import Object
from lockstep.observer.report import MappedFile, Process, Report
from lockstep.rollout.objects.observer import OBSERVER
from tests.fakes import builders as build
from tests.fakes.images import layer
from tests.fakes.roots import VENV_SITE, Files, debian, distribution, items, venv
from tests.flow.world import OBSERVER as OBSERVER_IMAGE
from tests.flow.world import TEAM, World, ready_world

RIGHT, WRONG = "/opt/venv/bin/python", "/opt/other/bin/python"


def files() -> Files:
    root = debian() | venv() | venv("/opt/other") | {"/app/serve.py": ""}
    for name, version in build.TRAINED.items():
        root |= distribution(VENV_SITE, name.replace("-", "_"), version)
    return root | distribution("/opt/other/lib/python3.11/site-packages", "scikit_learn", "1.2.0")


def report(python: str = RIGHT, *mapped: MappedFile, undetermined: str = "") -> Report:
    process = Process(
        pid=12,
        parent=1,
        executable="/usr/bin/python3.11",
        argv=(python, "/app/serve.py"),
        working_directory="/app",
        variables={"PATH": "/usr/bin"},
        serves=True,
        files=tuple(range(len(mapped))),
    )
    return Report(() if undetermined else (process,), mapped, undetermined=undetermined)


async def undetermined_world(seen: Report | Object | None = None, *, policy: Mapping[str, Any] | None = None) -> World:
    """Return a world in which the image has two environments and starts one of them by a process manager."""
    world = await ready_world(deploy=False, policy=policy)
    settings = {"Entrypoint": ["/usr/bin/supervisord"], "Env": ["PATH=/usr/bin"]}
    root = files() | {"/usr/bin/supervisord": b"\x7fELF supervisord"}
    digest = world.images.memory.image([layer(*items(root))], tag="2026-11", settings=settings)
    if seen is not None:
        world.workloads.reports[f"{build.REPOSITORY}@{digest}"] = seen
    world.deploy()
    return world


async def scanned(world: World) -> None:
    """Settle, with all that is read beside the reconciliations: the image, its users, and what its pods show."""
    for _ in range(5):
        await world.settle()
        await world.workers.idle()
    await world.settle()


def gate(world: World, name: str = "environment") -> tuple[str, str]:
    candidate = world.owner.status.candidate
    assert candidate is not None
    return next((str(one.outcome), one.reason) for one in candidate.gates if one.name == name)


async def test_it_is_promoted_when_what_answers_is_the_right_environment() -> None:
    world = await undetermined_world(report())
    await scanned(world)
    assert world.served == world.active is not None
    assert "observed: pod iris-" in world.message("EnvironmentMatched")
    assert "pid 12, /opt/venv/bin/python" in world.message("EnvironmentMatched")
    mark = len(world.log)
    await world.reconciliations(5)
    assert world.since(mark) == [], "pods that were looked at are no drift"


async def test_it_is_refused_by_name_when_what_answers_is_another_environment() -> None:
    world = await undetermined_world(report(WRONG))
    await scanned(world)
    assert (world.active, world.served) == (None, None)
    assert gate(world) == ("Rejected", "EnvironmentMismatch")
    assert "pid 12, /opt/other/bin/python: " in world.message("EnvironmentMatched")
    assert "scikit-learn: trained with 1.4.2, image has 1.2.0" in world.message("EnvironmentMatched")


async def test_code_that_is_not_the_images_refuses_it() -> None:
    world = await undetermined_world(report(RIGHT, MappedFile("/tmp/model.so", "ab" * 32)))
    await scanned(world)
    assert world.active is None
    assert gate(world) == ("Rejected", "CodeNotOfImage")
    assert "pid 12 runs /tmp/model.so, which is no file of the image" in world.message("EnvironmentMatched")


async def test_until_it_was_seen_it_waits_and_says_so() -> None:
    world = await undetermined_world()
    await scanned(world)
    assert (world.active, world.served) == (None, None)
    assert gate(world) == ("Pending", "ToBeObserved")
    assert "of the 2 environments" in world.message("EnvironmentMatched")
    pods = world.pods(world.candidate)
    assert [[one["name"] for one in pod["spec"]["ephemeralContainers"]] for pod in pods] == [[OBSERVER]] * 2
    assert pods[0]["spec"]["ephemeralContainers"][0]["securityContext"]["runAsUser"] == 0


WAITING = {"waiting": {"reason": "ErrImagePull", "message": "not found"}}
FAILED = {"terminated": {"exitCode": 1, "reason": "Error"}}
NO_REPORT = {"terminated": {"exitCode": 0, "reason": "Completed", "message": "{}"}}


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (WAITING, "ObserverUnavailable"),
        (FAILED, "ObserverFailed"),
        (NO_REPORT, "ObserverFailed"),
        (report(undetermined="nobody listens"), "ObserverFailed"),
    ],
)
async def test_what_could_not_be_seen_never_passes(seen: Report | Object, reason: str) -> None:
    world = await undetermined_world(seen)
    await scanned(world)
    assert world.active is None
    assert gate(world) == ("Retry", reason)
    assert len(world.pods(world.candidate)) == 2, "its pods stay"


async def test_a_pod_in_the_place_of_another_is_looked_at_anew() -> None:
    world = await undetermined_world(FAILED)
    await scanned(world)
    (image,) = world.workloads.reports
    world.workloads.reports[image] = report()
    for pod in world.pods(world.candidate):
        await world.connection.delete(ports.POD, TEAM, pod["metadata"]["name"])
    await world.reconciliations(8)
    await scanned(world)
    assert world.active is not None


async def test_an_api_server_that_refuses_the_observer_is_a_reason_of_its_own() -> None:
    world = await undetermined_world(report())
    world.cluster.admission.append(lambda verb, kind, body: "no debugging here" if verb == "add_ephemeral_container" else None)
    await scanned(world)
    assert gate(world) == ("Retry", "ObserverForbidden")
    assert "no debugging here" in world.message("EnvironmentMatched")


async def test_without_an_observer_it_waits_for_one() -> None:
    world = await undetermined_world(report())
    world.settings = replace(world.settings, observer_image="")
    world.start()
    await scanned(world)
    assert gate(world) == ("Retry", "ObserverUnavailable")


async def test_where_the_policy_never_looks_it_is_refused_before_a_pod_starts() -> None:
    world = await undetermined_world(report(), policy={"environment": {"observed": "Never"}})
    await scanned(world)
    assert gate(world) == ("Rejected", "InterpreterAmbiguous")
    assert world.deployments() == {}


async def test_where_the_policy_always_looks_an_image_that_says_what_it_starts_is_looked_at_too() -> None:
    world = await ready_world(policy={"environment": {"observed": "Required"}})
    await scanned(world)
    assert gate(world) == ("Pending", "ToBeObserved")
    assert world.pods(world.candidate)[0]["spec"]["ephemeralContainers"][0]["name"] == OBSERVER


async def test_a_restart_reads_again_what_was_seen() -> None:
    world = await undetermined_world()
    await scanned(world)
    digest = world.owner.status.candidate.image if world.owner.status.candidate else ""
    world.workloads.reports[str(digest)] = report()
    world.start()
    await scanned(world)
    assert world.active is not None
    added = [write for write in world.log if write.verb == "add_ephemeral_container"]
    assert len(added) == 2


async def test_the_active_revision_is_not_degraded_by_a_policy_that_looks_at_candidates() -> None:
    world = await undetermined_world(report())
    await scanned(world)
    world.policy(environment={"observed": "Required"}, labels={"x": "y"})
    await scanned(world)
    assert world.events()["ActiveDegraded"] == 0
    assert world.condition("Ready")[0] == "True"


async def test_a_container_that_only_looks_like_the_observer_is_drift() -> None:
    world = await undetermined_world(report())
    await scanned(world)
    pod = world.pods(world.active)[0]["metadata"]["name"]

    def exchange(obj: Object) -> None:
        obj["spec"]["ephemeralContainers"][0]["image"] = "registry.example.com/evil:1"

    world.cluster.edit(ports.POD, TEAM, pod, exchange)
    await world.reconciliations(4, apart=0.2)
    await world.settle()
    assert pod not in {one["metadata"]["name"] for one in world.pods(world.active)}


async def test_a_report_of_another_versions_observer_does_not_count() -> None:
    world = await undetermined_world()
    await scanned(world)
    candidate = world.owner.status.candidate
    assert candidate is not None
    world.workloads.reports[str(candidate.image)] = report()
    world.settings = replace(world.settings, observer_image=f"{OBSERVER_IMAGE}.1")
    world.start()
    await scanned(world)
    assert gate(world) == ("Retry", "ObserverFailed")
    assert len(world.pods(world.candidate)) == 2, "and its pods are not replaced for it"
