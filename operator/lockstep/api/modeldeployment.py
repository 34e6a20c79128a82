"""The ModelDeployment: which model version is to be served by which image, and what became of it."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from lockstep.api.base import ATOMIC, ApiModel, Condition, Digest, Message, ObjectName, ShortText, cel, list_map
from lockstep.api.podtemplate import PodTemplate
from lockstep.api.reasons import Reason
from lockstep.api.server import Server

MAX_DIFFERENCES = 20
MAX_HISTORY = 10

IMAGE_PATTERN = (
    r"^[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+"
    r"(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(@sha256:[a-f0-9]{64})?$"
)


class ModelReference(ApiModel):
    """Which registered model version is to be served: a version number or an alias."""

    name: Annotated[str, Field(min_length=1, max_length=256)] = Field(description="Name of the registered model in MLflow.")
    version: Annotated[str, Field(pattern=r"^[0-9]{1,10}$", max_length=10)] | None = Field(
        default=None,
        description='Version number, as a string: "3". Exactly one of version and alias is set.',
        json_schema_extra=cel(
            (
                "self.matches('^[0-9]{1,10}$')",
                'write model.version as a number in quotes, such as "3"; an alias goes to model.alias',
            )
        ),
    )
    alias: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        default=None,
        description="Alias of the registered model, such as champion. It is followed when it moves: "
        "the version that it names becomes a new candidate.",
    )

    model_config = ApiModel.model_config | {
        "json_schema_extra": cel(
            (
                "has(self.version) != has(self.alias)",
                'set exactly one of model.version (such as "3") and model.alias (such as champion)',
            )
        )
    }

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.version is None) == (self.alias is None):
            raise ValueError('set exactly one of model.version (such as "3") and model.alias (such as champion)')
        return self


class ServicePort(ApiModel):
    """The Service in front of the active revision; it has the ModelDeployment's name."""

    port: int = Field(default=80, ge=1, le=65535, description="Port of the Service.")


class ReadinessSpec(ApiModel):
    """Thresholds of the readiness audit. They may tighten the policy's, never loosen them."""

    requests: int | None = Field(
        default=None, ge=1, le=1000, description="How many predictions each candidate pod must answer in a row."
    )
    deadline_seconds: int | None = Field(
        default=None, ge=10, le=86400, description="Seconds until a candidate that is not ready is refused."
    )


class ModelDeploymentSpec(ApiModel):
    """What is to be served."""

    model: ModelReference = Field(description="Which registered model version is to be served.")
    image: Annotated[str, Field(min_length=1, max_length=512)] = Field(
        description="Reference of the serving image, with registry: registry.example.com/iris:2026-11 or "
        "registry.example.com/iris@sha256:.... A tag is resolved to a digest once; what was checked is what runs.",
        json_schema_extra=cel(
            (
                f"self.matches(r'{IMAGE_PATTERN}')",
                "image must be a full reference with registry and repository, "
                "such as registry.example.com/team/iris:2026-11 or registry.example.com/team/iris@sha256:<64 hex>",
            )
        ),
    )
    replicas: int = Field(default=1, ge=0, le=1000, description="How many pods serve the active revision.")
    server: Server = Field(description="How the serving container is talked to.")
    template: PodTemplate = Field(default_factory=PodTemplate, description="The parts of the pod that are the user's.")
    service: ServicePort = Field(default_factory=ServicePort, description="The Service in front of the active revision.")
    readiness: ReadinessSpec = Field(
        default_factory=ReadinessSpec, description="Tightens the policy's thresholds of the readiness audit."
    )
    paused: bool = Field(default=False, description="Check candidates, but promote none while true.")
    retry: int = Field(
        default=0, ge=0, le=1000000, description="Raise this number to try a finally refused revision once more."
    )


class GateOutcome(StrEnum):
    """Outcome of one gate: waiting, undetermined and refused are three different things."""

    PASSED = "Passed"
    PENDING = "Pending"
    """Something is under way or has to happen first."""
    RETRY = "Retry"
    """Could not be determined: a dependency did not answer. It is tried again."""
    REJECTED = "Rejected"


class GateMode(StrEnum):
    """What a gate's result means for the promotion."""

    ENFORCE = "Enforce"
    AUDIT = "Audit"
    OFF = "Off"


OBSERVING = frozenset({Reason.TO_BE_OBSERVED, Reason.OBSERVER_UNAVAILABLE, Reason.OBSERVER_FORBIDDEN, Reason.OBSERVER_FAILED})
"""Reasons for which a gate that needs no pods of its own waits for what they show."""


class GateStatus(ApiModel):
    """The result of one gate, or one hold, for the candidate or for the active revision."""

    name: ShortText = Field(description="Name of the gate or hold.")
    outcome: GateOutcome = Field(description="Passed, Pending, Retry or Rejected.")
    mode: GateMode = Field(default=GateMode.ENFORCE, description="Enforce, Audit or Off, by policy.")
    reason: ShortText = Field(description="CamelCase reason from Lockstep's closed list.")
    message: Message = Field(default="", description="What a person should know, the cause first.")

    @property
    def permits(self) -> bool:
        """Return whether this result lets the candidate go on: Passed, or not enforced."""
        return self.outcome is GateOutcome.PASSED or self.mode is GateMode.AUDIT

    @property
    def awaits_pods(self) -> bool:
        """Return whether it waits for what the candidate's pods show, which start meanwhile without traffic."""
        return self.outcome in (GateOutcome.PENDING, GateOutcome.RETRY) and self.reason in OBSERVING


class DifferenceStatus(ApiModel):
    """One difference between the training environment and the image's."""

    kind: ShortText = Field(description="What differs: Package, Python, System, Platform, Code, ...")
    subject: ShortText = Field(description="Its name, such as scikit-learn.")
    trained: ShortText | None = Field(default=None, description="What the training run had; absent when it had none.")
    image: ShortText | None = Field(default=None, description="What the image has; absent when it has none.")
    message: Message = Field(description="The difference as a person would say it.")


class RevisionStatus(ApiModel):
    """One revision: a model version in an image, with everything pinned."""

    revision: ShortText | None = Field(
        default=None, description="Hash of all that makes the revision; absent until version and digest are pinned."
    )
    model_version: ShortText | None = Field(default=None, description="Version number that was resolved and pinned.")
    run_id: ShortText | None = Field(default=None, alias="runID", description="The training run of that version.")
    image: Annotated[str, Field(max_length=600)] | None = Field(
        default=None, description="The image by digest: repository@sha256:..."
    )
    image_digest: Digest | None = Field(default=None, description="Digest of the platform's image manifest.")
    short_digest: ShortText | None = Field(default=None, description="First twelve characters of the digest.")
    environment_digest: Digest | None = Field(default=None, description="Environment digest under the policy.")
    policy_hash: ShortText | None = Field(default=None, description="Hash of the policy that the gates ran under.")
    spec_hash: ShortText | None = Field(
        default=None, description="Hash of the spec's parts that make a revision; when it changes, pins are made anew."
    )
    evaluated_policy_hash: ShortText | None = Field(
        default=None, description="Hash of the policy that the active revision was last evaluated under."
    )
    record: ObjectName | None = Field(
        default=None, description="Name of the PromotionRecord that holds the verdict, in the operator's namespace."
    )
    start_time: datetime | None = Field(default=None, description="When this revision was first seen or promoted.")


class CandidateStatus(RevisionStatus):
    """The revision that is being checked. Its pods, if any, get no traffic through Lockstep's Service."""

    gates: list[GateStatus] = Field(
        default_factory=list, max_length=16, description="Results so far, in order.", json_schema_extra=list_map("name")
    )
    blocked_since: datetime | None = Field(default=None, description="Since when a gate has refused this candidate.")
    waiting_since: datetime | None = Field(default=None, description="Since when the present wait lasts.")
    pods_since: datetime | None = Field(default=None, description="Since when the candidate's pods have been asked for.")
    final: bool = Field(default=False, description="True when nothing but another spec, policy or a raised spec.retry helps.")


class ModelDeploymentStatus(ApiModel):
    """What became of it. Written by Lockstep's controller alone."""

    observed_generation: int | None = Field(default=None, ge=0, description="metadata.generation that this is about.")
    conditions: list[Condition] = Field(
        default_factory=list, max_length=16, description="Conditions, by type.", json_schema_extra=list_map("type")
    )
    candidate: CandidateStatus | None = Field(default=None, description="The revision that is being checked.")
    active: RevisionStatus | None = Field(default=None, description="The revision that gets the traffic.")
    history: list[RevisionStatus] = Field(
        default_factory=list,
        max_length=MAX_HISTORY,
        description="Revisions that were active before, newest first.",
        json_schema_extra=ATOMIC,
    )
    differences: list[DifferenceStatus] = Field(
        default_factory=list,
        max_length=MAX_DIFFERENCES,
        description="How the candidate's environment differs, most decisive first; the record has all of them.",
        json_schema_extra=ATOMIC,
    )
    holds: list[GateStatus] = Field(
        default_factory=list,
        max_length=16,
        description="What besides the gates keeps Lockstep from going on: a pause, missing guards, a name that is taken.",
        json_schema_extra=list_map("name"),
    )
    model: ShortText | None = Field(default=None, description="Model and version of the spec, for people: iris/3.")
    replicas: int = Field(default=0, ge=0, description="Pods of the active revision.")
    ready_replicas: int = Field(default=0, ge=0, description="Ready pods of the active revision.")
    selector: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None, description="Label selector of the active revision's pods, for the scale subresource."
    )


def root_rules() -> list[dict[str, Any]]:
    """Return the CEL rules that stand at the root of the schema, where metadata.name can be seen."""
    return [
        {
            "rule": "self.metadata.name.matches('^[a-z]([-a-z0-9]{0,50}[a-z0-9])?$')",
            "message": "metadata.name must start with a letter, hold only lower-case letters, digits and '-', "
            "and have at most 52 characters: it names the Service and, with a suffix, the Deployments",
        }
    ]


class ModelDeployment(ApiModel):
    """A ModelDeployment as read from the API server or from a manifest."""

    name: str
    namespace: str
    uid: str = ""
    generation: int = 0
    spec: ModelDeploymentSpec
    status: ModelDeploymentStatus = Field(default_factory=ModelDeploymentStatus)

    @classmethod
    def from_object(cls, raw: dict[str, Any]) -> "ModelDeployment":
        """Read an API object.

        Raises:
            pydantic.ValidationError: the spec can't be understood.
        """
        metadata = raw.get("metadata") or {}
        return cls(
            name=metadata.get("name", ""),
            namespace=metadata.get("namespace") or "default",
            uid=metadata.get("uid", ""),
            generation=metadata.get("generation", 0),
            spec=ModelDeploymentSpec.model_validate(raw.get("spec") or {}),
            status=ModelDeploymentStatus.model_validate(raw.get("status") or {}),
        )
