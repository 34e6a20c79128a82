"""The candidate's evidence, verdict and next step, with the record that has to exist before it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from lockstep.api.environmentspec import BytecodeCache
from lockstep.api.modeldeployment import CandidateStatus, GateOutcome
from lockstep.api.podsspec import RootFilesystem
from lockstep.api.promotionpolicy import GuardsRule, PromotionPolicy
from lockstep.api.reasons import Reason
from lockstep.controller.asking.asking import Asking
from lockstep.controller.asking.pods import PodAudits, ready_count
from lockstep.controller.cluster.observe import foreign_services
from lockstep.controller.cluster.policies import Guards
from lockstep.controller.cluster.ports import Cluster
from lockstep.controller.reconcile.look import Look
from lockstep.controller.reconcile.outcome import Outcome
from lockstep.controller.reconcile.priorities import Priorities
from lockstep.controller.records.store import PROMOTED, REFUSED, Records, record_name
from lockstep.controller.sources.gather import Gatherer, is_on_its_way
from lockstep.gates import image as image_gate
from lockstep.gates import lineage as lineage_gate
from lockstep.gates.chain import evaluate
from lockstep.gates.evidence import CandidatePods, Evidence, Unknown
from lockstep.gates.gate import Gate
from lockstep.gates.verdict import Verdict
from lockstep.gathering.gather import ungoverned
from lockstep.rollout.candidate import (
    Pins,
    Situation,
    Step,
    activated,
    carried_over,
    could_come_up_since,
    difference_statuses,
    next_step,
    pinned_reference,
    waits_for_room,
    wanted_pods,
)
from lockstep.rollout.objects.manifests import rendered
from lockstep.rollout.objects.revision import MAX_SNAPSHOT_BYTES, Snapshot, spec_hash
from lockstep.rollout.observed.bearers import Standing, bearers
from lockstep.rollout.status.status import Hold, Outlook, promoted_history

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
        cluster: Cluster,
        records: Records,
        gatherer: Gatherer,
        audits: PodAudits,
        guards: Guards,
        priorities: Priorities,
        gates: Sequence[Gate],
    ) -> None:
        self._cluster = cluster
        self._records = records
        self._gatherer = gatherer
        self._audits = audits
        self._guards = guards
        self._priorities = priorities
        self._gates = gates

    async def stop(self) -> None:
        """End what runs beside the looks."""
        await self._audits.stop()

    async def evaluate(self, look: Look) -> Outcome:
        """Decide the candidate's next step."""
        before = carried_over(look.owner, None, look.now)
        if self._is_final(look, before):
            return self._outcome(look, before, again=None)
        evidence = await self._evidence(look, before)
        if _asked_anew(evidence, before):
            return self._unchanged(look, before)
        snapshot = self._snapshot(look, evidence)
        too_large = _too_large(snapshot)
        if too_large is not None:
            # Nothing that would hold it is made, no record either.
            snapshot = None
        if look.active is not None and snapshot is not None and snapshot.essence() == look.active.snapshot.essence():
            return self._same_revision(look)
        version = evidence.lineage.version if not isinstance(evidence.lineage, Unknown) else None
        before = carried_over(look.owner, version, look.now)
        progress = await self._progress(look, before, snapshot, evidence)
        if progress.on_its_way:
            return self._unchanged(look, before)
        evidence = replace(evidence, pods=progress.pods)
        verdict = evaluate(evidence, self._gates)
        if look.subject is not None:
            await self._gatherer.pin(look.subject, evidence, verdict)
        hold = too_large or await self._hold(look, snapshot)
        situation = Situation(
            owner=look.owner,
            policy=look.known_policy,
            verdict=verdict,
            pins=_pins(evidence),
            snapshot=snapshot,
            observed=look.observed,
            now=look.now,
            recorded=progress.recorded,
            pods_ready=ready_count(progress.pods.pods) if progress.pods else 0,
            pods_since=self._kept_since(look, snapshot, progress, verdict),
            held=hold is not None,
        )
        step = next_step(situation)
        return await self._concluded(look, situation, step, evidence, hold)

    def _is_final(self, look: Look, before: CandidateStatus) -> bool:
        """Tell whether nothing but another spec or policy helps; then nobody is asked anything."""
        policy = look.known_policy
        alias = look.owner.spec.model.alias is not None
        return before.final and policy is not None and before.policy_hash == policy.spec.hash and not alias

    async def _evidence(self, look: Look, before: CandidateStatus) -> Evidence:
        if look.subject is None:
            assert isinstance(look.policy, Unknown)
            return ungoverned(look.owner, look.policy, look.now)
        return await self._gatherer.evidence(
            look.subject,
            look.again,
            now=look.now,
            version=look.owner.spec.model.version,
            reference=pinned_reference(before, look.owner.spec.image),
            since=before.start_time or look.now,
        )

    def _unchanged(self, look: Look, before: CandidateStatus) -> Outcome:
        """Leave the candidate as it was judged last, for as long as what is asked anew is on its way: nothing follows from
        facts that are no longer fresh, and a status that said so for a moment would be written twice for nothing.
        """
        again = _WITH_PODS if before.pods_since is not None else _BLOCKED
        return replace(self._outcome(look, before, again=again), undecided=True)

    def _snapshot(self, look: Look, evidence: Evidence) -> Snapshot | None:
        """Name the candidate by everything that makes it. It is rendered anew each time: what anybody could have stored
        under its name beforehand decides nothing.
        """
        lineage, image, policy = evidence.lineage, evidence.image, look.known_policy
        if isinstance(lineage, Unknown) or isinstance(image, Unknown) or policy is None or lineage.run is None:
            return None
        spec, pods = look.owner.spec, policy.spec.pods
        snapshot = Snapshot(
            name=look.owner.name,
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
        return rendered(snapshot)

    def _same_revision(self, look: Look) -> Outcome:
        """The spec was written differently and means what is active already."""
        assert look.active is not None
        active = look.active.status.model_copy(update={"spec_hash": spec_hash(look.owner.spec)})
        return Outcome(outlook=Outlook(active=active, candidate=None, history=look.owner.status.history), again=1.0)

    async def _progress(self, look: Look, before: CandidateStatus, snapshot: Snapshot | None, evidence: Evidence) -> _Progress:
        subject, policy = look.subject, look.known_policy
        deployment = look.observed.deployments.get(snapshot.revision) if snapshot is not None else None
        since = could_come_up_since(before, deployment, look.now)
        if policy is None or subject is None or snapshot is None or since is None or _rendered_otherwise(look, snapshot):
            return _Progress(None, recorded=False)
        recorded = await self._recorded(look, before, snapshot, policy)
        example = None if isinstance(evidence.lineage, Unknown) else evidence.lineage.input_example
        asking = Asking(look.owner, policy, snapshot, since, look.now, example, look.again)
        wanted = wanted_pods(look.owner, policy, recorded=recorded)
        pods = self._audits.candidate_pods(asking, look.observed, wanted=wanted)
        reported = await self._gatherer.reported(subject, look.again, evidence.image, pods)
        return _Progress(replace(pods, reported=reported), recorded)

    def _kept_since(self, look: Look, snapshot: Snapshot | None, progress: _Progress, verdict: Verdict) -> datetime | None:
        """Return what the status keeps. While the pods wait for room it keeps what it has: each change brings another look."""
        deployed = snapshot is not None and snapshot.revision in look.observed.deployments
        return progress.pods.since if progress.pods and deployed and not waits_for_room(verdict.results) else None

    async def _recorded(self, look: Look, before: CandidateStatus, snapshot: Snapshot, policy: PromotionPolicy) -> bool:
        candidate = before.model_copy(update={"revision": snapshot.revision})
        passing = Verdict(results=(), policy_hash=policy.spec.hash, decided_at=look.now)
        name = record_name(look.owner, candidate, passing, PROMOTED)
        return await self._records.promotion(look.owner, name, snapshot.revision) is not None

    async def _hold(self, look: Look, snapshot: Snapshot | None) -> Hold | None:
        """Find out what besides the gates stands in the way."""
        policy = look.known_policy
        taken = look.observed.conflict or look.observed.taken.get(snapshot.revision if snapshot else "")
        if taken is not None:
            return Hold(Reason.NAME_CONFLICT, taken)
        if policy is not None and policy.spec.guards is GuardsRule.REQUIRED:
            missing = await self._guards.missing()
            if missing:
                message = (
                    f"guarding admission policies do not stand as the chart installs them ({', '.join(missing)}); upgrade the "
                    "chart's release, or let the policy do without (guards: Optional)"
                )
                return Hold(Reason.GUARDS_MISSING, message)
        if snapshot is not None:
            extra, pods = look.owner.spec.template.labels, look.observed.pods_of(snapshot.revision)
            strangers = await foreign_services(self._cluster, look.owner, snapshot.revision, extra, pods)
            if strangers:
                message = (
                    f"the Service {', '.join(strangers)} selects the candidate's pods too, so that they would get traffic: "
                    "change its selector, or scrape pods without a Service (PodMonitor)"
                )
                return Hold(Reason.FOREIGN_SERVICE, message)
            stranger = _stranger(look, snapshot)
            if stranger is not None:
                message = f"the pod {stranger} bears the candidate's labels and is not Lockstep's: it is deleted as it comes"
                return Hold(Reason.FOREIGN_POD, f"{message}. Next step: find out who makes it")
            if policy is not None and look.active is not None and look.owner.spec.replicas:
                hold = await self._priorities.hold(policy, snapshot, look.active, look.observed)
                if hold is not None:
                    return hold
        if look.owner.spec.paused:
            return Hold(Reason.PAUSED, Reason.PAUSED.sentence, refusal=False)
        return None

    async def _concluded(self, look: Look, situation: Situation, step: Step, evidence: Evidence, hold: Hold | None) -> Outcome:
        record = await self._record(look, situation, step, evidence)
        if step.promote and record is not None and situation.snapshot is not None:
            active = activated(step.candidate, record=record, now=look.now)
            history = promoted_history(look.owner, active)
            outlook = Outlook(active=active, candidate=None, history=history, findings=tuple(step.candidate.gates))
            return Outcome(
                outlook, step.actions, promoted=True, snapshot=situation.snapshot, verdict=situation.verdict, again=1.0
            )
        again = 1.0 if self._too_soon(look, step) else self._again(step, situation)
        outcome = self._outcome(look, step.candidate, again=again, hold=hold, situation=situation)
        return Outcome(outcome.outlook, step.actions, verdict=situation.verdict, again=outcome.again)

    async def _record(self, look: Look, situation: Situation, step: Step, evidence: Evidence) -> str | None:
        if step.record is None or situation.snapshot is None or situation.policy is None or self._too_soon(look, step):
            return None
        return await self._records.write_verdict(
            look.owner,
            candidate=step.candidate,
            snapshot=situation.snapshot,
            verdict=situation.verdict,
            policy=situation.policy,
            document_digest=evidence.document_digest,
            outcome=step.record,
        )

    def _too_soon(self, look: Look, step: Step) -> bool:
        """Tell whether a refusal is recorded at the next look only: records are named by when the candidate was first seen,
        and until a status keeps that, a crash would have it recorded a second time.
        """
        kept = look.owner.status.candidate
        return step.record == REFUSED and (kept is None or kept.start_time != step.candidate.start_time)

    def _outcome(
        self,
        look: Look,
        candidate: CandidateStatus,
        *,
        again: float | None,
        hold: Hold | None = None,
        situation: Situation | None = None,
    ) -> Outcome:
        differences = difference_statuses(situation.verdict) if situation else look.owner.status.differences
        outlook = Outlook(
            active=look.active.status if look.active else None,
            candidate=candidate,
            history=look.owner.status.history,
            differences=differences,
            hold=hold,
        )
        return Outcome(outlook, again=again)

    def _again(self, step: Step, situation: Situation) -> float | None:
        if step.candidate.final:
            # An alias may move to a version that is not refused.
            return _BLOCKED if situation.owner.spec.model.alias is not None else None
        blocking = situation.verdict.blocking
        if blocking is not None and blocking.outcome is GateOutcome.RETRY:
            # Ever more patient, so that a thousand candidates do not ask a registry down for hours every few seconds.
            since = step.candidate.waiting_since or situation.now
            return blocking.retry_after or min(_BLOCKED, max(_RETRY, (situation.now - since).total_seconds() / 10))
        if step.candidate.pods_since is not None or step.actions:
            return _WITH_PODS
        return _BLOCKED


def _asked_anew(evidence: Evidence, before: CandidateStatus) -> bool:
    """Tell whether something is on its way that a gate has judged before."""
    waits = {gate.name for gate in before.gates if gate.reason == Reason.GATHERING}
    lineage, image = is_on_its_way(evidence.lineage), is_on_its_way(evidence.image) or is_on_its_way(evidence.signed)
    anew = (lineage and lineage_gate.NAME not in waits) or (image and image_gate.NAME not in waits)
    return bool(before.gates) and anew


def _rendered_otherwise(look: Look, snapshot: Snapshot) -> bool:
    """Tell whether the candidate's pods were asked for under another policy: they are no others for that, and make way."""
    kept = look.snapshots.get(snapshot.revision)
    return kept is not None and kept.text() != snapshot.text()


def _too_large(snapshot: Snapshot | None) -> Hold | None:
    if snapshot is None or snapshot.size <= MAX_SNAPSHOT_BYTES:
        return None
    message = f"the pods that the spec asks for take {snapshot.size} bytes to describe, and {MAX_SNAPSHOT_BYTES} are the most"
    return Hold(Reason.SPEC_TOO_LARGE, f"{message}. Next step (manifest): make template smaller, its variables first")


def _stranger(look: Look, snapshot: Snapshot) -> str | None:
    """Return the name of a pod that would get traffic with the candidate and is none of its own."""
    found = bearers(look.observed, {snapshot.revision: snapshot}, in_use=())
    foreign = (Standing.STRANGER, Standing.STRAY)
    return next((one.name for one in found if one.revision == snapshot.revision and one.standing in foreign), None)


def _pins(evidence: Evidence) -> Pins:
    lineage, image = evidence.lineage, evidence.image
    run = None if isinstance(lineage, Unknown) else lineage.run
    return Pins(
        version=None if isinstance(lineage, Unknown) else lineage.version,
        run_id=run.run_id if run is not None else None,
        image=None if isinstance(image, Unknown) else image.pinned,
        digest=None if isinstance(image, Unknown) else image.digest,
    )
