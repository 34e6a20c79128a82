"""The PromotionPolicy: what the platform team demands before a model image gets traffic."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from lockstep.api.base import ATOMIC, SET, ApiModel, Digest, ShortText, cel, list_map
from lockstep.api.modeldeployment import GateMode
from lockstep.canonical import canonical_json, sha256_of
from lockstep.keys import BEGIN_PUBLIC, MAX_PEM, public_keys

PLURAL = "promotionpolicies"
KIND = "PromotionPolicy"

Pattern = Annotated[str, Field(min_length=1, max_length=256)]


def _readable(pems: list[str]) -> list[str]:
    """Refuse what is no key, and a key that stands twice: it would count once against the threshold."""
    if len(public_keys(pems)) != len(pems):
        raise ValueError("a key stands twice")
    return pems


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


class InImage(StrEnum):
    """Whether the registered model has to be inside the image."""

    REQUIRED = "Required"
    IF_PRESENT = "IfPresent"


class PullCredentials(StrEnum):
    """Whose credentials open the image repositories."""

    NAMESPACE = "Namespace"
    OPERATOR = "Operator"


PublicKeyPEM = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_PEM,
        json_schema_extra=cel(
            (f"self.startsWith('{BEGIN_PUBLIC}')", f"a key is a public key in PEM form, which begins with {BEGIN_PUBLIC}")
        ),
    ),
]
Keys = Annotated[list[PublicKeyPEM], Field(min_length=1, max_length=16), AfterValidator(_readable)]


class Signing(StrEnum):
    """Whether the image itself has to be signed."""

    REQUIRED = "Required"
    IGNORE = "Ignore"


class Attesting(StrEnum):
    """What is demanded of an attestation of the image's environment."""

    REQUIRED = "Required"
    IF_PRESENT = "IfPresent"
    IGNORE = "Ignore"


_THRESHOLD = cel(("self.threshold <= size(self.keys)", "threshold must not be larger than the number of keys"))
_RULE = cel(
    ("self.threshold <= size(self.keys)", "threshold must not be larger than the number of keys"),
    (
        "self.signature == 'Required' || self.attestation == 'Required'",
        "a rule has to require something: signature: Required, or attestation: Required",
    ),
)


class SignatureRule(ApiModel):
    """Whose signatures images of some repositories must bear. All rules that fit a repository have to hold."""

    name: Annotated[str, Field(min_length=1, max_length=63)] = Field(description="Name of the rule, for messages.")
    repositories: list[Pattern] = Field(
        default_factory=lambda: ["*"],
        max_length=64,
        description="Repositories that the rule is for (registry/repository); * and ? are wildcards, * spans slashes.",
        json_schema_extra=SET,
    )
    keys: Keys = Field(
        description="Public keys in PEM form: ECDSA P-256 or P-384, Ed25519, RSA (what cosign.pub holds).",
        json_schema_extra=ATOMIC,
    )
    threshold: int = Field(default=1, ge=1, le=16, description="How many of the keys must have signed.")
    signature: Signing = Field(
        default=Signing.REQUIRED, description="Required: the image must be signed, as by cosign sign. Ignore: it need not be."
    )
    attestation: Attesting = Field(
        default=Attesting.IF_PRESENT,
        description="Required: the keys must have attested the image's environment, as by lockstep environment attest. "
        "IfPresent: where they have, it must be the one in the layers. Ignore: it is not looked at.",
    )

    model_config = ApiModel.model_config | {"json_schema_extra": _RULE}

    @model_validator(mode="after")
    def _possible(self) -> "SignatureRule":
        if self.threshold > len(self.keys):
            raise ValueError("threshold must not be larger than the number of keys")
        if self.signature is not Signing.REQUIRED and self.attestation is not Attesting.REQUIRED:
            raise ValueError("a rule has to require something: signature: Required, or attestation: Required")
        return self


class BaseImage(ApiModel):
    """A base image, by the digests of its uncompressed layers."""

    name: ShortText = Field(description="What people call it; shown in messages.")
    diff_ids: list[Digest] = Field(
        alias="diffIDs",
        min_length=1,
        max_length=128,
        description="Digests of its uncompressed layers, the lowest first, as `lockstep environment base IMAGE` prints them.",
        json_schema_extra=ATOMIC,
    )


class ImagesSpec(ApiModel):
    """Which images may be deployed."""

    repositories: list[Pattern] = Field(
        default_factory=lambda: ["*"],
        max_length=64,
        description="Repositories that images may come from (registry/repository); * and ? are wildcards, * spans slashes.",
        json_schema_extra=SET,
    )
    model_in_image: InImage = Field(
        default=InImage.IF_PRESENT,
        description="Required: the image must hold the registered model (by its MLmodel file). "
        "IfPresent: where the image holds models, one of them must be the registered one; none is fine.",
    )
    base_images: list[BaseImage] = Field(
        default_factory=list,
        max_length=32,
        description="Base images on which images have to be built: an image's lowest layers are those of one of them. "
        "Empty: any base. Labels and annotations that name a base image are not evidence.",
        json_schema_extra=list_map("name"),
    )
    credentials: PullCredentials = Field(
        default=PullCredentials.NAMESPACE,
        description="Namespace: the pull secrets of the ModelDeployment and its ServiceAccount. "
        "Operator: the operator's own, for clusters whose nodes pull with an identity of their own.",
    )
    signatures: list[SignatureRule] = Field(
        default_factory=list,
        max_length=16,
        description="Whose signatures images must bear. Rules for other repositories than the image's are left out.",
        json_schema_extra=list_map("name"),
    )


class EnvironmentEvidence(StrEnum):
    """What is accepted as the record of the training environment."""

    RECORDED = "Recorded"
    MODEL_REQUIREMENTS = "ModelRequirements"


class PythonLevel(StrEnum):
    """How far the Python version must agree."""

    MINOR = "Minor"
    PATCH = "Patch"


class PackagesScope(StrEnum):
    """Which packages are compared."""

    REQUIRED = "Required"
    ALL = "All"


class PackagesLevel(StrEnum):
    """What of a package is compared."""

    VERSION = "Version"
    CONTENT = "Content"


class LocalVersions(StrEnum):
    """Whether local version labels (`+cu128`) count."""

    SIGNIFICANT = "Significant"
    IGNORE = "Ignore"


class Extras(StrEnum):
    """What happens to packages that only the image has."""

    ALLOW = "Allow"
    LISTED = "Listed"
    DENY = "Deny"


class Unowned(StrEnum):
    """What happens to modules among the installed packages that no package brought."""

    ALLOW = "Allow"
    DENY = "Deny"


class UnprovenRequiredSet(StrEnum):
    """What happens when the set of required packages is not proven."""

    COMPARE_ALL = "CompareAll"
    BLOCK = "Block"


class PackagesSpec(ApiModel):
    """How packages are compared."""

    scope: PackagesScope = Field(
        default=PackagesScope.REQUIRED, description="Required: what the model needs. All: everything recorded."
    )
    level: PackagesLevel = Field(
        default=PackagesLevel.VERSION, description="Version, or Content: the installed files too, where comparable."
    )
    local_versions: LocalVersions = Field(
        default=LocalVersions.SIGNIFICANT,
        description="Significant: 2.7.1+cu128 differs from 2.7.1+cpu. Ignore: it does not.",
    )
    extras: Extras = Field(
        default=Extras.ALLOW, description="Packages that only the image has: Allow, only those Listed, or Deny."
    )
    listed_extras: list[Pattern] = Field(
        default_factory=list, max_length=256, description="Names that extras: Listed allows.", json_schema_extra=SET
    )
    ignore: list[Pattern] = Field(
        default_factory=lambda: ["pip", "setuptools", "wheel", "uv"],
        max_length=256,
        description="Names that are never compared.",
        json_schema_extra=SET,
    )
    unowned: Unowned = Field(
        default=Unowned.ALLOW,
        description="Modules in the image's site-packages that no package brought and training did not have: Allow or Deny.",
    )
    allowed_unowned: list[Pattern] = Field(
        default_factory=list,
        max_length=256,
        description="Import paths that unowned: Deny allows, such as fraud/*; * spans slashes.",
        json_schema_extra=SET,
    )
    unproven_required_set: UnprovenRequiredSet = Field(
        default=UnprovenRequiredSet.COMPARE_ALL,
        description="When no reload and prediction proved what the model needs: compare every package, or Block.",
    )


class AcceleratorRule(StrEnum):
    """Whether accelerator variants of one framework are equal."""

    SAME = "Same"
    ANY = "Any"


class LibcRule(StrEnum):
    """How the C library is compared."""

    NOT_OLDER = "NotOlder"
    IGNORE = "Ignore"


class StartupRule(StrEnum):
    """Whether start-up hooks are compared."""

    COMPARE = "Compare"
    IGNORE = "Ignore"


class BytecodeRule(StrEnum):
    """Whether byte code may run instead of its source."""

    DENY = "Deny"
    ALLOW = "Allow"


class BytecodeCache(StrEnum):
    """Which caches of byte code the pods read."""

    IMAGE = "Image"
    FRESH = "Fresh"


class DocumentSignature(ApiModel):
    """Whose signatures the recorded training environment must bear."""

    keys: Keys = Field(
        description="Public keys in PEM form: ECDSA P-256 or P-384, Ed25519, RSA.",
        json_schema_extra=ATOMIC,
    )
    threshold: int = Field(default=1, ge=1, le=8, description="How many of the keys must have signed.")

    model_config = ApiModel.model_config | {"json_schema_extra": _THRESHOLD}

    @model_validator(mode="after")
    def _possible(self) -> "DocumentSignature":
        if self.threshold > len(self.keys):
            raise ValueError("threshold must not be larger than the number of keys")
        return self


class EnvironmentSpec(ApiModel):
    """How the image's environment is compared with the training environment."""

    evidence: EnvironmentEvidence = Field(
        default=EnvironmentEvidence.RECORDED,
        description="Recorded: the document that log_environment() stored. ModelRequirements: also, weaker, "
        "the requirements that stock MLflow stores.",
    )
    python: PythonLevel = Field(default=PythonLevel.MINOR, description="Python must be equal to the Minor or Patch number.")
    packages: PackagesSpec = Field(default_factory=PackagesSpec, description="How packages are compared.")
    accelerator: AcceleratorRule = Field(
        default=AcceleratorRule.SAME, description="Any: GPU and CPU builds of one framework are equal."
    )
    libc: LibcRule = Field(
        default=LibcRule.NOT_OLDER,
        description="NotOlder: same family and not older in the image. Ignore: not compared.",
    )
    startup: StartupRule = Field(
        default=StartupRule.COMPARE,
        description="Compare: what runs at every start of Python (.pth files with code, sitecustomize) must be the same. "
        "Ignore: it is not compared.",
    )
    bytecode: BytecodeRule = Field(
        default=BytecodeRule.DENY,
        description="Byte code in the image that runs instead of its source (without one, unchecked, or stale): Deny or Allow.",
    )
    bytecode_cache: BytecodeCache = Field(
        default=BytecodeCache.IMAGE,
        description="Image: pods read the byte code that the image brings. Fresh: they compile it anew (PYTHONPYCACHEPREFIX "
        "in an emptyDir), so that none in the image is read but what stands in the place of a source.",
    )
    system: list[Pattern] = Field(
        default_factory=list,
        max_length=256,
        description="System packages whose versions must be equal, within one distribution; conda's are conda:NAME, "
        "within two conda environments.",
        json_schema_extra=SET,
    )
    signature: DocumentSignature | None = Field(
        default=None,
        description="Demands that the recorded training environment is signed, as by log_environment(sign_key=...).",
    )


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


class LineageSpec(ApiModel):
    """What a training run must have recorded."""

    require: list[LineageRequirement] = Field(
        default_factory=list,
        max_length=16,
        description="GitCommit, CleanTree, Dataset, Parameters, Seed, TrainingScript, Signature, InputExample.",
        json_schema_extra=SET,
    )


class ReadinessPolicy(ApiModel):
    """What candidate pods have to prove before they get traffic."""

    requests: int = Field(default=3, ge=1, le=1000, description="Predictions that each candidate pod must answer in a row.")
    timeout_seconds: int = Field(default=10, ge=1, le=300, description="Seconds for one request of the audit.")
    deadline_seconds: int = Field(
        default=600, ge=10, le=86400, description="Seconds until a candidate that is not ready is refused."
    )
    input_example: InImage = Field(
        default=InImage.IF_PRESENT,
        description="Required: the model must have a registered input example. IfPresent: it is sent where there is one.",
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

    name: ShortText = Field(description="lineage, image, environment or readiness.")
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
    readiness: ReadinessPolicy = Field(default_factory=ReadinessPolicy, description="What candidate pods must prove.")
    rollout: RolloutSpec = Field(default_factory=RolloutSpec, description="How a promoted revision takes over.")
    gates: list[GateRule] = Field(
        default_factory=list,
        max_length=16,
        description="Modes that differ from Enforce, by gate.",
        json_schema_extra=list_map("name")
        | cel(
            (
                "self.all(g, g.name in ['lineage', 'image', 'environment', 'readiness'])",
                "gates are named lineage, image, environment and readiness",
            ),
            ("!self.exists(g, g.name == 'readiness' && g.mode == 'Off')", "readiness can't be switched off"),
        ),
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
