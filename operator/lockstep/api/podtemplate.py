"""The pod parts that are the user's: the part `spec.template` of a ModelDeployment."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from lockstep.api.base import ATOMIC, ApiModel, ObjectName, ShortText, cel, list_map

FORBIDDEN_VARIABLES = (
    r"^(PYTHON.*|__PYVENV_LAUNCHER__|LD_.*|PATH|HOME|VIRTUAL_ENV|CONDA_.*|MAMBA_.*|PYENV_.*|GLIBC_TUNABLES|GCONV_PATH|LOCPATH"
    r"|SHELLOPTS|BASHOPTS|BASH_.*|PS4|IFS|ENV|OPENSSL_(CONF|MODULES|ENGINES)|NODE_OPTIONS|PERL5.*|RUBYOPT"
    r"|UVICORN_(APP|APP_DIR|ENV_FILE)|CUDA_INJECTION64_PATH|TF_PLUGGABLE_DEVICE_LIBRARY_PATH)$"
)
"""What changes the serving process from outside the image that was scanned, and nobody needs there. The schema refuses it at
`kubectl apply`, and no policy can allow it. No such list can be complete: what it leaves through is judged by the environment
gate, which allows what is known to be harmless and what the policy lists (`environment.variables`).
"""
_ENV_MESSAGE = (
    "this variable changes which code the server loads (PYTHON*, LD_*, BASH_*, SHELLOPTS, PS4, PATH, HOME, CONDA_* and "
    "others); set it in the image, where it is scanned"
)


class EnvVar(ApiModel):
    """An environment variable with a plain value."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=256)] = Field(
        description="Name of the variable. Those that change which code is loaded are refused; others have to be harmless, or "
        "to be listed in the policy (pods.variables).",
        json_schema_extra=cel((f"!self.matches('{FORBIDDEN_VARIABLES}')", _ENV_MESSAGE)),
    )
    value: Annotated[str, Field(max_length=4096)] = Field(default="", description="Value of the variable.")


class Toleration(ApiModel):
    """A toleration of a node taint, as in a Pod."""

    key: ShortText | None = Field(default=None, description="Taint key; empty with operator Exists matches all.")
    operator: ShortText | None = Field(default=None, description="Exists or Equal (the default).")
    value: ShortText | None = Field(default=None, description="Taint value, with operator Equal.")
    effect: ShortText | None = Field(default=None, description="NoSchedule, PreferNoSchedule or NoExecute.")
    toleration_seconds: int | None = Field(default=None, ge=0, description="How long NoExecute is tolerated, in seconds.")


Quantity = Annotated[
    str,
    # YAML reads `cpu: 1` as a number, and so does everybody who writes it.
    BeforeValidator(lambda value: str(value) if type(value) is int else value),
    Field(
        max_length=64,
        json_schema_extra={"x-kubernetes-int-or-string": True}
        | cel(("isQuantity(string(self))", "write a Kubernetes quantity, such as 2, 500m or 4Gi")),
    ),
]
LabelValue = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", max_length=63)]


class Resources(ApiModel):
    """Compute resources of the serving container, as in a Pod."""

    requests: dict[str, Quantity] = Field(
        default_factory=dict, max_length=16, description="What is reserved, by resource name."
    )
    limits: dict[str, Quantity] = Field(
        default_factory=dict, max_length=16, description="What may be used at most, by resource name."
    )


class PodTemplate(ApiModel):
    """The parts of the pod that are the user's: a closed list, so that nothing here can undo what was scanned."""

    labels: dict[Annotated[str, Field(max_length=317)], LabelValue] = Field(
        default_factory=dict,
        max_length=32,
        description="Labels of the pods. Those under lockstep.dev/ and app.kubernetes.io/ are Lockstep's.",
        json_schema_extra=cel(
            (
                "self.all(k, !k.startsWith('lockstep.dev/') && !k.startsWith('app.kubernetes.io/'))",
                "labels under lockstep.dev/ and app.kubernetes.io/ are set by Lockstep; use a prefix of your own",
            )
        ),
    )
    env: list[EnvVar] = Field(
        default_factory=list,
        max_length=64,
        description="Plain environment variables.",
        json_schema_extra=list_map("name"),
    )
    resources: Resources = Field(default_factory=Resources, description="Compute resources of the serving container.")
    service_account_name: ObjectName | None = Field(default=None, description="ServiceAccount of the pods.")
    image_pull_secrets: list[ObjectName] = Field(
        default_factory=list,
        max_length=8,
        description="Names of the Secrets that open the image registry, beside those of the ServiceAccount.",
        json_schema_extra=ATOMIC,
    )
    node_selector: dict[str, LabelValue] = Field(
        default_factory=dict, max_length=32, description="Labels that a node must have."
    )
    tolerations: list[Toleration] = Field(
        default_factory=list, max_length=32, description="Node taints that are tolerated.", json_schema_extra=ATOMIC
    )
    priority_class_name: ObjectName | None = Field(default=None, description="PriorityClass of the pods.")
    termination_grace_period_seconds: int = Field(
        default=60, ge=1, le=3600, description="Seconds that a pod has to end by itself, draining included."
    )

    # A revision is kept as one object, which etcd takes up to 1.5 MiB: each character there twice, in up to seven bytes.
    model_config = ApiModel.model_config | {
        "json_schema_extra": cel(
            (
                "!has(self.env) || self.env.map(v, size(v.name) + (has(v.value) ? size(v.value) : 0)).sum() <= 65536",
                "the environment variables have more than 65536 characters together: put what is long into the image",
            )
        )
    }
