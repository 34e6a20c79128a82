"""Gathers evidence beside the queue: what has been asked and is not known yet is on its way, and requeues the object."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar
from urllib.parse import urlsplit

from lockstep.api.modeldeployment import GateOutcome
from lockstep.api.reasons import Reason
from lockstep.controller.cluster.ports import Clock
from lockstep.controller.records.store import Records
from lockstep.controller.sources.gatherings import Answer, Asked, Gatherings, Question, question_of
from lockstep.controller.sources.modelreads import ModelReads
from lockstep.controller.sources.scans import Scans
from lockstep.environment.observation import Observation
from lockstep.formats.modelfiles import ModelFiles
from lockstep.gates import lineage as lineage_gate
from lockstep.gates.evidence import CandidatePods, Evidence, Fact, LineagePins, Unknown
from lockstep.gates.rules.modelfiles import is_consistent
from lockstep.gates.verdict import Verdict
from lockstep.gathering.asking import Registries, ask_image, ask_lineage, ask_signed
from lockstep.gathering.gather import gather, image_of, lineage_of, unknown_of
from lockstep.gathering.subject import OpenedImage, Subject
from lockstep.images.image import ImageError, ResolvedImage, digests_of
from lockstep.images.limits import Limits
from lockstep.images.reference import reported_digest, reported_repository
from lockstep.images.scan.result import ImageScan
from lockstep.images.scan.scan import Scanner
from lockstep.images.signing.signed import Signed
from lockstep.lineage.lineage import Lineage, Place
from lockstep.observer.report import Report

_FRESH_SECONDS = 30.0
"""Pods that come up cause many reconciliations within seconds."""
_STANDING = timedelta(days=1)
"""How old a reading may be for what serves already; it has to outlast the reading itself."""
_DEADLINE_SECONDS = 60.0
"""Of one question, however many requests it takes: each has a shorter deadline of its own."""
_REPORTED = 4
"""Digests that are looked up for one candidate: its nodes may have got the image in as many ways."""
_T = TypeVar("_T")


def is_on_its_way(fact: object) -> bool:
    """Return whether a fact has been asked for and is not known yet, rather than one that could not be had."""
    return isinstance(fact, Unknown) and fact.reason is Reason.GATHERING


@dataclass(frozen=True)
class Services:
    """What answers are made of, and what keeps them."""

    registries: Registries
    records: Records
    scanner: Scanner
    scans: Scans
    reads: ModelReads
    gatherings: Gatherings
    clock: Clock
    limits: Limits


@dataclass(frozen=True)
class _Background:
    """Implements `Sources`: each fact is a question of `Gatherings`, which a reconciliation waits for a moment only.

    To gather another fact: a member of `Asked`, a method that builds its `Question` and hands `self._get_fact` what asks.
    """

    to: Services
    requeue: Callable[[], None]
    """Called when something has come that is on its way now."""
    since: datetime | None
    """The model's files have to have been read after this; None where it is enough that they are pinned."""

    async def lineage(self, subject: Subject, version: str | None) -> Fact[Lineage]:
        """See `Sources`."""
        model, uri = subject.owner.spec.model, subject.tracking_uri
        # The whole policy is part of the question, so that a stricter one is never answered from before.
        about = (subject.policy.spec.hash, model.name, version or model.version, model.alias if version is None else None)
        question = question_of(Asked.LINEAGE, subject.owner, urlsplit(uri).netloc, about)

        async def ask() -> Answer[Lineage]:
            silence = Unknown(Reason.REGISTRY_UNREACHABLE, f"MLflow at {uri} did not answer: {_TOO_LATE}", retry=True)
            fact = await _with_deadline(ask_lineage(subject, self.to.registries, version), silence)
            finished = not isinstance(fact, Unknown) and fact.run is not None and fact.run.status == "FINISHED"
            return Answer.of(fact, fresh=_FRESH_SECONDS if finished else 0.0)

        return await self._get_fact(question, ask, f"MLflow at {uri} is being asked")

    async def image(self, subject: Subject, reference: str) -> Fact[OpenedImage]:
        """See `Sources`."""
        # By object and pull secrets: whoever may not open an image learns nothing from who may.
        template = subject.owner.spec.template
        secrets = (template.service_account_name, tuple(template.image_pull_secrets))
        host = reference.partition("/")[0].lower()
        about = (subject.policy.spec.hash, secrets, str(subject.platform), reference)
        question = question_of(Asked.IMAGE, subject.owner, host, about)

        async def ask() -> Answer[OpenedImage]:
            fact = await _with_deadline(ask_image(subject, reference, self.to.limits), _timeout_of(host))
            return Answer.of(fact, fresh=_FRESH_SECONDS if "@" in reference else 0.0)

        return await self._get_fact(question, ask, f"{host} is being asked for the image")

    async def scan(self, subject: Subject, opened: OpenedImage) -> Fact[ImageScan]:
        """See `Sources`."""
        namespace = subject.owner.namespace
        found = await self.to.scans.get(
            opened.image, namespace, lambda image: self.to.scanner.scan(opened.source, image, namespace), self.requeue
        )
        running = Unknown(Reason.SCANNING, f"the layers of {opened.image.pinned} are being read", retry=True)
        return found if found is not None else running

    async def signed(self, subject: Subject, opened: OpenedImage) -> Fact[Signed]:
        """See `Sources`."""
        host = opened.image.repository.partition("/")[0]
        question = question_of(Asked.SIGNATURES, subject.owner, host, (subject.policy.spec.hash, opened.image.pinned))

        async def ask() -> Answer[Signed]:
            return Answer.of(await ask_signed(subject, opened), fresh=_FRESH_SECONDS)

        return await self._get_fact(question, ask, f"{host} is being asked for the image's signatures")

    async def files(self, subject: Subject, lineage: Lineage, place: Place, pins: LineagePins | None) -> Fact[ModelFiles]:
        """See `Sources`."""
        if self.since is None and pins is not None and pins.files is not None:
            return pins.files
        uri, namespace = subject.tracking_uri, subject.owner.namespace
        registry = self.to.registries.at(uri)
        # Where the small files that came with the lineage are others by now, they all have to be of one piece again.
        now = self.to.clock.now()
        for after in (self.since or now - _STANDING, now - timedelta(seconds=_FRESH_SECONDS)):
            files = await self.to.reads.get(registry, uri, place, namespace, since=after, when_done=self.requeue)
            if isinstance(files, Unknown) or is_consistent(lineage, files):
                break
        return files

    async def pins(self, subject: Subject, lineage: Lineage) -> LineagePins | None:
        """See `Sources`."""
        return await self.to.records.pins(subject.tracking_uri, lineage.name, lineage.version)

    async def _get_fact(self, question: Question, ask: Callable[[], Awaitable[Answer[_T]]], meanwhile: str) -> Fact[_T]:
        fact = await self.to.gatherings.get(question, ask, self.requeue)
        return fact if fact is not None else Unknown(Reason.GATHERING, meanwhile, retry=True)


class Gatherer:
    """Gathers evidence for reconciliations, and pins what is seen first."""

    def __init__(self, services: Services) -> None:
        self._to = services

    async def lineage(self, subject: Subject, requeue: Callable[[], None], version: str | None = None) -> Fact[Lineage]:
        """Read the lineage of what the spec names, or of a version that is pinned already."""
        return await lineage_of(subject, _Background(self._to, requeue, None), version)

    async def evidence(
        self,
        subject: Subject,
        requeue: Callable[[], None],
        *,
        now: datetime,
        version: str | None,
        reference: str,
        since: datetime | None,
    ) -> Evidence:
        """Gather everything that is known before any pod runs (see `gather`).

        Args:
            subject: what it is about.
            requeue: called when something has come that is on its way now.
            now: the time of the decision.
            version: the pinned model version; None to ask what the spec names.
            reference: the pinned image, or the spec's while nothing is pinned.
            since: the model's files have to have been read after this; None where it is enough that they are pinned.

        Raises:
            ClusterError: the records could not be read.
        """
        sources = _Background(self._to, requeue, since)
        return await gather(subject, sources, now, version=version, reference=reference)

    async def opened(self, subject: Subject, requeue: Callable[[], None], pinned: str) -> Fact[OpenedImage]:
        """Open an image that is pinned already."""
        return await image_of(subject, _Background(self._to, requeue, None), pinned)

    async def identify(self, opened: OpenedImage, user: str, namespace: str) -> Fact[tuple[int, int]]:
        """Return the user and group id of a user of an image (see `Scanner.identify`)."""
        try:
            return await self._to.scanner.identify(opened.source, opened.image, user, namespace)
        except ImageError as error:
            return unknown_of(error)

    async def explain(
        self, opened: OpenedImage, report: Report, variables: Mapping[str, str], namespace: str
    ) -> Fact[Observation]:
        """Say by an image's layers what the observer has seen in a pod of it (see `Scanner.explain`)."""
        try:
            return await self._to.scanner.explain(opened.source, opened.image, report, variables, namespace)
        except ImageError as error:
            return unknown_of(error)

    async def resolve_reported(
        self, subject: Subject, requeue: Callable[[], None], image: Fact[ResolvedImage], pods: CandidatePods
    ) -> Mapping[str, Fact[ResolvedImage]]:
        """Ask what the digests lead to that nodes report and that are not on the way to the pinned image; mostly none are.

        In the pinned repository first. The repository that the node names, which is somebody else's to choose, is asked
        only for a pod that no other evidence speaks for, with the namespace's own credentials and where the policy allows it.
        """
        if isinstance(image, Unknown):
            return {}
        sources = _Background(self._to, requeue, None)
        resolved: dict[str, Fact[ResolvedImage]] = {}
        for digest, name, unchanged in sorted(_unknown_names(pods, digests_of(image)))[:_REPORTED]:
            for repository in [image.repository] if unchanged else [image.repository, name]:
                earlier = resolved.get(digest)
                if not repository or isinstance(earlier, ResolvedImage) or is_on_its_way(earlier):
                    continue
                opened = await image_of(subject, sources, f"{repository}@{digest}")
                resolved[digest] = opened if isinstance(opened, Unknown) else opened.image
        return resolved

    async def pin(self, subject: Subject, evidence: Evidence, verdict: Verdict) -> None:
        """Keep what a version declares, the first time that its lineage holds, and its files as soon as they are known.

        Raises:
            ClusterError: the pin could not be written.
        """
        lineage, files = evidence.lineage, evidence.files if isinstance(evidence.files, ModelFiles) else None
        holds = any(r.gate == lineage_gate.NAME and r.outcome is GateOutcome.PASSED for r in verdict.results)
        if isinstance(lineage, Unknown) or not holds:
            return
        if evidence.pins is None or (evidence.pins.files is None and files is not None):
            pins = lineage_gate.pins_of(lineage, first_seen=evidence.now, files=files)
            await self._to.records.pin(subject.tracking_uri, lineage.name, lineage.version, pins)


def _unknown_names(pods: CandidatePods, known: frozenset[str]) -> set[tuple[str, str, bool]]:
    """Return digest and repository of each name that nodes report beside the known digests, and whether all its pods are
    unchanged.
    """
    names: dict[tuple[str, str], bool] = {}
    for pod in pods.pods:
        digest = reported_digest(pod.image_id)
        if digest is not None and digest not in known:
            name = (digest, reported_repository(pod.image_id))
            names[name] = names.get(name, True) and pod.unchanged
    return {(*name, unchanged) for name, unchanged in names.items()}


_TOO_LATE = f"not within {_DEADLINE_SECONDS:.0f} s"


def _timeout_of(host: str) -> Unknown:
    return Unknown(Reason.IMAGE_REGISTRY_UNREACHABLE, f"{host} did not answer: {_TOO_LATE}", retry=True)


async def _with_deadline(asking: Awaitable[Fact[_T]], silence: Unknown) -> Fact[_T]:
    """Wait for an answer, but not for ever: whoever answers each request just in time may have many of them asked."""
    try:
        async with asyncio.timeout(_DEADLINE_SECONDS):
            return await asking
    except TimeoutError:
        return silence
