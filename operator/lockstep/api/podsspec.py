"""The part of a PromotionPolicy that says what a ModelDeployment's pods may be."""

from lockstep.api.base import ApiModel


class PodsSpec(ApiModel):
    """What the pods of a ModelDeployment may be."""
