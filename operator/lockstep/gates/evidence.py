"""The facts of one decision, gathered before it and frozen. Gates see nothing else: no clock, no network, no cluster."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import TypeAlias, TypeVar

from lockstep.api.modeldeployment import ModelDeploymentSpec
from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.api.reasons import Reason
from lockstep.environment.candidate import Candidate
from lockstep.environment.observation import Observation
from lockstep.formats.modelfiles import ModelFiles
from lockstep.images.image import ResolvedImage
from lockstep.images.scan.result import ImageModel, ImageScan
from lockstep.images.signing.signed import Signed
from lockstep.lineage.lineage import Lineage

T = TypeVar("T")


@dataclass(frozen=True)
class Unknown:
    """A fact that could not be had, with the reason why. It never counts as a pass."""

    reason: Reason
    message: str
    retry: bool
    """True when a dependency did not answer (it is asked again by itself), False when the answer is a plain no."""
    retry_after: float | None = None
    next_step: str = ""
    """Who has to do what, where that is known."""


@dataclass(frozen=True)
class Undetermined(Unknown):
    """The environment of an image that was scanned and does not say what it starts: the environments that it could run."""

    digest: str = ""
    """Image manifest digest."""
    models: tuple[ImageModel, ...] = ()
    """As in `ImageScan`."""
    candidates: tuple[Candidate, ...] = ()
    """At least one."""


Fact: TypeAlias = T | Unknown
"""A fact, or why it is not known."""


class UnknownFactError(Exception):
    """A gate needs a fact that is not known."""

    def __init__(self, fact: Unknown) -> None:
        super().__init__(fact.message)
        self.fact = fact


def require(fact: Fact[T]) -> T:
    """Return a fact that a gate can't answer without.

    Raises:
        UnknownFactError: it is not known. `Gate.evaluate` answers for it.
    """
    if isinstance(fact, Unknown):
        raise UnknownFactError(fact)
    return fact


@dataclass(frozen=True)
class LineagePins:
    """What a version declared when it was first seen (the LineagePin record), by digest."""

    run_id: str | None
    model_id: str | None
    document_digest: str | None
    mlmodel_sha256: str | None
    first_seen: datetime
    files: ModelFiles | None = None
    """All files of the model; None where they were not read then."""
    files_first_seen: datetime | None = None
    name: str = ""
    """Of the LineagePin, for messages."""


@dataclass(frozen=True)
class PodFact:
    """One pod of the candidate as the API server shows it."""

    name: str
    ready: bool
    phase: str
    image_id: str
    """`status.containerStatuses[].imageID`: what the node says it runs; empty until it runs."""
    restarts: int
    waiting_reason: str | None = None
    """`ImagePullBackOff`, `CrashLoopBackOff`, ... of the serving container."""
    waiting_message: str | None = None
    terminated_reason: str | None = None
    exit_code: int | None = None
    read_only: bool = False
    """Whether its last words complain of a read-only file system."""
    unschedulable: str | None = None
    """Message of the PodScheduled condition when it is False."""
    tampered: str | None = None
    """How the pod differs from the pod that was asked for; None when it does not."""
    unchanged: bool = False
    """True when the API server vouches that the pod's spec has never been changed since it was made."""


@dataclass(frozen=True)
class AuditFact:
    """What the readiness audit found at one pod."""

    pod: str
    passed: bool
    answered: int
    """Predictions that were answered rightly."""
    failure: str | None = None
    """What went wrong, as a sentence."""
    advice: str | None = None
    """What would help, where more is known than that the server or the model is at fault."""
    unreachable: bool = False
    """True when no answer came at all, or not in time: may pass by itself."""
    late: bool = False
    """True when the audit's time was over before enough was answered."""


@dataclass(frozen=True)
class CandidatePods:
    """The candidate's pods and their audit. `wanted` is how many there should be."""

    wanted: int
    since: datetime
    """When the candidate's Deployment was asked for."""
    pods: tuple[PodFact, ...] = ()
    audits: tuple[AuditFact, ...] = ()
    refused: str | None = None
    """Why the API server makes no pods: message of the ReplicaFailure condition when there is one."""
    unready: Mapping[str, str] = field(default_factory=dict)
    """What pods that run and are not ready answer to the readiness probe's question, by pod, as a sentence; empty while the
    first answer, which comes within seconds, is on its way.
    """
    observed: Mapping[str, Fact[Observation]] = field(default_factory=dict)
    """What was seen in each pod, by its name; none is in here of which nothing was asked yet."""
    reported: Mapping[str, Fact[ResolvedImage]] = field(default_factory=dict)
    """What the registry says of digests that nodes report to run and that are not on the way to the pinned image."""


@dataclass(frozen=True)
class Evidence:
    """All facts of one decision."""

    now: datetime
    namespace: str
    name: str
    spec: ModelDeploymentSpec
    policy: Fact[PromotionPolicy]
    lineage: Fact[Lineage]
    image: Fact[ResolvedImage]
    scan: Fact[ImageScan]
    signed: Fact[Signed] | None = None
    """What is signed of the image; None when it was not read, which is enough where the policy asks for nothing."""
    files: Fact[ModelFiles] | None = None
    """The files of the registered model as they are now, or as they are pinned; None where the policy does not ask."""
    pins: LineagePins | None = None
    """None when this version has never been seen before: what it declares now becomes the pin."""
    pods: CandidatePods | None = None
    """None until the candidate's pods have been asked for."""

    @property
    def document_digest(self) -> str | None:
        """Digest of the recorded training environment, where there is one."""
        return None if isinstance(self.lineage, Unknown) else self.lineage.environment_digest

    def unknown(self) -> Iterator[Unknown]:
        """Yield the facts that are not known."""
        for each in fields(self):
            fact = getattr(self, each.name)
            if isinstance(fact, Unknown):
                yield fact
