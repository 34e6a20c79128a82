"""The part of a PromotionPolicy that says what a ModelDeployment's pods may be."""

from pydantic import Field

from lockstep.api.base import SET, ApiModel, Pattern


class PodsSpec(ApiModel):
    """What the pods of a ModelDeployment may be."""

    priority_classes: list[Pattern] = Field(
        default_factory=list,
        max_length=64,
        description="PriorityClasses that a candidate may have although its pods could push away those that serve, being of "
        "higher value; * and ? are wildcards. Classes that never preempt, or are of no higher value, need not be listed.",
        json_schema_extra=SET,
    )
