"""The part of a PromotionPolicy that says how the image's environment is compared with the training environment."""

from enum import StrEnum

from pydantic import Field

from lockstep.api.base import SET, ApiModel, Pattern
from lockstep.api.signing import DocumentSignature


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


class InstalledRule(StrEnum):
    """What happens to installed packages whose files are not those that they brought."""

    INTACT = "Intact"
    IGNORE = "Ignore"


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
        default_factory=lambda: ["pip", "setuptools", "wheel", "uv", "lockstep-gate"],
        max_length=256,
        description="Names that are never compared.",
        json_schema_extra=SET,
    )
    installed: InstalledRule = Field(
        default=InstalledRule.INTACT,
        description="Intact: the files of every package on the path of what serves, and the commands that are executed, must "
        "be those that the package brought, whatever scope and level say. Ignore: only what is compared counts.",
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


class InterpreterLibrary(StrEnum):
    """Whether the interpreter's own library must be the one that it came with."""

    INTACT = "Intact"
    IGNORE = "Ignore"


class BytecodeCache(StrEnum):
    """Which caches of byte code the pods read."""

    IMAGE = "Image"
    FRESH = "Fresh"


class ObservedRule(StrEnum):
    """When the processes of a candidate are looked at, to see which environment they run in."""

    REQUIRED = "Required"
    WHEN_UNDETERMINED = "WhenUndetermined"
    NEVER = "Never"


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
    interpreter_library: InterpreterLibrary = Field(
        default=InterpreterLibrary.INTACT,
        description="Intact: the modules in the library of the image's Python must be those that its package, or the layer "
        "that brought it, put there. Ignore: they may be others.",
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
    observed: ObservedRule = Field(
        default=ObservedRule.WHEN_UNDETERMINED,
        description="WhenUndetermined: where an image's files do not say what it starts, and some of what it could start "
        "matches, its pods start without traffic, and the processes that answer are looked at. Required: always. Never: such "
        "an image is refused.",
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
