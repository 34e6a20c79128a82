"""The part of a PromotionPolicy that says what a ModelDeployment's pods may be."""

from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import Field

from lockstep.api.base import SET, ApiModel, Pattern, cel

_SIZE = r"^[1-9][0-9]{0,3}(Mi|Gi)$"
_NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"

VariableName = Annotated[
    str,
    Field(
        pattern=_NAME,
        max_length=256,
        json_schema_extra=cel(
            (f"self.matches('{_NAME}')", "name the variable exactly: these lists take no wildcards, so that each is a decision")
        ),
    ),
]
"""The exact name of an environment variable."""


class RootFilesystem(StrEnum):
    """Whether pods may write to their root file system."""

    READ_ONLY = "ReadOnly"
    WRITABLE = "Writable"


class VariablesSpec(ApiModel):
    """Which environment variables pods and images may have, beside those that are known to be harmless."""

    allowed: list[Pattern] = Field(
        default_factory=list,
        max_length=256,
        description="Variables that spec.template.env of a ModelDeployment may set beside the harmless ones, with any value; "
        "* and ? are wildcards. Those that are known to run or choose code, or to choose the model, are not covered.",
        json_schema_extra=SET,
    )
    dangerous: list[VariableName] = Field(
        default_factory=list,
        max_length=64,
        description="Variables that are known to run or choose code, or to choose the model, and that spec.template.env may "
        "set all the same, each by its exact name. Who writes ModelDeployments decides with them what is served.",
        json_schema_extra=SET,
    )
    in_images: list[VariableName] = Field(
        default_factory=list,
        max_length=64,
        description="Variables that an image's own configuration may set although they run or choose code that the scan "
        "does not follow, each by its exact name. Who builds images decides with them what runs.",
        json_schema_extra=SET,
    )


class ExecRule(StrEnum):
    """Who gets into pods that serve."""

    ALLOW = "Allow"
    DENY = "Deny"


class PodsSpec(ApiModel):
    """What the pods of a ModelDeployment may be."""

    exec: ExecRule = Field(
        default=ExecRule.ALLOW,
        description="Allow: RBAC alone decides who executes commands in pods, attaches to them or forwards their ports. "
        "Deny: nobody does, administrators included, unless the chart's guards.breakGlassGroups lists them.",
    )
    variables: VariablesSpec = Field(
        default_factory=VariablesSpec, description="Which environment variables pods and images may have."
    )
    root_filesystem: RootFilesystem = Field(
        default=RootFilesystem.READ_ONLY,
        description="ReadOnly: pods write to /tmp alone, which is an empty directory then, and nothing that is served may lie "
        "in it. Writable: they write where the image lets their user. It holds for new revisions; what serves is not touched.",
    )
    tmp_size_limit: Annotated[str, Field(pattern=_SIZE, max_length=6)] = Field(
        default="2Gi",
        description="Size limit of /tmp under a read-only root file system, of the node's ephemeral storage.",
        json_schema_extra=cel((f"self.matches('{_SIZE}')", "write tmpSizeLimit as a number of Mi or Gi, such as 500Mi or 2Gi")),
    )
    priority_classes: list[Pattern] = Field(
        default_factory=list,
        max_length=64,
        description="PriorityClasses that a candidate may have although its pods could push away those that serve, being of "
        "higher value; * and ? are wildcards. Classes that never preempt, or are of no higher value, need not be listed.",
        json_schema_extra=SET,
    )

    def allows_priority(self, name: str | None) -> bool:
        """Return whether a candidate may have this PriorityClass whatever its value; None where it names none."""
        return name is not None and any(fnmatchcase(name, pattern) for pattern in self.priority_classes)
