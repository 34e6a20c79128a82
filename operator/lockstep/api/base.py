"""What all custom resources share: camelCase names, bounds, conditions, and where CEL rules are attached to a field."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class ApiModel(BaseModel):
    """A part of a custom resource. Python names are snake_case, JSON names camelCase; unknown fields are ignored,
    since the API server prunes them and an older operator has to read objects of a newer schema.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)

    def payload(self) -> dict[str, Any]:
        """Return plain JSON data with the API's names; what is unset is left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def essence(self) -> dict[str, Any]:
        """Return what differs from the defaults, for hashes: a field that a later version adds changes none of them."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def cel(*rules: tuple[str, str]) -> dict[str, Any]:
    """Return the schema extension that attaches CEL rules, each a pair of rule and the sentence that a user reads."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in rules]}


def list_map(*keys: str) -> dict[str, Any]:
    """Return the schema extension of a list that is a map by the given keys (server-side apply merges by key)."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


ATOMIC: dict[str, Any] = {"x-kubernetes-list-type": "atomic"}
SET: dict[str, Any] = {"x-kubernetes-list-type": "set"}

Digest = Annotated[str, Field(pattern=r"^sha256:[a-f0-9]{64}$", max_length=71)]
ShortText = Annotated[str, Field(max_length=256)]
Message = Annotated[str, Field(max_length=1024)]
ObjectName = Annotated[str, Field(min_length=1, max_length=253)]
Pattern = Annotated[str, Field(min_length=1, max_length=256)]
"""A name with the wildcards * and ?."""


class Condition(ApiModel):
    """A metav1.Condition (Kubernetes API conventions, "Typical status properties")."""

    type: Annotated[str, Field(max_length=316)] = Field(description="Type of the condition, in CamelCase.")
    status: Literal["True", "False", "Unknown"] = Field(description="True, False or Unknown.")
    observed_generation: int | None = Field(default=None, ge=0, description="metadata.generation that this is about.")
    last_transition_time: datetime = Field(description="When the status last changed from one value to another.")
    reason: Annotated[str, Field(min_length=1, max_length=1024)] = Field(
        description="CamelCase reason from Lockstep's closed list."
    )
    message: Annotated[str, Field(max_length=32768)] = Field(default="", description="What a person should know.")
