"""How the serving container is talked to: the part `spec.server` of a ModelDeployment."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self, TypeAlias, get_args
from urllib.parse import quote

from pydantic import Field, model_validator

from lockstep.api.base import ApiModel, cel


class ServerKind(StrEnum):
    """The protocols that a ModelDeployment can name, as policies list them."""

    MLFLOW = "MLflow"
    OPEN_INFERENCE_V2 = "OpenInferenceV2"
    CUSTOM = "Custom"


class MLflowServer(ApiModel):
    """MLflow's scoring protocol: `GET /ping`, `POST /invocations`."""

    kind: ClassVar[ServerKind] = ServerKind.MLFLOW

    @property
    def ready_path(self) -> str:
        """Path that answers 200 to GET once the model is loaded."""
        return "/ping"


class OpenInferenceV2Server(ApiModel):
    """The Open Inference Protocol v2: `GET /v2/models/NAME/ready`, `POST /v2/models/NAME/infer`."""

    kind: ClassVar[ServerKind] = ServerKind.OPEN_INFERENCE_V2

    model_name: Annotated[str, Field(min_length=1, max_length=256)] = Field(
        description="Name under which the server serves the model.",
        # In the schema only: what was stored before this rule goes on being read.
        json_schema_extra=cel(
            (
                "self.matches('^[A-Za-z0-9_~:@+=,-][A-Za-z0-9._~:@+=,-]*$')",
                "modelName is a part of the path that is asked: write letters, digits and ._~:@+=,- only, such as iris",
            )
        ),
    )

    @property
    def path(self) -> str:
        """Path of the model, below which it is asked."""
        return f"/v2/models/{quote(self.model_name, safe='')}"

    @property
    def ready_path(self) -> str:
        """Path that answers 200 to GET once the model is loaded: the server's own is true without any model."""
        return f"{self.path}/ready"


class CustomServer(ApiModel):
    """A server with a protocol of its own: where it says that it is ready, and what to ask it."""

    kind: ClassVar[ServerKind] = ServerKind.CUSTOM

    ready_path: Annotated[str, Field(pattern=r"^/[^\s?#]*$", max_length=512)] = Field(
        description="Path that answers 200 to GET once the model is loaded."
    )
    predict_path: Annotated[str, Field(pattern=r"^/[^\s?#]*$", max_length=512)] | None = Field(
        default=None,
        description="Path that takes a prediction request by POST. A candidate without one is refused: "
        "its pods could not be asked anything.",
    )
    predict_body: Annotated[str, Field(max_length=16384)] | None = Field(
        default=None,
        description="JSON body of a prediction request. Without it the registered input example is sent.",
    )


ServingProtocol: TypeAlias = MLflowServer | OpenInferenceV2Server | CustomServer
"""What each protocol has: `kind`, and `ready_path`, which answers 200 to GET once the model is loaded."""


def _exactly_one(schema: dict[str, Any]) -> None:
    """Add the rule that names exactly one protocol to the schema of `Server`."""
    names = [name for name in schema["properties"] if name != "port"]
    fields = [f"server.{name}" for name in names]
    schema |= cel(
        (
            f"{' + '.join(f'(has(self.{name}) ? 1 : 0)' for name in names)} == 1",
            f"set exactly one of {', '.join(fields[:-1])} and {fields[-1]}: "
            "an MLflow scoring server is written as server: {port: 8080, mlflow: {}}",
        )
    )


class Server(ApiModel):
    """How the serving container is talked to: a port, and one field a protocol."""

    port: int = Field(default=8080, ge=1, le=65535, description="Port that the container listens on.")
    mlflow: MLflowServer | None = Field(default=None, description="MLflow's scoring protocol (mlflow models serve).")
    open_inference_v2: OpenInferenceV2Server | None = Field(
        default=None, description="Open Inference Protocol v2 (MLServer, KServe, Triton)."
    )
    custom: CustomServer | None = Field(default=None, description="A protocol of the server's own.")

    model_config = ApiModel.model_config | {"json_schema_extra": _exactly_one}

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if len(self._protocols_named()) != 1:
            raise ValueError(f"set exactly one of {', '.join(map(field_of, ServerKind))}")
        return self

    @property
    def protocol(self) -> ServingProtocol:
        """The protocol that is named."""
        return self._protocols_named()[0]

    @property
    def kind(self) -> ServerKind:
        """Which protocol it is."""
        return self.protocol.kind

    @property
    def ready_path(self) -> str:
        """Path that shows that the model is loaded, for the kubelet's probe and for the audit alike."""
        return self.protocol.ready_path

    def _protocols_named(self) -> list[ServingProtocol]:
        values = [getattr(self, name) for name in type(self).model_fields]
        return [value for value in values if isinstance(value, ServingProtocol)]


def field_of(kind: ServerKind) -> str:
    """Return a protocol's field as manifests write it: `server.mlflow`."""
    for info in Server.model_fields.values():
        for type_ in get_args(info.annotation):
            if getattr(type_, "kind", None) is kind:
                return f"server.{info.alias}"
    raise KeyError(kind)
