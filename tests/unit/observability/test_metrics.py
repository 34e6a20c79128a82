"""Metrics: what exists per object comes and goes with what it tells."""

import pytest
from prometheus_client import CollectorRegistry

from lockstep.observability.metrics import Metrics

IRIS, FRAUD = ("team", "iris"), ("team", "fraud")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


def value(metrics: Metrics, name: str, /, **by: str) -> float | None:
    return metrics.registry.get_sample_value(name, by)


def series(metrics: Metrics, name: str) -> int:
    return sum(len(family.samples) for family in metrics.registry.collect() if family.name == name)


def test_refusals_are_counted_by_cause_and_shown_by_object(metrics: Metrics) -> None:
    for _ in range(3):
        metrics.set_refused(IRIS, "environment", "EnvironmentMismatch", 1.0)
    metrics.set_refused(FRAUD, "environment", "EnvironmentMismatch", 2.0)
    assert value(metrics, "lockstep_blocked_deployments", gate="environment", reason="EnvironmentMismatch") == 2
    assert value(metrics, "lockstep_deployment_blocked_since_seconds", namespace="team", name="iris") == 1.0
    metrics.set_refused(IRIS, "lineage", "RunMissing", 3.0)
    assert value(metrics, "lockstep_blocked_deployments", gate="environment", reason="EnvironmentMismatch") == 1
    assert series(metrics, "lockstep_deployment_blocked") == 2


def test_what_no_longer_holds_leaves_no_series_behind(metrics: Metrics) -> None:
    metrics.set_refused(IRIS, "environment", "EnvironmentMismatch", 1.0)
    metrics.set_waiting(IRIS, "lineage", "RegistryUnreachable")
    assert series(metrics, "lockstep_deployment_blocked") == 0
    assert series(metrics, "lockstep_deployment_waiting") == 1
    metrics.set_refused(IRIS, "environment", "EnvironmentMismatch", 1.0)
    assert series(metrics, "lockstep_deployment_waiting") == 0
    metrics.clear(IRIS)
    metrics.clear(IRIS)
    assert series(metrics, "lockstep_deployment_blocked") == 0
    assert series(metrics, "lockstep_deployment_blocked_since_seconds") == 0


def test_a_degraded_object_has_one_series_and_a_gone_one_has_none(metrics: Metrics) -> None:
    metrics.set_degraded(IRIS, "PodsNotReady")
    metrics.set_degraded(IRIS, "LineageIncomplete")
    assert series(metrics, "lockstep_active_degraded") == 1
    metrics.set_refused(IRIS, "environment", "EnvironmentMismatch", 1.0)
    metrics.forget(IRIS)
    assert series(metrics, "lockstep_active_degraded") == 0
    assert series(metrics, "lockstep_deployment_blocked") == 0


def test_looks_are_counted_and_timed(metrics: Metrics) -> None:
    metrics.reconciled("ok", 0.2)
    metrics.reconciled("error", 0.2)
    assert value(metrics, "lockstep_reconcile_total", result="error") == 1
    assert value(metrics, "lockstep_reconcile_seconds_count") == 2
