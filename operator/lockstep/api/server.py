"""How the serving container is talked to: the part `spec.server` of a ModelDeployment."""

from enum import StrEnum
from typing import Annotated, Self
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

    @property
    def ready_path(self) -> str:
        """Path that answers 200 to GET once the model is loaded."""
        return "/ping"


class OpenInferenceV2Server(ApiModel):
    """The Open Inference Protocol v2: `GET /v2/models/NAME/ready`, `POST /v2/models/NAME/infer`."""

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


class Server(ApiModel):
    """How the serving container is talked to."""

    port: int = Field(default=8080, ge=1, le=65535, description="Port that the container listens on.")
    mlflow: MLflowServer | None = Field(default=None, description="MLflow's scoring protocol (mlflow models serve).")
    open_inference_v2: OpenInferenceV2Server | None = Field(
        default=None, description="Open Inference Protocol v2 (MLServer, KServe, Triton)."
    )
    custom: CustomServer | None = Field(default=None, description="A protocol of the server's own.")

    model_config = ApiModel.model_config | {
        "json_schema_extra": cel(
            (
                "(has(self.mlflow) ? 1 : 0) + (has(self.openInferenceV2) ? 1 : 0) + (has(self.custom) ? 1 : 0) == 1",
                "set exactly one of server.mlflow, server.openInferenceV2 and server.custom: "
                "an MLflow scoring server is written as server: {port: 8080, mlflow: {}}",
            )
        )
    }

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(one is not None for one in (self.mlflow, self.open_inference_v2, self.custom)) != 1:
            raise ValueError("set exactly one of server.mlflow, server.openInferenceV2 and server.custom")
        return self

    @property
    def kind(self) -> ServerKind:
        """Which protocol it is."""
        if self.open_inference_v2 is not None:
            return ServerKind.OPEN_INFERENCE_V2
        return ServerKind.CUSTOM if self.custom is not None else ServerKind.MLFLOW

    @property
    def ready_path(self) -> str:
        """Path that tells that the model is loaded, for the kubelet's probe and for the audit alike."""
        named = self.open_inference_v2 or self.custom or self.mlflow or MLflowServer()
        return named.ready_path
