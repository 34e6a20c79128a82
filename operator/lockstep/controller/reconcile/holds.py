"""What besides the gates keeps a candidate from going on, as the cluster shows it."""

from lockstep.api.promotionpolicy import GuardsRule, PromotionPolicy
from lockstep.api.reasons import Reason
from lockstep.controller.cluster.guards import Guards
from lockstep.controller.cluster.observe import foreign_services
from lockstep.controller.cluster.ports import Cluster
from lockstep.controller.cluster.priorityclasses import PriorityClasses
from lockstep.controller.reconcile.observation import Observation
from lockstep.gates.gate import Result
from lockstep.gates.hold import HoldName, hold
from lockstep.rollout.objects.revision import MAX_SNAPSHOT_BYTES, Snapshot
from lockstep.rollout.observed.bearers import Standing, bearers
from lockstep.rollout.priority import preemption_problem


class Holds:
    """Finds all holds of a candidate, in the order of `HoldName`."""

    def __init__(self, cluster: Cluster, guards: Guards, classes: PriorityClasses) -> None:
        self._cluster = cluster
        self._guards = guards
        self._classes = classes

    async def of(self, observation: Observation, snapshot: Snapshot | None) -> tuple[Result, ...]:
        """Return what stands in the way of a candidate, whose snapshot is None where its parts are not known yet.

        Raises:
            ClusterError: the API server did not answer.
        """
        if snapshot is not None and snapshot.size > MAX_SNAPSHOT_BYTES:
            # Nothing of it is made, so that nothing else can stand in its way.
            return (_size_hold(snapshot),)
        found = (
            _name_hold(observation, snapshot),
            await self._guards_hold(observation.known_policy),
            await self._foreign_service_hold(observation, snapshot),
            _foreign_pod_hold(observation, snapshot),
            await self._priority_hold(observation, snapshot),
            hold(HoldName.PAUSE, Reason.PAUSED, Reason.PAUSED.sentence) if observation.owner.spec.paused else None,
        )
        return tuple(one for one in found if one is not None)

    async def _guards_hold(self, policy: PromotionPolicy | None) -> Result | None:
        missing = await self._guards.missing() if policy is not None and policy.spec.guards is GuardsRule.REQUIRED else ()
        if not missing:
            return None
        message = (
            f"guarding admission policies do not stand as the chart installs them ({', '.join(missing)}); upgrade the "
            "chart's release, or let the policy do without (guards: Optional)"
        )
        return hold(HoldName.GUARDS, Reason.GUARDS_MISSING, message)

    async def _foreign_service_hold(self, observation: Observation, snapshot: Snapshot | None) -> Result | None:
        if snapshot is None:
            return None
        extra, pods = observation.owner.spec.template.labels, observation.observed.pods_of(snapshot.revision)
        strangers = await foreign_services(self._cluster, observation.owner, snapshot.revision, extra, pods)
        if not strangers:
            return None
        message = (
            f"the Service {', '.join(strangers)} selects the candidate's pods too, so that they would get traffic: "
            "change its selector, or scrape pods without a Service (PodMonitor)"
        )
        return hold(HoldName.SERVICES, Reason.FOREIGN_SERVICE, message)

    async def _priority_hold(self, observation: Observation, snapshot: Snapshot | None) -> Result | None:
        policy, active = observation.known_policy, observation.active
        if policy is None or active is None or snapshot is None or not observation.owner.spec.replicas:
            return None
        wanted = snapshot.template.priority_class_name
        if policy.spec.pods.allows_priority(wanted):
            return None
        message = preemption_problem(
            wanted,
            active.snapshot.template.priority_class_name,
            observation.observed.bearers_of(active.snapshot.revision),
            await self._classes.list(expected=wanted),
        )
        return hold(HoldName.PRIORITY, Reason.PRIORITY_NOT_ALLOWED, message) if message is not None else None


def name_hold(observation: Observation, revision: str) -> Result | None:
    """Return the hold of an object of somebody else's that has the name of the Service, or of a revision's Deployment."""
    taken = observation.observed.conflict or observation.observed.taken.get(revision)
    return hold(HoldName.NAME, Reason.NAME_CONFLICT, taken) if taken is not None else None


def _name_hold(observation: Observation, snapshot: Snapshot | None) -> Result | None:
    return name_hold(observation, snapshot.revision if snapshot else "")


def _size_hold(snapshot: Snapshot) -> Result:
    message = f"the pods that the spec asks for take {snapshot.size} bytes to describe, and {MAX_SNAPSHOT_BYTES} are the most"
    advice = "Next step (manifest): make template smaller, its variables first"
    return hold(HoldName.SIZE, Reason.SPEC_TOO_LARGE, f"{message}. {advice}")


def _foreign_pod_hold(observation: Observation, snapshot: Snapshot | None) -> Result | None:
    """Return the hold of a pod that would get traffic with the candidate and is none of its own."""
    if snapshot is None:
        return None
    foreign = (Standing.STRANGER, Standing.STRAY)
    pods = bearers(observation.observed, {snapshot.revision: snapshot}, in_use=())
    name = next((pod.name for pod in pods if pod.revision == snapshot.revision and pod.standing in foreign), None)
    if name is None:
        return None
    message = f"the pod {name} bears the candidate's labels and is not Lockstep's: it is deleted as it comes"
    return hold(HoldName.PODS, Reason.FOREIGN_POD, f"{message}. Next step: find out who makes it")
