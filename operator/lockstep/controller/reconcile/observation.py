"""One reconciliation of one ModelDeployment: everything that was read for it, handed from step to step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from lockstep.api.modeldeployment import ModelDeployment
from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.controller.cluster.ports import Object
from lockstep.controller.records.active import Active
from lockstep.gates.evidence import Fact, Unknown
from lockstep.gathering.subject import Images, Subject
from lockstep.images.image import ImagePlatform
from lockstep.rollout.objects.revision import Snapshot
from lockstep.rollout.observed.observed import Observed


@dataclass(frozen=True)
class Observation:
    """What was read of the cluster, before any evidence is gathered."""

    raw: Object
    """The ModelDeployment as the API server has it."""
    owner: ModelDeployment
    """The same, with a status that the records vouch for."""
    observed: Observed
    policy: Fact[PromotionPolicy]
    snapshots: Mapping[str, Snapshot]
    active: Active | None
    platform: ImagePlatform
    images: Images
    """Opens images as the pods of `owner` may."""
    now: datetime
    requeue: Callable[[], None] = field(repr=False)
    """Asks for the next reconciliation of the same object."""

    @property
    def known_policy(self) -> PromotionPolicy | None:
        """The policy, where there is one."""
        return None if isinstance(self.policy, Unknown) else self.policy

    @property
    def subject(self) -> Subject | None:
        """What evidence is gathered about; None without a policy, since nobody may be asked then."""
        policy = self.known_policy
        return Subject(self.owner, policy, self.images, self.platform) if policy is not None else None

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.owner.namespace, self.owner.name
