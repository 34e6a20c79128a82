"""The candidate's evidence, verdict and next step, with the record that has to exist before it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from lockstep.api.environmentspec import BytecodeCache
from lockstep.api.modeldeployment import CandidateStatus, GateOutcome
from lockstep.api.podsspec import RootFilesystem
from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.api.reasons import Reason
from lockstep.api.records import RecordOutcome
from lockstep.controller.asking.asking import Asking
from lockstep.controller.asking.observations import PodObservations
from lockstep.controller.asking.pods import PodAudits, ready_count
from lockstep.controller.reconcile.holds import Holds
from lockstep.controller.reconcile.observation import Observation
from lockstep.controller.reconcile.plan import Plan
from lockstep.controller.records.store import Records, record_name
from lockstep.controller.sources.gather import Gatherer, is_on_its_way
from lockstep.environment.observation import Observation as EnvironmentSeen
from lockstep.gates import image as image_gate
from lockstep.gates import lineage as lineage_gate
from lockstep.gates.chain import evaluate
from lockstep.gates.evidence import CandidatePods, Evidence, Fact, Unknown
from lockstep.gates.gate import Gate
from lockstep.gates.hold import HoldName
from lockstep.gates.rules.observed import is_wanted as is_observation_wanted
from lockstep.gates.verdict import Verdict
from lockstep.gathering.gather import evidence_without_policy
from lockstep.rollout.candidate import (
    CandidateInput,
    CandidatePins,
    CandidateStep,
    activate,
    could_come_up_since,
    next_step,
    pinned_reference,
    previous_candidate,
    waits_for_room,
    wanted_pods,
)
from lockstep.rollout.objects.manifests import with_pod_spec
from lockstep.rollout.objects.revision import Snapshot, spec_hash
from lockstep.rollout.status.results import difference_statuses
from lockstep.rollout.status.status import StatusInput, promoted_history

_WITH_PODS = 5.0
_RETRY = 10.0
_BLOCKED = 60.0


@dataclass(frozen=True)
class _Progress:
    """How far the candidate is: its pods, and whether its passing verdict is recorded."""

    pods: CandidatePods | None
    recorded: bool

    @property
    def on_its_way(self) -> bool:
        """True while something about the pods has been asked that is not answered yet."""
        return self.pods is not None and any(is_on_its_way(fact) for fact in self.pods.reported.values())


class Candidates:
    """Evaluates candidates. Nothing here writes to the namespace: what follows is done after the status is accepted."""

    def __init__(
        self,
        *,
        records: Records,
        gatherer: Gatherer,
        audits: PodAudits,
        observations: PodObservations,
        holds: Holds,
        gates: Sequence[Gate],
    ) -> None:
        self._records = records
        self._gatherer = gatherer
        self._audits = audits
        self._observations = observations
        self._holds = holds
        self._gates = gates

    async def stop(self) -> None:
        """End what runs beside the reconciliations."""
        await self._audits.stop()
        await self._observations.stop()

    async def evaluate(self, observation: Observation) -> Plan:
        """Decide the candidate's next step.

        Raises:
            ClusterError: the API server did not answer.
        """
        before = previous_candidate(observation.owner, None, observation.now)
        if self._is_final(observation, before):
            return self._plan(observation, before, requeue_after=None)
        evidence = await self._evidence(observation, before)
        if _awaits_fresh_facts(evidence, before):
            return self._plan_unchanged(observation, before)
        snapshot = self._snapshot(observation, evidence)
        if (
            observation.active is not None
            and snapshot is not None
            and snapshot.essence() == observation.active.snapshot.essence()
        ):
            return self._plan_same_revision(observation)
        version = evidence.lineage.version if not isinstance(evidence.lineage, Unknown) else None
        before = previous_candidate(observation.owner, version, observation.now)
        progress = await self._progress(observation, before, snapshot, evidence)
        if progress.on_its_way:
            return self._plan_unchanged(observation, before)
        evidence = replace(evidence, pods=progress.pods)
        holds = await self._holds.of(observation, snapshot)
        if any(hold.gate == HoldName.SIZE for hold in holds):
            # Nothing that would hold it is made, no record either.
            snapshot = None
        verdict = evaluate(evidence, self._gates, holds)
        if observation.subject is not None:
            await self._gatherer.pin(observation.subject, evidence, verdict)
        given = CandidateInput(
            owner=observation.owner,
            policy=observation.known_policy,
            verdict=verdict,
            pins=_pins(evidence),
            snapshot=snapshot,
            observed=observation.observed,
            now=observation.now,
            recorded=progress.recorded,
            pods_ready=ready_count(progress.pods.pods) if progress.pods else 0,
            pods_since=self._pods_since(observation, snapshot, progress, verdict),
        )
        step = next_step(given)
        return await self._conclude(observation, given, step, evidence)

    def _is_final(self, observation: Observation, before: CandidateStatus) -> bool:
        """Return whether nothing but another spec or policy helps; then nobody is asked anything."""
        policy = observation.known_policy
        alias = observation.owner.spec.model.alias is not None
        return before.final and policy is not None and before.policy_hash == policy.spec.hash and not alias

    async def _evidence(self, observation: Observation, before: CandidateStatus) -> Evidence:
        if observation.subject is None:
            assert isinstance(observation.policy, Unknown)
            return evidence_without_policy(observation.owner, observation.policy, observation.now)
        return await self._gatherer.evidence(
            observation.subject,
            observation.requeue,
            now=observation.now,
            version=observation.owner.spec.model.version,
            reference=pinned_reference(before, observation.owner.spec.image),
            since=before.start_time or observation.now,
        )

    def _plan_unchanged(self, observation: Observation, before: CandidateStatus) -> Plan:
        """Leave the candidate as it was judged last, for as long as what is asked anew is on its way: nothing follows from
        facts that are no longer fresh, and a status that said so for a moment would be written twice for nothing.
        """
        requeue_after = _WITH_PODS if before.pods_since is not None else _BLOCKED
        return replace(self._plan(observation, before, requeue_after=requeue_after), undecided=True)

    def _snapshot(self, observation: Observation, evidence: Evidence) -> Snapshot | None:
        """Name the candidate by everything that makes it. It is rendered anew each time: what anybody could have stored
        under its name beforehand decides nothing.
        """
        lineage, image, policy = evidence.lineage, evidence.image, observation.known_policy
        if isinstance(lineage, Unknown) or isinstance(image, Unknown) or policy is None or lineage.run is None:
            return None
        spec, pods = observation.owner.spec, policy.spec.pods
        snapshot = Snapshot(
            name=observation.owner.name,
            model=lineage.name,
            version=lineage.version,
            run_id=lineage.run.run_id,
            image=image.pinned,
            architecture=image.config.platform.architecture,
            server=spec.server,
            template=spec.template,
            pre_stop_sleep_seconds=policy.spec.rollout.pre_stop_sleep_seconds,
            fresh_bytecode=policy.spec.environment.bytecode_cache is BytecodeCache.FRESH,
            tmp_size_limit=pods.tmp_size_limit if pods.root_filesystem is RootFilesystem.READ_ONLY else None,
        )
        return with_pod_spec(snapshot)

    def _plan_same_revision(self, observation: Observation) -> Plan:
        """The spec was written differently and means what is active already."""
        assert observation.active is not None
        active = observation.active.status.model_copy(update={"spec_hash": spec_hash(observation.owner.spec)})
        return Plan(
            status_input=StatusInput(active=active, candidate=None, history=observation.owner.status.history), requeue_after=1.0
        )

    async def _progress(
        self, observation: Observation, before: CandidateStatus, snapshot: Snapshot | None, evidence: Evidence
    ) -> _Progress:
        subject, policy = observation.subject, observation.known_policy
        deployment = observation.observed.deployments.get(snapshot.revision) if snapshot is not None else None
        since = could_come_up_since(before, deployment, observation.now)
        if (
            policy is None
            or subject is None
            or snapshot is None
            or since is None
            or _is_rendered_differently(observation, snapshot)
        ):
            return _Progress(None, recorded=False)
        recorded = await self._is_recorded(observation, before, snapshot, policy)
        example = None if isinstance(evidence.lineage, Unknown) else evidence.lineage.input_example
        asking = Asking(observation.owner, policy, snapshot, since, observation.now, example, observation.requeue)
        wanted = wanted_pods(observation.owner, policy, recorded=recorded)
        pods = self._audits.candidate_pods(asking, observation.observed, wanted=wanted)
        reported = await self._gatherer.resolve_reported(subject, observation.requeue, evidence.image, pods)
        seen: Mapping[str, Fact[EnvironmentSeen]] = {}
        if is_observation_wanted(evidence.scan, policy.spec):
            seen = await self._observations.of(asking, subject, observation.observed, evidence.image, pods)
        return _Progress(replace(pods, reported=reported, observed=seen), recorded)

    def _pods_since(
        self, observation: Observation, snapshot: Snapshot | None, progress: _Progress, verdict: Verdict
    ) -> datetime | None:
        """Return what the status keeps. While the pods wait for room it keeps what it has: each change brings the next one."""
        deployed = snapshot is not None and snapshot.revision in observation.observed.deployments
        return progress.pods.since if progress.pods and deployed and not waits_for_room(verdict.results) else None

    async def _is_recorded(
        self, observation: Observation, before: CandidateStatus, snapshot: Snapshot, policy: PromotionPolicy
    ) -> bool:
        candidate = before.model_copy(update={"revision": snapshot.revision})
        passing = Verdict(results=(), policy_hash=policy.spec.hash, decided_at=observation.now)
        name = record_name(observation.owner, candidate, passing, RecordOutcome.PROMOTED)
        return await self._records.promotion(observation.owner, name, snapshot.revision) is not None

    async def _conclude(self, observation: Observation, given: CandidateInput, step: CandidateStep, evidence: Evidence) -> Plan:
        record = await self._write_record(observation, given, step, evidence)
        if step.promote and record is not None and given.snapshot is not None:
            active = activate(step.candidate, record=record, now=observation.now)
            history = promoted_history(observation.owner, active)
            status_input = StatusInput(active=active, candidate=None, history=history, findings=tuple(step.candidate.gates))
            return Plan(
                status_input, step.actions, promoted=True, snapshot=given.snapshot, verdict=given.verdict, requeue_after=1.0
            )
        requeue_after = 1.0 if self._must_defer_record(observation, step) else self._requeue_after(step, given)
        plan = self._plan(observation, step.candidate, requeue_after=requeue_after, given=given)
        return Plan(plan.status_input, step.actions, verdict=given.verdict, requeue_after=plan.requeue_after)

    async def _write_record(
        self, observation: Observation, given: CandidateInput, step: CandidateStep, evidence: Evidence
    ) -> str | None:
        if step.record is None or given.snapshot is None or given.policy is None or self._must_defer_record(observation, step):
            return None
        return await self._records.write_verdict(
            observation.owner,
            candidate=step.candidate,
            snapshot=given.snapshot,
            verdict=given.verdict,
            policy=given.policy,
            document_digest=evidence.document_digest,
            outcome=step.record,
        )

    def _must_defer_record(self, observation: Observation, step: CandidateStep) -> bool:
        """Return whether a refusal is to be recorded by the next reconciliation only.

        Records are named by when the candidate was first seen. Until a status keeps that time, a crash would have the refusal
        recorded a second time.
        """
        kept = observation.owner.status.candidate
        return step.record is RecordOutcome.REFUSED and (kept is None or kept.start_time != step.candidate.start_time)

    def _plan(
        self,
        observation: Observation,
        candidate: CandidateStatus,
        *,
        requeue_after: float | None,
        given: CandidateInput | None = None,
    ) -> Plan:
        differences = difference_statuses(given.verdict) if given else observation.owner.status.differences
        status_input = StatusInput(
            active=observation.active.status if observation.active else None,
            candidate=candidate,
            history=observation.owner.status.history,
            differences=differences,
            holds=given.verdict.holds if given else (),
        )
        return Plan(status_input, requeue_after=requeue_after)

    def _requeue_after(self, step: CandidateStep, given: CandidateInput) -> float | None:
        if step.candidate.final:
            # An alias may move to a version that is not refused.
            return _BLOCKED if given.owner.spec.model.alias is not None else None
        blocking = given.verdict.blocking
        if blocking is not None and blocking.outcome is GateOutcome.RETRY:
            # Ever more patient, so that a thousand candidates do not ask a registry down for hours every few seconds.
            since = step.candidate.waiting_since or given.now
            return blocking.retry_after or min(_BLOCKED, max(_RETRY, (given.now - since).total_seconds() / 10))
        if step.candidate.pods_since is not None or step.actions:
            return _WITH_PODS
        return _BLOCKED


def _awaits_fresh_facts(evidence: Evidence, before: CandidateStatus) -> bool:
    """Return whether something is on its way that a gate has judged before."""
    waits = {gate.name for gate in before.gates if gate.reason == Reason.GATHERING}
    lineage, image = is_on_its_way(evidence.lineage), is_on_its_way(evidence.image) or is_on_its_way(evidence.signed)
    anew = (lineage and lineage_gate.NAME not in waits) or (image and image_gate.NAME not in waits)
    return bool(before.gates) and anew


def _is_rendered_differently(observation: Observation, snapshot: Snapshot) -> bool:
    """Return whether the candidate's pods were asked for under another policy: they are no others for that, and make way."""
    kept = observation.snapshots.get(snapshot.revision)
    return kept is not None and kept.text() != snapshot.text()


def _pins(evidence: Evidence) -> CandidatePins:
    lineage, image = evidence.lineage, evidence.image
    run = None if isinstance(lineage, Unknown) else lineage.run
    return CandidatePins(
        version=None if isinstance(lineage, Unknown) else lineage.version,
        run_id=run.run_id if run is not None else None,
        image=None if isinstance(image, Unknown) else image.pinned,
        digest=None if isinstance(image, Unknown) else image.digest,
    )
