"""One replica acts at a time: a frozen leader that wakes up changes nothing, and another takes over by itself."""

import json
import os
import signal
from typing import Any

from examples.demo import kube, platform
from tests.cluster.paths import AUDIT_LOG
from tests.cluster.wait import until
from tests.e2e.conftest import Leadership, Served
from tests.e2e.models import Models
from tests.e2e.stage import Stage

_OPERATOR = "system:serviceaccount:lockstep-system:lockstep"


def _versions(stage: Stage) -> dict[str, str]:
    kinds = ("modeldeployments.lockstep.dev", "services", "deployments.apps", "controllerrevisions.apps")
    found = [one for kind in kinds for one in kube.items(kind, stage.namespace)]
    return {f"{one['kind']}/{one['metadata']['name']}": one["metadata"]["resourceVersion"] for one in found}


def _restarts(pod: str) -> int:
    found = kube.get("pod", pod, platform.SYSTEM) or {}
    return sum(int(c["restartCount"]) for c in (found.get("status") or {}).get("containerStatuses") or [])


def test_a_leader_frozen_in_the_middle_of_a_promotion_changes_nothing_when_it_wakes_up(
    stage: Stage, models: Models, first: Served, leader: Leadership
) -> None:
    model = models.register("frozen", first.document)
    frozen = leader.name()
    pid, restarts = leader.pid(frozen), _restarts(frozen)
    stage.deploy("frozen", model.version, first.reference)
    until(
        lambda: (stage.status().get("candidate") or {}).get("podsSince"), 60, "the candidate's pods are asked for", every=0.02
    )
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: leader.name() != frozen, 60, "another replica leads")
        stage.promoted()
        until(lambda: stage.status().get("readyReplicas") == 1, 30, "it serves")
        before = _versions(stage)
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: _restarts(frozen) > restarts, 120, "the deposed leader has ended")
    assert _versions(stage) == before
    assert leader.name() != frozen
    assert len(stage.events("Promoted")) == 1


def test_another_replica_takes_over_when_the_leader_is_gone(
    stage: Stage, models: Models, first: Served, leader: Leadership
) -> None:
    model = models.register("takeover", first.document)
    gone = leader.name()
    kube.kubectl("delete", "pod", gone, "-n", platform.SYSTEM, "--grace-period=0", "--force")
    stage.deploy("takeover", model.version, first.reference)
    until(lambda: leader.name() != gone, 40, "another replica leads")
    stage.promoted()


def test_an_operator_killed_during_a_promotion_ends_in_the_same_state(
    stage: Stage, models: Models, first: Served, leader: Leadership
) -> None:
    model = models.register("killed", first.document)
    stage.deploy("killed", model.version, first.reference)
    until(
        lambda: (stage.status().get("candidate") or {}).get("podsSince"), 60, "the candidate's pods are asked for", every=0.02
    )
    os.kill(leader.pid(leader.name()), signal.SIGKILL)
    active = stage.promoted()
    service = kube.get("service", "model", stage.namespace) or {}
    assert service["spec"]["selector"]["lockstep.dev/revision"] == active["revision"]
    until(lambda: stage.events("Promoted"), 30, "it is told")
    assert len(stage.events("Promoted")) == len(stage.events("CandidateStarted")) == 1


def test_a_restart_on_settled_objects_writes_nothing(stage: Stage, models: Models, first: Served, leader: Leadership) -> None:
    model = models.register("settled", first.document)
    stage.deploy("settled", model.version, first.reference)
    stage.promoted()
    until(lambda: stage.status().get("readyReplicas") == 1, 30, "it serves")
    before, old = _versions(stage), leader.name()
    read = AUDIT_LOG.stat().st_size
    kube.kubectl("rollout", "restart", "deployment/lockstep", "-n", platform.SYSTEM)
    kube.rolled_out(platform.SYSTEM, "lockstep")
    until(lambda: leader.name() != old, 60, "a new replica leads")
    everything = len(kube.items("modeldeployments.lockstep.dev"))
    until(lambda: _reconciliations(leader.metrics()) >= everything, 60, "everything has been reconciled")
    assert _versions(stage) == before
    assert [entry for entry in _writes(read) if entry["objectRef"].get("namespace") == stage.namespace] == []


def _reconciliations(metrics: str) -> float:
    counted = [line for line in metrics.splitlines() if line.startswith('lockstep_reconcile_total{result="ok"}')]
    return float(counted[0].rpartition(" ")[2]) if counted else 0


def _writes(offset: int) -> list[dict[str, Any]]:
    """Return what the operator wrote, by the API server's audit log from an offset on."""
    with AUDIT_LOG.open() as log:
        log.seek(offset)
        entries = [json.loads(line) for line in log if line.endswith("\n")]
    return [
        entry
        for entry in entries
        if entry["user"]["username"] == _OPERATOR
        and entry.get("objectRef", {}).get("resource") != "leases"
        # An event that exists already is answered with 409: it is told again after a restart, and not written again.
        and entry["responseStatus"]["code"] < 400
    ]
