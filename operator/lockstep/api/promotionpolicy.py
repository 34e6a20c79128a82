"""The PromotionPolicy: what the platform team demands before a model image gets traffic."""

from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, Any

from pydantic import Field

from lockstep.api.base import SET, ApiModel, Condition, Pattern, ShortText, cel, list_map
from lockstep.api.environmentspec import EnvironmentSpec
from lockstep.api.imagesspec import ImagesSpec, InImage
from lockstep.api.modeldeployment import GateMode
from lockstep.api.podsspec import PodsSpec
from lockstep.api.server import ServerKind
from lockstep.formats.canonical import canonical_json, sha256_of


class RegistrySpec(ApiModel):
    """The model registry."""

    tracking_uri: Annotated[str, Field(max_length=512)] = Field(
        alias="trackingURI",
        description="Base URL of the MLflow tracking server, such as http://mlflow.mlflow.svc:5000.",
        json_schema_extra=cel(
            (
                "self.matches('^https?://[^/?#@]+(/.*)?$')",
                "trackingURI must be an http:// or https:// URL without credentials",
            )
        ),
    )
    models: list[Pattern] = Field(
        default_factory=lambda: ["*"],
        max_length=64,
        description="Names of registered models that may be deployed; * and ? are wildcards.",
        json_schema_extra=SET,
    )

    def allows(self, model: str) -> bool:
        """Return whether a registered model may be deployed."""
        return any(fnmatchcase(model, pattern) for pattern in self.models)


class LineageRequirement(StrEnum):
    """What a run can be required to have."""

    GIT_COMMIT = "GitCommit"
    CLEAN_TREE = "CleanTree"
    DATASET = "Dataset"
    PARAMETERS = "Parameters"
    SEED = "Seed"
    TRAINING_SCRIPT = "TrainingScript"
    SIGNATURE = "Signature"
    INPUT_EXAMPLE = "InputExample"


class ModelFilesRule(StrEnum):
    """Whether the files of a registered model are read and compared."""

    REQUIRED = "Required"
    IF_READABLE = "IfReadable"
    IGNORE = "Ignore"


class LineageSpec(ApiModel):
    """What a training run must have recorded, and whether its model stays what it was."""

    require: list[LineageRequirement] = Field(
        default_factory=list,
        max_length=16,
        description="GitCommit, CleanTree, Dataset, Parameters, Seed, TrainingScript, Signature, InputExample.",
        json_schema_extra=SET,
    )
    model_files: ModelFilesRule = Field(
        default=ModelFilesRule.IF_READABLE,
        description="All files of the version are read through MLflow, pinned when they are first seen, and compared with "
        "the model in the image. Required: a version whose files MLflow does not list is refused. IfReadable: it may pass, "
        "and the verdict says that only its MLmodel was compared. Ignore: nothing but the MLmodel is read, and the verdict "
        "says so.",
    )


class PredictBody(StrEnum):
    """Whether a request body of the deployer's own counts."""

    ALLOW = "Allow"
    DENY = "Deny"


class ReadinessPolicy(ApiModel):
    """What candidate pods have to prove before they get traffic."""

    requests: int = Field(default=3, ge=1, le=1000, description="Predictions that each candidate pod must answer, at least.")
    timeout_seconds: int = Field(default=10, ge=1, le=300, description="Seconds for one request of the audit.")
    deadline_seconds: int = Field(
        default=600,
        ge=10,
        le=86400,
        description="Seconds until a candidate is refused that is not ready, or has not answered what it was asked.",
    )
    input_example: InImage = Field(
        default=InImage.IF_PRESENT,
        description="Required: the model must have a registered input example. IfPresent: a model without one is "
        "promoted without having been asked anything, and the verdict says so.",
    )
    servers: list[ServerKind] = Field(
        default_factory=lambda: list(ServerKind),
        min_length=1,
        max_length=8,
        description="Protocols that ModelDeployments may name: MLflow, OpenInferenceV2, Custom. Of a custom server's "
        "answers nobody knows what they mean, so that only errors, nulls and NaN are found in them.",
        json_schema_extra=SET,
    )
    predict_body: PredictBody = Field(
        default=PredictBody.ALLOW,
        description="Allow: server.custom.predictBody is sent where the manifest has one, and the verdict says so. "
        "Deny: only the registered input example counts.",
    )
    whole_example: list[Pattern] = Field(
        default_factory=list,
        max_length=64,
        description="Registered models that take their input example only as a whole (series, sequences, aggregations): "
        "it is sent as it stands, and any number of predictions is right. Others are asked rows of it too, and answer one "
        "prediction a row.",
        json_schema_extra=SET,
    )
    missing_predictions: list[Pattern] = Field(
        default_factory=list,
        max_length=64,
        description="Registered models whose predictions may hold null, NaN and infinite numbers, as long as not all are.",
        json_schema_extra=SET,
    )
    requests_after_switch: int = Field(
        default=4,
        ge=0,
        le=100,
        description="Requests that the Service is asked at random moments of the first two minutes after a promotion; 0: none.",
    )


class RolloutSpec(ApiModel):
    """How a promoted revision takes over."""

    candidate_replicas: int | None = Field(
        default=None, ge=1, le=1000, description="Pods of a candidate while it is checked; all of them by default."
    )
    scale_down_delay_seconds: int = Field(
        default=30, ge=0, le=86400, description="Seconds that the old revision keeps running after the switch."
    )
    pre_stop_sleep_seconds: int = Field(
        default=10, ge=0, le=600, description="Seconds that a pod goes on serving after it has been told to end."
    )
    revision_history_limit: int = Field(default=3, ge=0, le=10, description="Old revisions that are kept, scaled to zero.")


class GateRule(ApiModel):
    """The mode of one gate."""

    name: ShortText = Field(description="Name of the gate.")
    mode: GateMode = Field(
        description="Enforce: it blocks. Audit: it reports and blocks nothing. Off: it is not evaluated. "
        "Pinning and readiness can't be switched off."
    )


class GuardsRule(StrEnum):
    """Whether the guarding admission policies must be in place."""

    REQUIRED = "Required"
    OPTIONAL = "Optional"


class PromotionPolicySpec(ApiModel):
    """What has to hold before a model image gets traffic."""

    default: bool = Field(
        default=False,
        description="True for the one policy that applies to namespaces without the label lockstep.dev/policy.",
    )
    registry: RegistrySpec = Field(description="The model registry and the models that may be deployed.")
    images: ImagesSpec = Field(default_factory=ImagesSpec, description="Which images may be deployed.")
    environment: EnvironmentSpec = Field(default_factory=EnvironmentSpec, description="How environments are compared.")
    lineage: LineageSpec = Field(default_factory=LineageSpec, description="What a training run must have recorded.")
    pods: PodsSpec = Field(default_factory=PodsSpec, description="What pods may be.")
    readiness: ReadinessPolicy = Field(default_factory=ReadinessPolicy, description="What candidate pods must prove.")
    rollout: RolloutSpec = Field(default_factory=RolloutSpec, description="How a promoted revision takes over.")
    gates: list[GateRule] = Field(
        default_factory=list,
        max_length=16,
        description="Modes that differ from Enforce, by gate.",
        json_schema_extra=list_map("name"),
    )
    guards: GuardsRule = Field(
        default=GuardsRule.REQUIRED,
        description="Required: nothing is promoted unless the guarding admission policies are installed.",
    )

    @property
    def hash(self) -> str:
        """Canonical hash of what the policy demands; part of every verdict. `default` demands nothing."""
        return sha256_of(canonical_json(self.model_dump(mode="json", by_alias=True, exclude={"default"})))

    def mode(self, gate: str) -> GateMode:
        """Return the mode of a gate; Enforce unless the policy says otherwise."""
        return next((rule.mode for rule in self.gates if rule.name == gate), GateMode.ENFORCE)


class PromotionPolicyStatus(ApiModel):
    """What Lockstep makes of a policy. Written by Lockstep's controller alone."""

    observed_generation: int | None = Field(default=None, ge=0, description="metadata.generation that this is about.")
    conditions: list[Condition] = Field(
        default_factory=list, max_length=16, description="Conditions, by type.", json_schema_extra=list_map("type")
    )


class PromotionPolicy(ApiModel):
    """A PromotionPolicy as read from the API server or from a manifest."""

    name: str
    generation: int = 0
    spec: PromotionPolicySpec

    @classmethod
    def from_object(cls, raw: dict[str, Any]) -> "PromotionPolicy":
        """Read an API object.

        Raises:
            pydantic.ValidationError: the spec can't be understood.
        """
        metadata = raw.get("metadata") or {}
        return cls(
            name=metadata.get("name", ""),
            generation=metadata.get("generation", 0),
            spec=PromotionPolicySpec.model_validate(raw.get("spec") or {}),
        )
