"""The records in the operator's own namespace: what was decided, declared and scanned. Immutable once written."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from lockstep.api.base import ATOMIC, ApiModel, Digest, Message, ObjectName, ShortText, cel
from lockstep.api.modeldeployment import GateStatus

_IMMUTABLE = cel(("self == oldSelf", "a record can't be changed: it is evidence of what was found at its time"))


class EnvironmentRecordSpec(ApiModel):
    """The scan of one image digest, so that neither a restart nor another replica scans twice."""

    image_digest: Digest = Field(description="Digest of the image manifest that was scanned.")
    analyser: ShortText = Field(description="Name and version of the analysis; another one scans anew.")
    document_digest: Digest = Field(description="Digest of the environment document.")
    document_deflated: Annotated[str, Field(max_length=1_200_000)] = Field(
        description="The environment document as canonical JSON, compressed with zlib, in base64."
    )
    models: Annotated[str, Field(max_length=800_000)] = Field(
        description="The models that were found in the image, as JSON text; the list of a model's files is compressed with "
        "zlib, in base64."
    )

    model_config = ApiModel.model_config | {"json_schema_extra": _IMMUTABLE}


class LayerRecordSpec(ApiModel):
    """What one layer changes in a root file system, so that images on the same base cost only their new layers."""

    layer_digest: Digest = Field(description="Digest of the layer's blob.")
    media_type: ShortText = Field(description="Media type of the layer.")
    diff_id: Digest = Field(alias="diffID", description="Digest of the uncompressed layer.")
    analyser: ShortText = Field(description="Name and version of the analysis; another one reads the layer anew.")
    record_digest: Digest = Field(description="Digest of the whole record.")
    part: int = Field(ge=0, le=15, description="Number of this part of the record; part 0 is written last.")
    parts: int = Field(ge=1, le=16, description="How many parts the record has.")
    data: Annotated[str, Field(max_length=1_200_000)] = Field(description="This part of the record, in base64.")

    model_config = ApiModel.model_config | {"json_schema_extra": _IMMUTABLE}


class LineagePinSpec(ApiModel):
    """What a model version declared when it was first seen; a later change of it is a finding of its own."""

    tracking_uri: Annotated[str, Field(max_length=512)] = Field(
        alias="trackingURI", description="Base URL of the MLflow tracking server."
    )
    model: ShortText = Field(description="Name of the registered model.")
    version: ShortText = Field(description="Version number of the registered model.")
    run_id: ShortText | None = Field(default=None, alias="runID", description="The training run of the version.")
    model_id: ShortText | None = Field(default=None, alias="modelID", description="The logged model of the version.")
    document_digest: Digest | None = Field(default=None, description="Digest of the recorded environment document.")
    mlmodel_sha256: Digest | None = Field(default=None, alias="mlmodelSHA256", description="Digest of the MLmodel file.")
    model_digest: Digest | None = Field(
        default=None, description="Root digest of the model's files (OpenSSF Model Signing 1.0, section 6.5.1)."
    )
    file_count: int | None = Field(default=None, ge=1, description="How many files the model has.")
    byte_count: int | None = Field(default=None, ge=0, description="How many bytes they have.")
    files_deflated: Annotated[str, Field(max_length=1_200_000)] | None = Field(
        default=None,
        description="Digest and size of each file by its path, as JSON text, compressed with zlib, in base64. A pin without "
        "them, of an older version or where they were not read, is completed by one whose name ends with -files.",
    )
    first_seen: datetime = Field(description="When the operator saw the version, or its files, first.")
    replaces: ObjectName | None = Field(
        default=None, description="Name of the pin in whose place this one stands since a LineageRelease lifted it."
    )
    released_by: ShortText | None = Field(default=None, description="Who lifted that pin.")
    release_reason: Message | None = Field(default=None, description="Why.")

    model_config = ApiModel.model_config | {"json_schema_extra": _IMMUTABLE}


class LineageReleaseSpec(ApiModel):
    """A person of the platform team lets a version be pinned anew. Its name is that of the LineagePin that it lifts."""

    by: ShortText = Field(description="Who lifts the pin: the user name that the API server knows, checked at admission.")
    reason: Annotated[str, Field(min_length=10, max_length=1024)] = Field(
        description="Why the version may declare something else than when it was first seen."
    )

    model_config = ApiModel.model_config | {"json_schema_extra": _IMMUTABLE}


class RecordOutcome(StrEnum):
    """What a PromotionRecord says became of a candidate."""

    PROMOTED = "Promoted"
    REFUSED = "Refused"


class PromotionRecordSpec(ApiModel):
    """One verdict in full: what was decided about which candidate, when, and on which evidence."""

    namespace: ObjectName = Field(description="Namespace of the ModelDeployment.")
    name: ObjectName = Field(description="Name of the ModelDeployment.")
    uid: ShortText = Field(description="UID of the ModelDeployment.")
    generation: int = Field(ge=0, description="metadata.generation of the ModelDeployment that was decided about.")
    revision: ShortText = Field(description="Hash of all that makes the candidate.")
    outcome: RecordOutcome = Field(description="Promoted or Refused.")
    decided_at: datetime = Field(description="When the verdict was reached.")
    model: ShortText = Field(description="Name of the registered model.")
    version: ShortText = Field(description="Version number of the registered model.")
    run_id: ShortText = Field(alias="runID", description="The training run of the version.")
    image: Annotated[str, Field(max_length=600)] = Field(description="The image by digest: repository@sha256:...")
    image_digest: Digest = Field(description="Digest of the platform's image manifest.")
    policy_name: ObjectName = Field(description="Name of the PromotionPolicy.")
    policy_hash: ShortText = Field(description="Hash of what the PromotionPolicy demanded.")
    environment_digest: Digest | None = Field(default=None, description="Environment digest under the policy.")
    document_digest: Digest | None = Field(default=None, description="Digest of the training run's environment document.")
    configuration_digest: Digest = Field(description="Digest of the snapshot that the pods are made from.")
    gates: list[GateStatus] = Field(
        default_factory=list, max_length=16, description="Results of all gates, in order.", json_schema_extra=ATOMIC
    )
    holds: list[GateStatus] = Field(
        default_factory=list,
        max_length=16,
        description="What stood in the way besides the gates.",
        json_schema_extra=ATOMIC,
    )
    differences: list[Message] = Field(
        default_factory=list,
        max_length=1000,
        description="All differences of the environments, one sentence each.",
        json_schema_extra=ATOMIC,
    )
    snapshot: Annotated[str, Field(max_length=786_432)] = Field(
        description="All that the revision's pods are made of, as JSON text: from it the revision can be rebuilt."
    )

    model_config = ApiModel.model_config | {"json_schema_extra": _IMMUTABLE}
