"""Gathers the evidence of one decision: the only place that asks MLflow, the image registry and the records together."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar
from urllib.parse import urlsplit

from lockstep.api.modeldeployment import GateOutcome, ModelDeployment
from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.api.reasons import Reason
from lockstep.controller.gatherings import Answer, Asked, Gatherings, Question, question_of
from lockstep.controller.modelreads import ModelReads
from lockstep.controller.ports import Clock
from lockstep.controller.records import Records
from lockstep.controller.scans import Scans
from lockstep.evidence.facts import (
    Images,
    OpenedImage,
    Registries,
    image_fact,
    image_refusal,
    lineage_fact,
    lineage_refusal,
    place_to_read,
    signed_fact,
)
from lockstep.gates import lineage as lineage_gate
from lockstep.gates.evidence import CandidatePods, Fact, LineagePins, Unknown
from lockstep.gates.modelfiles import agree
from lockstep.gates.signatures import rules_for
from lockstep.gates.verdict import Verdict
from lockstep.images.image import ImagePlatform, ResolvedImage, digests_of
from lockstep.images.imagescan import ImageScan
from lockstep.images.limits import Limits
from lockstep.images.reference import reported_digest, reported_repository
from lockstep.images.scan import Scanner
from lockstep.images.signed import Signed
from lockstep.lineage.lineage import Lineage, Place
from lockstep.modelfiles import ModelFiles

_FRESH_SECONDS = 30.0
"""Pods that come up cause many looks within seconds."""
_STANDING = timedelta(days=1)
"""How old a reading may be for what serves already; it has to outlast the reading itself."""
_DEADLINE_SECONDS = 60.0
"""Of one question, however many requests it takes: each has a shorter deadline of its own."""
_REPORTED = 4
"""Digests that are looked up for one candidate: its nodes may have got the image in as many ways."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class Facts:
    """What is known about lineage and image of one candidate or of the active revision."""

    lineage: Fact[Lineage]
    image: Fact[ResolvedImage]
    scan: Fact[ImageScan]
    files: Fact[ModelFiles] | None
    pins: LineagePins | None
    signed: Fact[Signed] | None = None

    @property
    def document_digest(self) -> str | None:
        """Digest of the recorded training environment, where there is one."""
        return None if isinstance(self.lineage, Unknown) else self.lineage.environment_digest


def is_on_its_way(fact: object) -> bool:
    """Tell a fact that has been asked for and is not known yet from one that could not be had."""
    return isinstance(fact, Unknown) and fact.reason is Reason.GATHERING


class Gatherer:
    """Asks for facts, each as a question of `Gatherings`, and says of those that are not known yet that they are on their way.

    To gather another fact: a member of `Asked`, a method that builds its `Question` and hands `self._answered` what asks.
    """

    def __init__(
        self,
        *,
        registries: Registries,
        records: Records,
        scanner: Scanner,
        scans: Scans,
        reads: ModelReads,
        gatherings: Gatherings,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._registries = registries
        self._records = records
        self._scanner = scanner
        self._scans = scans
        self._reads = reads
        self._gatherings = gatherings
        self._clock = clock
        self._limits = limits

    async def lineage(
        self, owner: ModelDeployment, policy: Fact[PromotionPolicy], again: Callable[[], None], version: str | None = None
    ) -> Fact[Lineage]:
        """Read the lineage of what the spec names, or of a version that is pinned already."""
        if isinstance(policy, Unknown):
            return policy
        if (refusal := lineage_refusal(owner.spec, policy)) is not None:
            return refusal
        model, uri = owner.spec.model, policy.spec.registry.tracking_uri
        # The whole policy is part of the question, so that a stricter one is never answered from before.
        about = (policy.spec.hash, model.name, version or model.version, model.alias if version is None else None)
        question = question_of(Asked.LINEAGE, owner, urlsplit(uri).netloc, about)

        async def ask() -> Answer[Lineage]:
            silence = Unknown(Reason.REGISTRY_UNREACHABLE, f"MLflow at {uri} did not answer: {_TOO_LATE}", retry=True)
            fact = await _in_time(lineage_fact(owner.spec, policy, self._registries, version=version), silence)
            finished = not isinstance(fact, Unknown) and fact.run is not None and fact.run.status == "FINISHED"
            return Answer.of(fact, fresh=_FRESH_SECONDS if finished else 0.0)

        return await self._answered(question, ask, again, f"MLflow at {uri} is being asked")

    async def facts(
        self,
        owner: ModelDeployment,
        policy: Fact[PromotionPolicy],
        images: Images,
        platform: ImagePlatform,
        *,
        version: str | None,
        reference: str,
        since: datetime | None,
        again: Callable[[], None],
    ) -> Facts:
        """Gather everything that is known before any pod runs.

        Args:
            owner: the ModelDeployment.
            policy: what governs it.
            images: opens images as the namespace may.
            platform: whose image is meant.
            version: the pinned model version; None to ask what the spec names.
            reference: the pinned image, or the spec's while nothing is pinned.
            since: the model's files have to have been read after this; None where it is enough that they are pinned.
            again: called when something has come that is on its way now.
        """
        lineage, opened = await asyncio.gather(
            self.lineage(owner, policy, again, version), self._image(owner, policy, images, platform, reference, again)
        )
        pins = await self._pins(policy, lineage)
        files = await self._files(owner.namespace, policy, lineage, pins, since, again)
        if isinstance(opened, Unknown):
            return Facts(lineage, opened, opened, files, pins)
        found = await self._scans.get(
            opened.image, owner.namespace, lambda image: self._scanner.scan(opened.source, image, owner.namespace), again
        )
        running = Unknown(Reason.SCANNING, f"the layers of {opened.image.pinned} are being read", retry=True)
        signed = await self._signatures(owner, policy, opened, again)
        return Facts(lineage, opened.image, found if found is not None else running, files, pins, signed)

    async def _files(
        self,
        namespace: str,
        policy: Fact[PromotionPolicy],
        lineage: Fact[Lineage],
        pins: LineagePins | None,
        since: datetime | None,
        again: Callable[[], None],
    ) -> Fact[ModelFiles] | None:
        """Read the model's files, unless it is known already that the lineage does not hold."""
        if isinstance(policy, Unknown) or isinstance(lineage, Unknown):
            return Unknown(Reason.WAITING, "the lineage has to be known first", retry=True)
        place = place_to_read(policy, lineage, pins)
        if not isinstance(place, Place):
            return place
        if since is None and pins is not None and pins.files is not None:
            return pins.files
        tracking_uri = policy.spec.registry.tracking_uri
        registry = self._registries.at(tracking_uri)
        # Where the small files that came with the lineage are others by now, they all have to be of one piece again.
        now = self._clock.now()
        for after in (since or now - _STANDING, now - timedelta(seconds=_FRESH_SECONDS)):
            files = await self._reads.get(registry, tracking_uri, place, namespace, since=after, when_done=again)
            if isinstance(files, Unknown) or agree(lineage, files):
                break
        return files

    async def reported(
        self,
        owner: ModelDeployment,
        policy: Fact[PromotionPolicy],
        images: Images,
        platform: ImagePlatform,
        image: Fact[ResolvedImage],
        pods: CandidatePods,
        again: Callable[[], None],
    ) -> Mapping[str, Fact[ResolvedImage]]:
        """Ask what the digests lead to that nodes report and that are not on the way to the pinned image; mostly none are.

        In the pinned repository first. The repository that the node names, which is somebody else's to choose, is asked
        only for a pod that no other evidence speaks for, with the namespace's own credentials and where the policy allows it.
        """
        if isinstance(image, Unknown):
            return {}
        found: dict[str, Fact[ResolvedImage]] = {}
        for digest, name, unchanged in sorted(_named(pods, digests_of(image)))[:_REPORTED]:
            for repository in [image.repository] if unchanged else [image.repository, name]:
                known = found.get(digest)
                if not repository or isinstance(known, ResolvedImage) or is_on_its_way(known):
                    continue
                opened = await self._image(owner, policy, images, platform, f"{repository}@{digest}", again)
                found[digest] = opened if isinstance(opened, Unknown) else opened.image
        return found

    async def _image(
        self,
        owner: ModelDeployment,
        policy: Fact[PromotionPolicy],
        images: Images,
        platform: ImagePlatform,
        reference: str,
        again: Callable[[], None],
    ) -> Fact[OpenedImage]:
        if isinstance(policy, Unknown):
            return policy
        if (refusal := image_refusal(reference, policy)) is not None:
            return refusal
        # By object and pull secrets: whoever may not open an image learns nothing from who may.
        secrets = (owner.spec.template.service_account_name, tuple(owner.spec.template.image_pull_secrets))
        host = reference.partition("/")[0].lower()
        question = question_of(Asked.IMAGE, owner, host, (policy.spec.hash, secrets, str(platform), reference))

        async def ask() -> Answer[OpenedImage]:
            fact = await _in_time(image_fact(reference, policy, images, platform, self._limits), _silence_of(host))
            return Answer.of(fact, fresh=_FRESH_SECONDS if "@" in reference else 0.0)

        return await self._answered(question, ask, again, f"{host} is being asked for the image")

    async def _signatures(
        self, owner: ModelDeployment, policy: Fact[PromotionPolicy], opened: OpenedImage, again: Callable[[], None]
    ) -> Fact[Signed] | None:
        if isinstance(policy, Unknown):
            return policy
        if not rules_for(opened.image.repository, policy.spec):
            return None
        host = opened.image.repository.partition("/")[0]
        question = question_of(Asked.SIGNATURES, owner, host, (policy.spec.hash, opened.image.pinned))

        async def ask() -> Answer[Signed]:
            fact = await signed_fact(opened, policy)
            missing = Unknown(Reason.SIGNATURE_MISSING, "the image's signatures have not been read", retry=True)
            return Answer.of(fact if fact is not None else missing, fresh=_FRESH_SECONDS)

        return await self._answered(question, ask, again, f"{host} is being asked for the image's signatures")

    async def _answered(
        self, question: Question, ask: Callable[[], Awaitable[Answer[_T]]], again: Callable[[], None], meanwhile: str
    ) -> Fact[_T]:
        fact = await self._gatherings.get(question, ask, again)
        return fact if fact is not None else Unknown(Reason.GATHERING, meanwhile, retry=True)

    async def _pins(self, policy: Fact[PromotionPolicy], lineage: Fact[Lineage]) -> LineagePins | None:
        if isinstance(policy, Unknown) or isinstance(lineage, Unknown):
            return None
        return await self._records.pins(policy.spec.registry.tracking_uri, lineage.name, lineage.version)

    async def pin(self, policy: Fact[PromotionPolicy], facts: Facts, verdict: Verdict, now: datetime) -> None:
        """Keep what a version declares, the first time that its lineage holds, and its files as soon as they are known."""
        lineage, files = facts.lineage, facts.files if isinstance(facts.files, ModelFiles) else None
        holds = any(r.gate == lineage_gate.NAME and r.outcome is GateOutcome.PASSED for r in verdict.results)
        if isinstance(policy, Unknown) or isinstance(lineage, Unknown) or not holds:
            return
        if facts.pins is None or (facts.pins.files is None and files is not None):
            pins = lineage_gate.pins_of(lineage, first_seen=now, files=files)
            await self._records.pin(policy.spec.registry.tracking_uri, lineage.name, lineage.version, pins)


def _named(pods: CandidatePods, known: frozenset[str]) -> set[tuple[str, str, bool]]:
    """Return digest and repository of each name that nodes report beside the known digests, and whether all its pods are
    unchanged.
    """
    found: dict[tuple[str, str], bool] = {}
    for pod in pods.pods:
        digest = reported_digest(pod.image_id)
        if digest is not None and digest not in known:
            name = (digest, reported_repository(pod.image_id))
            found[name] = found.get(name, True) and pod.unchanged
    return {(*name, unchanged) for name, unchanged in found.items()}


_TOO_LATE = f"not within {_DEADLINE_SECONDS:.0f} s"


def _silence_of(host: str) -> Unknown:
    return Unknown(Reason.IMAGE_REGISTRY_UNREACHABLE, f"{host} did not answer: {_TOO_LATE}", retry=True)


async def _in_time(asking: Awaitable[Fact[_T]], silence: Unknown) -> Fact[_T]:
    """Wait for an answer, but not for ever: whoever answers each request just in time may have many of them asked."""
    try:
        async with asyncio.timeout(_DEADLINE_SECONDS):
            return await asking
    except TimeoutError:
        return silence
