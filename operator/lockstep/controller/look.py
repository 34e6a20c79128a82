"""One look at one ModelDeployment: everything that was read for it, handed from step to step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from lockstep.api.modeldeployment import ModelDeployment
from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.controller.active import Active
from lockstep.controller.gather import Facts
from lockstep.controller.ports import Object
from lockstep.gates.evidence import CandidatePods, Evidence, Fact, Unknown
from lockstep.images.image import ImagePlatform
from lockstep.rollout.observed import Observed
from lockstep.rollout.revision import Snapshot


@dataclass(frozen=True)
class Look:
    """What is known before any evidence is gathered."""

    raw: Object
    owner: ModelDeployment
    observed: Observed
    policy: Fact[PromotionPolicy]
    snapshots: Mapping[str, Snapshot]
    active: Active | None
    platform: ImagePlatform
    now: datetime
    again: Callable[[], None] = field(repr=False)
    """Asks for another look at the same object."""

    @property
    def known_policy(self) -> PromotionPolicy | None:
        """The policy, where there is one."""
        return None if isinstance(self.policy, Unknown) else self.policy

    def evidence(self, facts: Facts, candidate: CandidatePods | None = None) -> Evidence:
        """Return the evidence of one decision, frozen."""
        return Evidence(
            now=self.now,
            namespace=self.owner.namespace,
            name=self.owner.name,
            spec=self.owner.spec,
            policy=self.policy,
            lineage=facts.lineage,
            image=facts.image,
            scan=facts.scan,
            signed=facts.signed,
            files=facts.files,
            pins=facts.pins,
            candidate=candidate,
        )

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.owner.namespace, self.owner.name
