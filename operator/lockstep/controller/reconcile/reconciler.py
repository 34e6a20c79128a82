"""One reconciliation: read, keep what serves as it was promoted, then take the candidate one step further."""

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from pydantic import ValidationError

from lockstep.api.modeldeployment import ModelDeployment, ModelDeploymentStatus
from lockstep.api.promotionpolicy import RolloutSpec
from lockstep.api.reasons import ConditionType, EventReason, Reason
from lockstep.controller.cluster import ports
from lockstep.controller.cluster.endpoints import ForeignEndpoints
from lockstep.controller.cluster.observe import is_ending, observe
from lockstep.controller.cluster.platforms import Platforms
from lockstep.controller.cluster.policies import policy_for
from lockstep.controller.cluster.ports import (
    Clock,
    Cluster,
    ConflictError,
    Events,
    Object,
    RejectedError,
    UnavailableError,
)
from lockstep.controller.reconcile.act import Actor, NameTakenError
from lockstep.controller.reconcile.activerevision import ActiveRevision
from lockstep.controller.reconcile.allowances import Allowances
from lockstep.controller.reconcile.apirefusals import hold_of_refusal, keep_cluster_hold
from lockstep.controller.reconcile.candidates import Candidates
from lockstep.controller.reconcile.observation import Observation
from lockstep.controller.reconcile.plan import Plan
from lockstep.controller.reconcile.report import Reporter
from lockstep.controller.reconcile.servicechecks import ServiceChecks
from lockstep.controller.reconcile.trusted import TrustedStatus
from lockstep.controller.records.active import active_of, snapshots_of
from lockstep.controller.records.store import Records
from lockstep.controller.sources.gatherings import Gatherings
from lockstep.controller.sources.images import ImagesOf
from lockstep.formats.faults import first_fault
from lockstep.gates.gate import Gate
from lockstep.rollout.actions import Action, Delete
from lockstep.rollout.maintain import Maintenance, maintain
from lockstep.rollout.observed.ownership import foreign_object
from lockstep.rollout.removals import Impairment
from lockstep.rollout.status.conditions import Conditions
from lockstep.rollout.status.status import deletion_status, kept_status, next_status

_log = logging.getLogger(__name__)
_SOON = 0.2
_REFUSED = 15.0


class Reconciler:
    """Reconciles ModelDeployments, each by one reconciliation at a time."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        clock: Clock,
        events: Events,
        records: Records,
        platforms: Platforms,
        images: ImagesOf,
        active_revision: ActiveRevision,
        candidates: Candidates,
        endpoints: ForeignEndpoints,
        services: ServiceChecks,
        reporter: Reporter,
        gatherings: Gatherings,
        gates: Sequence[Gate],
        observer: str,
    ) -> None:
        self._cluster = cluster
        self._observer = observer
        self._clock = clock
        self._events = events
        self._records = records
        self._platforms = platforms
        self._images = images
        self._active_revision = active_revision
        self._candidates = candidates
        self._endpoints = endpoints
        self._services = services
        self._reporter = reporter
        self._gatherings = gatherings
        self._gates = gates
        self._actor = Actor(cluster, events)
        self._allowances = Allowances(clock)
        self._trusted = TrustedStatus()

    async def stop(self) -> None:
        """End what runs beside the reconciliations."""
        await self._candidates.stop()
        await self._services.stop()

    async def reconcile(self, namespace: str, name: str, requeue: Callable[[], None]) -> float | None:
        """Take one step and return in how many seconds to requeue; None when nothing is due by itself.

        Raises:
            ClusterError: the API server did not answer, or refused.
        """
        raw = await self._cluster.get(ports.MODEL_DEPLOYMENT, namespace, name)
        if raw is None or "deletionTimestamp" in raw["metadata"]:
            self._reporter.forget((namespace, name))
            self._gatherings.forget((namespace, name))
            self._endpoints.forget((namespace, name))
            return await self._report_deletion(raw) if raw is not None else None
        try:
            owner, foreign = self._trusted.read(raw)
        except ValidationError as error:
            await self._report_invalid_spec(raw, error)
            return None
        try:
            return await self._reconcile(raw, owner, requeue, foreign=foreign)
        except ConflictError:
            # Something moved since it was read: requeue at once, decide anew.
            return _SOON

    async def _reconcile(
        self, raw: Object, owner: ModelDeployment, requeue: Callable[[], None], *, foreign: bool
    ) -> float | None:
        observation = await self._read(raw, owner, requeue)
        if foreign:
            await self._report_foreign_status(raw)
        # Who else gets traffic goes first, and holds up nothing.
        due, impairment = await self._remove_foreign_endpoints(observation)
        maintenance = self._maintenance(observation, observation.owner)
        return _earliest(
            due, await self._proceed(observation, replace(maintenance, impairment=impairment or maintenance.impairment))
        )

    async def _proceed(self, observation: Observation, maintenance: Maintenance) -> float | None:
        if maintenance.actions:
            # What serves comes first, and is observed once more before anything else is decided.
            return await self._maintain(observation, maintenance)
        plan = await self._active_revision.evaluate(observation)
        if plan is None:
            plan = await self._candidates.evaluate(observation)
        # Whatever becomes of a candidate meanwhile: nobody keeps the Service from being asked by applying another one.
        answers, due = self._services.check(observation)
        if plan.undecided:
            await self._correct_status(observation, maintenance)
            return _requeue_after(replace(plan, requeue_after=_earliest(plan.requeue_after, due)), maintenance)
        plan = replace(
            plan, status_input=replace(plan.status_input, answers=answers), requeue_after=_earliest(plan.requeue_after, due)
        )
        return await self._conclude(observation, plan, maintenance)

    async def _remove_foreign_endpoints(self, observation: Observation) -> tuple[float | None, Impairment | None]:
        """Return in how many seconds to check again, and why what serves is not what was promoted where it can't be removed."""
        try:
            return await self._endpoints.remove(observation.raw, observation.owner, observation.observed), None
        except RejectedError as error:
            message = f"what leads the Service's traffic elsewhere can't be removed: {error}"
            return _REFUSED, Impairment(Reason.UPKEEP_REFUSED, message)

    async def _maintain(self, observation: Observation, maintenance: Maintenance) -> float | None:
        """Put right what serves, and say meanwhile what does not hold: somebody may undo it for as long as they like."""
        try:
            await self._perform(observation, maintenance.actions)
        except (RejectedError, NameTakenError) as error:
            if await is_ending(self._cluster, observation.owner.namespace):
                return None
            message = f"what serves can't be kept as it was promoted: {error}"
            reason = error.reason if isinstance(error, NameTakenError) else Reason.UPKEEP_REFUSED
            await self._correct_status(observation, replace(maintenance, impairment=Impairment(reason, message)))
            return _REFUSED
        except UnavailableError:
            await self._correct_status(observation, maintenance)
            raise
        self._reporter.count_corrections(maintenance.actions)
        await self._correct_status(observation, maintenance)
        return _SOON

    async def _correct_status(self, observation: Observation, maintenance: Maintenance) -> None:
        """Write what the status can't go on claiming. A status that was never written claims nothing."""
        if observation.owner.status.observed_generation is None:
            return
        active = observation.active.status if observation.active else None
        observed = observation.observed.without(maintenance.strangers)
        status = kept_status(observation.owner, observed, active, observation.now, maintenance.impairment)
        await self._reporter.before_write(observation, status)
        await self._write(observation, status)
        self._reporter.report_degraded(observation, status)

    async def _report_deletion(self, raw: Object) -> float | None:
        """Say of a ModelDeployment that is being deleted, and that somebody's finalizer keeps, that nobody keeps it up."""
        self._trusted.forget(str(raw["metadata"]["uid"]))
        try:
            owner = ModelDeployment.from_object(raw)
        except ValidationError:
            return None
        observed = await observe(self._cluster, owner, self._observer)
        active = await active_of(owner, observed, self._records)
        status = deletion_status(owner, observed, active.status if active else None, self._clock.now())
        try:
            if raw.get("status") != status.payload():
                await self._store(raw, status)
        except ConflictError:
            return _SOON
        except RejectedError:
            _log.info("%s/%s is gone", owner.namespace, owner.name)
        return None

    async def _read(self, raw: Object, owner: ModelDeployment, requeue: Callable[[], None]) -> Observation:
        observed = await observe(self._cluster, owner, self._observer)
        policy = await policy_for(self._cluster, owner.namespace)
        snapshots = snapshots_of(observed)
        active = await active_of(owner, observed, self._records)
        if active is not None:
            snapshots[active.snapshot.revision] = active.snapshot
        conflict = foreign_object(owner, observed, active.snapshot if active else None)
        # What the records do not vouch for is not active, whatever the status says.
        believed = owner.status.model_copy(update={"active": active.status if active else None})
        return Observation(
            raw=raw,
            owner=owner.model_copy(update={"status": believed}),
            observed=replace(observed, conflict=conflict),
            policy=policy,
            snapshots=snapshots,
            active=active,
            images=self._images.of(owner),
            platform=await self._platforms.of(owner.spec.template.node_selector),
            now=self._clock.now(),
            requeue=requeue,
        )

    def _maintenance(self, observation: Observation, owner: ModelDeployment) -> Maintenance:
        candidate, active = owner.status.candidate, owner.status.active
        in_use = candidate is not None and candidate.revision and candidate.pods_since and not candidate.final
        revision = candidate.revision if in_use and candidate else None
        serving = observation.snapshots.get(active.revision or "") if active else None
        return maintain(
            owner,
            observation.observed,
            active=serving,
            snapshots=observation.snapshots,
            keep=frozenset({revision} if revision else ()),
            rollout=observation.known_policy.spec.rollout if observation.known_policy else RolloutSpec(),
            now=observation.now,
            allowance=self._allowances.of(owner.uid),
            admitted=self._actor.admitted,
        )

    async def _conclude(self, observation: Observation, plan: Plan, maintenance: Maintenance) -> float | None:
        """Write the status, and only after it has been accepted carry out what it justifies."""
        observed = observation.observed.without(maintenance.strangers)
        status_input = keep_cluster_hold(observation, plan)
        # What is promoted now is another revision than the one that upkeep was about.
        impairment = None if plan.promoted else maintenance.impairment
        status = next_status(
            observation.owner, observed, status_input, observation.now, impairment=impairment, gates=self._gates
        )
        await self._reporter.before_write(observation, status)
        written = await self._write(observation, status)
        try:
            await self._perform(observation, plan.actions)
            if plan.promoted:
                await self._switch(written, plan)
        except (RejectedError, NameTakenError, UnavailableError) as error:
            if await is_ending(self._cluster, observation.owner.namespace):
                return None
            held = replace(plan, status_input=replace(plan.status_input, holds=(hold_of_refusal(error),)))
            status = next_status(
                written.owner, observed, held.status_input, observation.now, impairment=impairment, gates=self._gates
            )
            if not isinstance(error, UnavailableError):
                # An answer that got lost is no news.
                await self._reporter.before_write(written, status)
            await self._write(written, status)
            self._reporter.report_hold(observation, status)
            if isinstance(error, UnavailableError):
                # The queue counts it, and waits longer each time.
                raise
            _log.warning("%s/%s: the API server refuses: %s", *observation.key, error)
            return _REFUSED
        await self._reporter.after_write(observation, status, plan)
        return _requeue_after(plan, maintenance)

    async def _switch(self, observation: Observation, plan: Plan) -> None:
        """Flip the Service, with the resourceVersion that it had before the status was written."""
        snapshots = dict(observation.snapshots)
        if plan.snapshot is not None:
            snapshots[plan.snapshot.revision] = plan.snapshot
        maintenance = self._maintenance(replace(observation, snapshots=snapshots), observation.owner)
        await self._perform(observation, maintenance.actions)

    async def _write(self, observation: Observation, status: ModelDeploymentStatus) -> Observation:
        """Write the status where it differs from what the API server holds, and return the observation with it."""
        raw = observation.raw
        if raw.get("status") != status.payload():
            self._trusted.forget(observation.owner.uid)
            raw = await self._store(raw, status)
        self._trusted.keep(observation.owner.uid, status)
        return replace(observation, raw=raw, owner=observation.owner.model_copy(update={"status": status}))

    async def _store(self, raw: Object, status: ModelDeploymentStatus) -> Object:
        namespace, name, version = (str(raw["metadata"][key]) for key in ("namespace", "name", "resourceVersion"))
        payload = status.payload()
        return await self._cluster.patch_status(ports.MODEL_DEPLOYMENT, namespace, name, payload, resource_version=version)

    async def _perform(self, observation: Observation, actions: Sequence[Action]) -> None:
        for action in actions:
            await self._actor.perform(observation.raw, action)
            if isinstance(action, Delete) and action.kind == "Pod":
                self._allowances.spend(observation.owner.uid, 1)

    async def _report_foreign_status(self, raw: Object) -> None:
        await self._events.post(
            raw,
            type_="Warning",
            reason=str(EventReason.STATUS_CORRECTED),
            action="Correct",
            note="somebody else changed the status; it was put right",
            key=f"status-{raw['metadata']['resourceVersion']}",
        )

    async def _report_invalid_spec(self, raw: Object, error: ValidationError) -> None:
        """Say of a spec that the schema let through and that can't be understood that nothing is done with it."""
        metadata = raw["metadata"]
        status = dict(raw.get("status") or {})
        known = ModelDeploymentStatus.model_validate({"conditions": status.get("conditions") or []})
        conditions = Conditions(known.conditions, generation=metadata["generation"], now=self._clock.now())
        conditions.set(ConditionType.READY, "False", Reason.SPEC_INVALID, first_fault(error))
        status["conditions"] = [condition.payload() for condition in conditions.list()]
        if status != raw.get("status"):
            await self._cluster.patch_status(
                ports.MODEL_DEPLOYMENT,
                metadata["namespace"],
                metadata["name"],
                status,
                resource_version=metadata["resourceVersion"],
            )


def _requeue_after(plan: Plan, maintenance: Maintenance) -> float | None:
    """Return the sooner of what the candidate and what the old revisions wait for."""
    due = _earliest(plan.requeue_after, maintenance.due)
    if due is None:
        return None
    # Jitter, so that what was blocked together does not ask together.
    return max(_SOON, due * random.uniform(0.9, 1.2))


def _earliest(*waits: float | None) -> float | None:
    return min((seconds for seconds in waits if seconds is not None), default=None)
