"""Gathers the evidence of one decision: the only place that asks MLflow, the image registry and the records together."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from lockstep.api.modeldeployment import GateOutcome, ModelDeployment
from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.api.reasons import Reason
from lockstep.controller.modelreads import ModelReads
from lockstep.controller.ports import Clock
from lockstep.controller.records import Records
from lockstep.controller.scans import Scans
from lockstep.evidence.facts import (
    Images,
    OpenedImage,
    Registries,
    image_fact,
    lineage_fact,
    place_to_read,
    signed_fact,
)
from lockstep.gates import lineage as lineage_gate
from lockstep.gates.evidence import CandidatePods, Fact, LineagePins, Unknown
from lockstep.gates.modelfiles import agree
from lockstep.gates.outcome import Verdict
from lockstep.images.image import ImagePlatform, ResolvedImage, digests_of
from lockstep.images.imagescan import ImageScan
from lockstep.images.limits import Limits
from lockstep.images.reference import reported_digest, reported_repository
from lockstep.images.scan import Scanner
from lockstep.images.signed import Signed
from lockstep.lineage.lineage import Lineage, Place
from lockstep.modelfiles import ModelFiles

_FRESH_SECONDS = 30.0
_STANDING = timedelta(days=1)
"""How old a reading may be for what serves already; it has to outlast the reading itself."""
_KEPT = 1024
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


class _Fresh(Generic[_T]):
    """Facts that were asked for a moment ago: pods that come up cause many looks within seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[object, tuple[float, _T]] = OrderedDict()

    def get(self, key: object) -> _T | None:
        held = self._kept.get(key)
        return held[1] if held is not None and self._clock.monotonic() - held[0] < _FRESH_SECONDS else None

    def keep(self, key: object, fact: _T) -> None:
        self._kept[key] = (self._clock.monotonic(), fact)
        self._kept.move_to_end(key)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)


class Gatherer:
    """Asks, and keeps what was answered for a few seconds. What could not be told is never kept."""

    def __init__(
        self,
        *,
        registries: Registries,
        records: Records,
        scanner: Scanner,
        scans: Scans,
        reads: ModelReads,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._registries = registries
        self._records = records
        self._reads = reads
        self._clock = clock
        self._scanner = scanner
        self._scans = scans
        self._limits = limits
        self._lineages: _Fresh[Lineage] = _Fresh(clock)
        self._images: _Fresh[OpenedImage] = _Fresh(clock)
        self._signed: _Fresh[Signed] = _Fresh(clock)

    async def lineage(self, owner: ModelDeployment, policy: Fact[PromotionPolicy], version: str | None = None) -> Fact[Lineage]:
        """Read the lineage of what the spec names, or of a version that is pinned already."""
        if isinstance(policy, Unknown):
            return policy
        model = owner.spec.model
        # The whole policy is part of the key, so that a stricter one is never answered from before.
        asked = (model.name, version or model.version, model.alias if version is None else None)
        # So is the object's generation: another spec is a new question, whatever was answered a moment ago.
        key = (policy.spec.hash, owner.uid, owner.generation, asked)
        known = self._lineages.get(key)
        if known is not None:
            return known
        fact = await lineage_fact(owner.spec, policy, self._registries, version=version)
        if not isinstance(fact, Unknown) and fact.run is not None and fact.run.status == "FINISHED":
            self._lineages.keep(key, fact)
        return fact

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
            again: called when a scan or a reading has ended that is still running now.
        """
        lineage = await self.lineage(owner, policy, version)
        opened = await self._image(owner, policy, images, platform, reference)
        pins = await self._pins(policy, lineage)
        files = await self._files(policy, lineage, pins, since, again)
        if isinstance(opened, Unknown):
            return Facts(lineage, opened, opened, files, pins)
        found = await self._scans.get(opened.image, lambda image: self._scanner.scan(opened.source, image), again)
        running = Unknown(Reason.SCANNING, f"the layers of {opened.image.pinned} are being read", retry=True)
        signed = await self._signatures(owner, policy, opened)
        return Facts(lineage, opened.image, found if found is not None else running, files, pins, signed)

    async def _files(
        self,
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
            files = await self._reads.get(registry, tracking_uri, place, since=after, when_done=again)
            if isinstance(files, Unknown) or agree(lineage, files):
                break
        return files

    async def _signatures(
        self, owner: ModelDeployment, policy: Fact[PromotionPolicy], opened: OpenedImage
    ) -> Fact[Signed] | None:
        if isinstance(policy, Unknown):
            return policy
        key = (policy.spec.hash, owner.uid, owner.generation, opened.image.pinned)
        known = self._signed.get(key)
        if known is not None:
            return known
        fact = await signed_fact(opened, policy)
        if fact is not None and not isinstance(fact, Unknown):
            self._signed.keep(key, fact)
        return fact

    async def reported(
        self,
        owner: ModelDeployment,
        policy: Fact[PromotionPolicy],
        images: Images,
        platform: ImagePlatform,
        image: Fact[ResolvedImage],
        pods: CandidatePods,
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
                if repository and not isinstance(found.get(digest), ResolvedImage):
                    opened = await self._image(owner, policy, images, platform, f"{repository}@{digest}")
                    found[digest] = opened if isinstance(opened, Unknown) else opened.image
        return found

    async def _image(
        self,
        owner: ModelDeployment,
        policy: Fact[PromotionPolicy],
        images: Images,
        platform: ImagePlatform,
        reference: str,
    ) -> Fact[OpenedImage]:
        if isinstance(policy, Unknown):
            return policy
        # By object and pull secrets: whoever may not open an image learns nothing from who may.
        secrets = (owner.spec.template.service_account_name, tuple(owner.spec.template.image_pull_secrets))
        key = (policy.spec.hash, owner.uid, owner.generation, secrets, str(platform), reference)
        known = self._images.get(key)
        if known is not None:
            return known
        fact = await image_fact(reference, policy, images, platform, self._limits)
        if not isinstance(fact, Unknown) and "@" in reference:
            self._images.keep(key, fact)
        return fact

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
