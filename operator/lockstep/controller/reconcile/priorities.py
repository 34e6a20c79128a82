"""Reads the cluster's PriorityClasses, and tells whether a candidate may have the one that it asks for."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.api.reasons import Reason
from lockstep.controller.cluster import ports
from lockstep.controller.cluster.ports import Clock, Cluster, Object
from lockstep.controller.records.active import Active
from lockstep.rollout.objects.revision import Snapshot
from lockstep.rollout.observed.observed import Observed
from lockstep.rollout.priority import lowest, priority_of
from lockstep.rollout.status.status import Hold

_SECONDS = 15.0


class Priorities:
    """Keeps the PriorityClasses for some seconds: pods that come up cause many reconciliations."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock
        self._known: tuple[float, Sequence[Object]] | None = None

    async def hold(self, policy: PromotionPolicy, candidate: Snapshot, active: Active, observed: Observed) -> Hold | None:
        """Return why the candidate's pods may not start: the scheduler could end pods that serve to make room for them.

        A class that the policy lists is let through, and so is one that never preempts, or is no higher than what serves has:
        pods of equal priority are never preempted.
        """
        wanted = candidate.template.priority_class_name
        if wanted is not None and any(fnmatchcase(wanted, pattern) for pattern in policy.spec.pods.priority_classes):
            return None
        classes = await self._classes()
        asked = priority_of(wanted, classes)
        if asked is None:
            # Somebody may have made it a moment ago.
            self._known = None
            classes = await self._classes()
            asked = priority_of(wanted, classes)
        if asked is None:
            # It could be made at any moment, with whatever value.
            message = f"the PriorityClass {wanted} does not exist. Next step (manifest): name one that does"
            return Hold(Reason.PRIORITY_NOT_ALLOWED, message)
        serving = priority_of(active.snapshot.template.priority_class_name, classes)
        has = lowest(observed.bearers_of(active.snapshot.revision), serving)
        if not asked.preempts or asked.value <= has:
            return None
        message = (
            f"the candidate's priority {asked.called} is higher than that of what serves ({has}): its pods could push the "
            "serving ones off their nodes before they have proven anything. Next step: name a PriorityClass with "
            "preemptionPolicy: Never or of no higher value in template.priorityClassName, or let the platform team list "
            "this one in pods.priorityClasses"
        )
        return Hold(Reason.PRIORITY_NOT_ALLOWED, message)

    async def _classes(self) -> Sequence[Object]:
        now = self._clock.monotonic()
        if self._known is None or now - self._known[0] >= _SECONDS:
            self._known = (now, await self._cluster.list(ports.PRIORITY_CLASS, None))
        return self._known[1]
