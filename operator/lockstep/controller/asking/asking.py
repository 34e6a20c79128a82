"""What a policy wants to be asked of a revision, wherever it answers: at its pods, and through the Service."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from lockstep.api.modeldeployment import ModelDeployment
from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.gates.readiness import effective_deadline, effective_requests
from lockstep.gates.rules.questions import is_listed
from lockstep.readiness.port import Audit
from lockstep.rollout.objects.revision import Snapshot

_HTTP = 80


@dataclass(frozen=True)
class Asking:
    """Who is asked about, and for whom."""

    owner: ModelDeployment
    policy: PromotionPolicy
    snapshot: Snapshot
    since: datetime
    """When what is asked could begin to answer."""
    now: datetime
    input_example: bytes | None
    requeue: Callable[[], None]
    """Asks for another reconciliation, when something was found out beside this one."""

    @property
    def elapsed(self) -> float:
        """Seconds since what is asked could begin to answer."""
        return (self.now - self.since).total_seconds()

    @property
    def deadline(self) -> int:
        """Seconds until a candidate is refused, by policy and user."""
        return effective_deadline(self.owner.spec.readiness, self.policy.spec.readiness)

    @property
    def requests(self) -> int:
        """Predictions that each pod has to answer; a model without an example is asked for readiness alone."""
        custom = self.snapshot.server.custom
        if self.input_example is None and (custom is None or custom.predict_body is None):
            return 0
        return effective_requests(self.owner.spec.readiness, self.policy.spec.readiness)


def hosts(owner: ModelDeployment) -> tuple[str, ...]:
    """Return the names by which clients in the cluster address the Service, as their Host header has them."""
    name, port = f"{owner.name}.{owner.namespace}", owner.spec.service.port
    suffix = "" if port == _HTTP else f":{port}"
    return tuple(f"{host}{suffix}" for host in (owner.name, name, f"{name}.svc"))


def audit_of(
    asking: Asking, *, pod: str, address: str, port: int, requests: int, within_seconds: float, ready: bool = True
) -> Audit:
    """Return the audit of one address."""
    rules = asking.policy.spec.readiness
    return Audit(
        pod=pod,
        address=address,
        port=port,
        hosts=hosts(asking.owner),
        server=asking.snapshot.server,
        input_example=asking.input_example,
        requests=requests,
        timeout_seconds=float(rules.timeout_seconds),
        within_seconds=float(round(within_seconds)),
        whole_example=is_listed(asking.snapshot.model, rules.whole_example),
        missing_predictions=is_listed(asking.snapshot.model, rules.missing_predictions),
        ready=ready,
    )
