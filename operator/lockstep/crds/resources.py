"""The custom resources: what each is made of, and how `kubectl get` shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lockstep.api import kinds, modeldeployment, promotionpolicy, records
from lockstep.api.base import ApiModel, cel
from lockstep.api.kinds import Kind
from lockstep.gates.gate import Gate
from lockstep.gates.table import GATES

Schema = dict[str, Any]
RULES = "x-kubernetes-validations"


@dataclass(frozen=True)
class Resource:
    """One custom resource and how the API server presents it."""

    kind: Kind
    description: str
    spec: type[ApiModel]
    columns: tuple[Schema, ...]
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    status: type[ApiModel] | None = None
    scale: Schema | None = None
    rules: list[Schema] = field(default_factory=list)
    """CEL rules at the root, where metadata.name can be seen."""
    field_rules: Mapping[str, list[Schema]] = field(default_factory=dict)
    """CEL rules of fields of the spec that come from elsewhere than the field's own type."""


def _column(name: str, path: str, description: str, type_: str = "string", priority: int = 0) -> Schema:
    column: Schema = {"name": name, "type": type_, "jsonPath": path, "description": description}
    return column | ({"priority": priority} if priority else {})


def gate_rules(gates: Sequence[Gate]) -> list[Schema]:
    """Return the CEL rules of a policy's `gates`: which there are, and which of them can't be switched off."""
    names = [gate.name for gate in gates]
    rules = [(f"self.all(g, g.name in {names})", f"gates are named {', '.join(names[:-1])} and {names[-1]}")]
    rules += [
        (f"!self.exists(g, g.name == '{gate.name}' && g.mode == 'Off')", f"{gate.name} can't be switched off")
        for gate in gates
        if gate.always_enforced
    ]
    made: list[Schema] = cel(*rules)[RULES]
    return made


_AGE = _column("AGE", ".metadata.creationTimestamp", "How old the object is.", "date")
_ACCEPTED = '.status.conditions[?(@.type=="Accepted")]'
_REPOSITORIES = '.status.conditions[?(@.type=="RepositoriesRestricted")]'
_READY = '.status.conditions[?(@.type=="Ready")]'

RESOURCES: tuple[Resource, ...] = (
    Resource(
        kind=kinds.MODEL_DEPLOYMENT,
        description="A ModelDeployment serves one registered model version from one image. The image gets traffic only "
        "after every gate of the namespace's PromotionPolicy has passed.",
        spec=modeldeployment.ModelDeploymentSpec,
        status=modeldeployment.ModelDeploymentStatus,
        short_names=("mdep",),
        categories=("ml",),
        scale={
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
        rules=modeldeployment.root_rules(),
        columns=(
            _column("READY", f"{_READY}.status", "Whether the current spec is active."),
            _column("REASON", f"{_READY}.reason", "Why it is or is not."),
            _column("MODEL", ".status.model", "Model and version of the spec."),
            _column("ACTIVE", ".status.active.shortDigest", "Image digest that gets the traffic, shortened."),
            _column("CANDIDATE", ".status.candidate.shortDigest", "Image digest that is being checked, shortened."),
            _column("BLOCKED", ".status.candidate.blockedSince", "Since when a gate has refused the candidate.", "date"),
            _AGE,
            _column("MESSAGE", f"{_READY}.message", "What a person should know.", priority=1),
        ),
    ),
    Resource(
        kind=kinds.PROMOTION_POLICY,
        description="A PromotionPolicy is what the platform team demands before a model image gets traffic. A namespace "
        "names its policy by the label lockstep.dev/policy; else the one marked default applies.",
        spec=promotionpolicy.PromotionPolicySpec,
        status=promotionpolicy.PromotionPolicyStatus,
        short_names=("ppol",),
        categories=("ml",),
        field_rules={"gates": gate_rules(GATES)},
        columns=(
            _column("DEFAULT", ".spec.default", "Whether it applies to namespaces without a label.", "boolean"),
            _column("ACCEPTED", f"{_ACCEPTED}.status", "Whether it is understood."),
            _column("REPOSITORIES", f"{_REPOSITORIES}.reason", "Whether images may come from everywhere."),
            _column("TRACKING", ".spec.registry.trackingURI", "The model registry."),
            _AGE,
            _column("MESSAGE", f"{_ACCEPTED}.message", "What is wrong with it.", priority=1),
        ),
    ),
    Resource(
        kind=kinds.ENVIRONMENT_RECORD,
        description="An EnvironmentRecord is the scan of one image digest. Written by the operator alone, immutable.",
        spec=records.EnvironmentRecordSpec,
        columns=(
            _column("IMAGE", ".spec.imageDigest", "Digest of the image."),
            _column("ANALYSER", ".spec.analyser", "The analysis that was made."),
            _AGE,
        ),
    ),
    Resource(
        kind=kinds.LAYER_RECORD,
        description="A LayerRecord is what the scan found in one layer, a cache. Written by the operator alone, immutable; "
        "the oldest are deleted by it.",
        spec=records.LayerRecordSpec,
        columns=(
            _column("LAYER", ".spec.layerDigest", "Digest of the layer."),
            _column("PART", ".spec.part", "Number of the part.", "integer"),
            _column("ANALYSER", ".spec.analyser", "The analysis that was made."),
            _AGE,
        ),
    ),
    Resource(
        kind=kinds.LINEAGE_PIN,
        description="A LineagePin is what a model version declared when it was first seen. Written by the operator "
        "alone, immutable.",
        spec=records.LineagePinSpec,
        columns=(
            _column("MODEL", ".spec.model", "Name of the registered model."),
            _column("VERSION", ".spec.version", "Its version."),
            _column("RUN", ".spec.runID", "The training run."),
            _column("REPLACES", ".spec.replaces", "The pin in whose place it stands.", priority=1),
            _AGE,
        ),
    ),
    Resource(
        kind=kinds.LINEAGE_RELEASE,
        description="A LineageRelease lifts the LineagePin of its name: what the version declares now is pinned anew. "
        "Written by the platform team, immutable, kept as evidence.",
        spec=records.LineageReleaseSpec,
        columns=(
            _column("BY", ".spec.by", "Who lifted the pin."),
            _column("REASON", ".spec.reason", "Why."),
            _AGE,
        ),
        rules=cel(
            (
                "self.metadata.name.matches('^pin-[0-9a-f]{40}(-[0-9]+)?$')",
                "a LineageRelease is named like the LineagePin that it lifts",
            )
        )[RULES],
    ),
    Resource(
        kind=kinds.PROMOTION_RECORD,
        description="A PromotionRecord is one verdict in full. Written by the operator alone, immutable; it outlives "
        "the ModelDeployment that it is about.",
        spec=records.PromotionRecordSpec,
        columns=(
            _column("OBJECT", ".spec.name", "Name of the ModelDeployment."),
            _column("IN", ".spec.namespace", "Its namespace."),
            _column("OUTCOME", ".spec.outcome", "Promoted or Refused."),
            _column("MODEL", ".spec.model", "Name of the registered model."),
            _column("VERSION", ".spec.version", "Its version."),
            _column("DECIDED", ".spec.decidedAt", "When the verdict was reached.", "date"),
        ),
    ),
)
