"""Prometheus metrics. Labels are bounded: an object's name is one only on what exists per blocked or degraded object."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
Key = tuple[str, str]


class Metrics:
    """All metrics of the controller, in a registry of their own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.promotions = Counter(
            "lockstep_promotions", "Decisions about candidates, by outcome.", ["outcome"], registry=registry
        )
        self.gate_results = Counter(
            "lockstep_gate_results",
            "Changes of gate results, by gate, outcome and reason.",
            ["gate", "outcome", "reason"],
            registry=registry,
        )
        self.blocked = Gauge(
            "lockstep_blocked_deployments",
            "ModelDeployments whose candidate is blocked, by gate and reason.",
            ["gate", "reason"],
            registry=registry,
        )
        self.deployment_blocked = Gauge(
            "lockstep_deployment_blocked",
            "1 for each ModelDeployment whose candidate a gate refuses.",
            ["namespace", "name", "gate", "reason"],
            registry=registry,
        )
        self.deployment_waiting = Gauge(
            "lockstep_deployment_waiting",
            "1 for each ModelDeployment whose candidate waits at a gate or hold: for a dependency, for room or for a person.",
            ["namespace", "name", "gate", "reason"],
            registry=registry,
        )
        self.blocked_since = Gauge(
            "lockstep_deployment_blocked_since_seconds",
            "Unix time since when the candidate is blocked.",
            ["namespace", "name"],
            registry=registry,
        )
        self.active_degraded = Gauge(
            "lockstep_active_degraded",
            "1 for each ModelDeployment whose active revision has no ready pods, is changed, or no longer meets the policy.",
            ["namespace", "name", "reason"],
            registry=registry,
        )
        self.drift = Counter("lockstep_drift_corrections", "Foreign changes that were put right.", registry=registry)
        self.foreign_endpoints = Counter(
            "lockstep_foreign_endpoints_removed",
            "EndpointSlices and Endpoints that somebody else wrote for an owned Service, and that were removed.",
            registry=registry,
        )
        self.dependency_up = Gauge(
            "lockstep_dependency_up", "1 when the last call was answered.", ["dependency"], registry=registry
        )
        self.queue_depth = Gauge(
            "lockstep_queue_depth", "ModelDeployments that wait for a reconciliation, by lane.", ["lane"], registry=registry
        )
        self.queue_oldest = Gauge(
            "lockstep_queue_oldest_seconds",
            "For how long the one waits that waits longest, by lane.",
            ["lane"],
            registry=registry,
        )
        self.gatherings = Gauge(
            "lockstep_gatherings",
            "Questions to MLflow, to image registries and to candidate pods, by what is asked and state.",
            ["asked", "state"],
            registry=registry,
        )
        self.gathering_seconds = Histogram(
            "lockstep_gathering_seconds",
            "Duration of such a question, without the wait for its turn.",
            ["asked"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.silent_servers = Gauge(
            "lockstep_silent_servers",
            "Servers that do not answer in time and are asked seldom, counted once for each namespace that names them.",
            ["dependency"],
            registry=registry,
        )
        self.reconciles = Counter(
            "lockstep_reconcile", "Reconciliations of ModelDeployments, by result.", ["result"], registry=registry
        )
        self.reconcile_seconds = Histogram(
            "lockstep_reconcile_seconds", "Duration of one reconciliation.", buckets=_SECONDS, registry=registry
        )
        self.scan_seconds = Histogram(
            "lockstep_scan_seconds", "Duration of one image scan.", buckets=_SECONDS, registry=registry
        )
        self.leader = Gauge("lockstep_leader", "1 on the replica that holds the Lease.", registry=registry)
        self._waiting: dict[Key, tuple[str, str]] = {}
        self._refused: dict[Key, tuple[str, str]] = {}

    def reconciled(self, result: str, seconds: float) -> None:
        """Count one reconciliation of a ModelDeployment."""
        self.reconciles.labels(result).inc()
        self.reconcile_seconds.observe(seconds)

    def observe_gathering(self, asked: str, seconds: float) -> None:
        """Count one answer of a server."""
        self.gathering_seconds.labels(asked).observe(seconds)

    def set_refused(self, key: Key, gate: str, reason: str, since: float) -> None:
        """Say that a gate refuses an object's candidate."""
        self._clear_waiting(key)
        if self._refused.get(key) != (gate, reason):
            self._clear_refused(key)
            self._refused[key] = (gate, reason)
            self.deployment_blocked.labels(*key, gate, reason).set(1)
            self.blocked.labels(gate, reason).inc()
        self.blocked_since.labels(*key).set(since)

    def set_waiting(self, key: Key, gate: str, reason: str, *, refused: bool = False) -> None:
        """Say that an object's candidate waits for something that has not come for a while.

        One that was refused before, and that a dependency keeps from being judged anew, is still refused: its series go on,
        so that an alert on them does not begin anew.
        """
        if not refused:
            self._clear_refused(key)
        if self._waiting.get(key) != (gate, reason):
            self._clear_waiting(key)
            self._waiting[key] = (gate, reason)
            self.deployment_waiting.labels(*key, gate, reason).set(1)

    def clear(self, key: Key) -> None:
        """Say that nothing holds an object's candidate back."""
        self._clear_refused(key)
        self._clear_waiting(key)

    def _clear_refused(self, key: Key) -> None:
        if (refused := self._refused.pop(key, None)) is not None:
            self.deployment_blocked.remove(*key, *refused)
            self.blocked_since.remove(*key)
            self.blocked.labels(*refused).dec()

    def _clear_waiting(self, key: Key) -> None:
        if (waiting := self._waiting.pop(key, None)) is not None:
            self.deployment_waiting.remove(*key, *waiting)

    def set_degraded(self, key: Key, reason: str | None) -> None:
        """Say whether, and why, an object's active revision is degraded."""
        self.active_degraded.remove_by_labels({"namespace": key[0], "name": key[1]})
        if reason is not None:
            self.active_degraded.labels(*key, reason).set(1)

    def forget(self, key: Key) -> None:
        """Remove every series of an object that is gone."""
        self.clear(key)
        self.set_degraded(key, None)
