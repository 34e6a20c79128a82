"""What the chart configures, read from environment variables once at start."""

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network

from lockstep.controller.records.retention import Retention
from lockstep.images.image import ImagePlatform
from lockstep.images.limits import Limits, parse_limits
from lockstep.images.registry.egress import Network
from lockstep.lineage.reading import ReadingLimits

_FORMATS = ("json", "text")
_PORTS = 65535
_GB = 10**9
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


class InvalidSettingError(ValueError):
    """An environment variable can't be understood; the message names it."""


@dataclass(frozen=True)
class Settings:
    """All settings of the controller."""

    namespace: str = "lockstep-system"
    """`LOCKSTEP_NAMESPACE`: where the Lease and the records are kept."""
    identity: str = "lockstep"
    """`LOCKSTEP_POD_NAME`: who holds the Lease."""
    guard_bindings: tuple[str, ...] = ()
    """`LOCKSTEP_GUARD_BINDINGS`: names of the ValidatingAdmissionPolicyBindings that have to stand."""
    guard_digests: Mapping[str, str] = field(default_factory=dict)
    """`LOCKSTEP_GUARD_DIGESTS`: what each guard has to say, NAME=DIGEST (see `cluster.guards`); one without is not compared."""
    insecure_registries: frozenset[str] = frozenset()
    """`LOCKSTEP_INSECURE_REGISTRIES`: registries that are spoken to over plain HTTP."""
    private_registries: frozenset[str] = frozenset()
    """`LOCKSTEP_PRIVATE_REGISTRIES`: what may have an address that the registry client is not let to otherwise."""
    token_services: frozenset[str] = frozenset()
    """`LOCKSTEP_TOKEN_SERVICES`: hosts that get a registry's credentials although they are not the registry's."""
    cluster_ranges: tuple[Network, ...] = ()
    """`LOCKSTEP_CLUSTER_RANGES`: of pods and Services; the API server's own address is added (`KUBERNETES_SERVICE_HOST`)."""
    observer_image: str = ""
    """`LOCKSTEP_OBSERVER_IMAGE`: the image of the container that looks at candidates' processes; empty for none."""
    watch_namespaces: tuple[str, ...] = ()
    """`LOCKSTEP_WATCH_NAMESPACES`: the namespaces that are watched; empty for all."""
    platform: ImagePlatform | None = None
    """`LOCKSTEP_PLATFORM`: the platform of images, such as linux/amd64 or linux/arm64/v8; by default that of the cluster's
    nodes.
    """
    metrics_port: int = 8080
    """`LOCKSTEP_METRICS_PORT`: where Prometheus reads."""
    probes_port: int = 8081
    """`LOCKSTEP_PROBES_PORT`: where the kubelet asks whether the process is alive and ready."""
    workers: int = 4
    """`LOCKSTEP_WORKERS`: how many ModelDeployments are reconciled at the same time."""
    gatherings: int = 64
    """`LOCKSTEP_GATHERINGS`: how many questions MLflow and image registries are asked at the same time."""
    gatherings_per_namespace: int = 4
    """`LOCKSTEP_GATHERINGS_PER_NAMESPACE`: how many of them for one namespace."""
    gatherings_per_server: int = 32
    """`LOCKSTEP_GATHERINGS_PER_SERVER`: how many of them are put to one server."""
    resync_seconds: float = 300.0
    """`LOCKSTEP_RESYNC_SECONDS`: how often everything is reconciled although nothing happened."""
    limits: Limits = field(default_factory=Limits)
    """`LOCKSTEP_SCAN_LIMITS`: bounds of a scan that differ from the default, as JSON: {"entries": 600000, "seconds": 600}."""
    scan_processes: int = 2
    """`LOCKSTEP_SCAN_PROCESSES`: how many layers are read at the same time, each by a process of its own."""
    layer_records: int = 256
    """`LOCKSTEP_LAYER_RECORDS`: how many LayerRecords are kept, each of at most 1.2 MB; the oldest go first."""
    environment_records: int = 2000
    """`LOCKSTEP_ENVIRONMENT_RECORDS`: how many EnvironmentRecords are kept; the oldest go first."""
    reading_limits: ReadingLimits = field(default_factory=ReadingLimits)
    """`LOCKSTEP_MODEL_GIGABYTES`, `LOCKSTEP_MODEL_SECONDS`: how much is read of one model through MLflow, and for how long."""
    model_reads: int = 2
    """`LOCKSTEP_MODEL_READS`: how many models of more than 1 GB are read at the same time for one namespace, and how
    many others beside them; as many again for namespaces of which none is being read.
    """
    retention: Retention = field(default_factory=Retention)
    """Which PromotionRecords are kept; its fields name their variables."""
    log_format: str = "json"
    """`LOCKSTEP_LOG_FORMAT`: json or text."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Settings":
        """Read the settings.

        Raises:
            InvalidSettingError: a value can't be understood.
        """
        env = os.environ if environment is None else environment
        return cls(
            namespace=env.get("LOCKSTEP_NAMESPACE") or cls.namespace,
            identity=env.get("LOCKSTEP_POD_NAME") or socket.gethostname(),
            guard_bindings=_list(env, "LOCKSTEP_GUARD_BINDINGS"),
            guard_digests=_digests(env, "LOCKSTEP_GUARD_DIGESTS"),
            insecure_registries=frozenset(_list(env, "LOCKSTEP_INSECURE_REGISTRIES")),
            private_registries=frozenset(_list(env, "LOCKSTEP_PRIVATE_REGISTRIES")),
            token_services=frozenset(_list(env, "LOCKSTEP_TOKEN_SERVICES")),
            cluster_ranges=(*_ranges(env, "LOCKSTEP_CLUSTER_RANGES"), *_api_server(env.get("KUBERNETES_SERVICE_HOST", ""))),
            observer_image=env.get("LOCKSTEP_OBSERVER_IMAGE", ""),
            watch_namespaces=_list(env, "LOCKSTEP_WATCH_NAMESPACES"),
            platform=_platform(env.get("LOCKSTEP_PLATFORM", "")),
            metrics_port=_number(env, "LOCKSTEP_METRICS_PORT", cls.metrics_port, _PORTS),
            probes_port=_number(env, "LOCKSTEP_PROBES_PORT", cls.probes_port, _PORTS),
            workers=_number(env, "LOCKSTEP_WORKERS", cls.workers),
            gatherings=_number(env, "LOCKSTEP_GATHERINGS", cls.gatherings, 1024),
            gatherings_per_namespace=_number(env, "LOCKSTEP_GATHERINGS_PER_NAMESPACE", cls.gatherings_per_namespace, 1024),
            gatherings_per_server=_number(env, "LOCKSTEP_GATHERINGS_PER_SERVER", cls.gatherings_per_server, 1024),
            resync_seconds=float(_number(env, "LOCKSTEP_RESYNC_SECONDS", int(cls.resync_seconds))),
            limits=_limits(env.get("LOCKSTEP_SCAN_LIMITS", "")),
            scan_processes=_number(env, "LOCKSTEP_SCAN_PROCESSES", cls.scan_processes, 64),
            layer_records=_number(env, "LOCKSTEP_LAYER_RECORDS", cls.layer_records),
            environment_records=_number(env, "LOCKSTEP_ENVIRONMENT_RECORDS", cls.environment_records),
            reading_limits=ReadingLimits(
                bytes=_number(env, "LOCKSTEP_MODEL_GIGABYTES", ReadingLimits.bytes // _GB) * _GB,
                seconds=float(_number(env, "LOCKSTEP_MODEL_SECONDS", int(ReadingLimits.seconds))),
            ),
            model_reads=_number(env, "LOCKSTEP_MODEL_READS", cls.model_reads, 64),
            retention=_retention(env),
            log_format=_format(env.get("LOCKSTEP_LOG_FORMAT") or cls.log_format),
        )


def _list(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in env.get(name, "").split(",") if part.strip())


def _digests(env: Mapping[str, str], name: str) -> dict[str, str]:
    found = {}
    for entry in _list(env, name):
        guard, _, digest = entry.partition("=")
        if not guard or _DIGEST.fullmatch(digest) is None:
            raise InvalidSettingError(f"{name} has {entry[:100]!r}, it has to hold guards such as NAME=64 hexadecimal digits")
        found[guard] = digest
    return found


def _ranges(env: Mapping[str, str], name: str) -> list[Network]:
    try:
        return [ip_network(part) for part in _list(env, name)]
    except ValueError as error:
        raise InvalidSettingError(f"{name} has to hold ranges such as 10.96.0.0/12: {error}") from error


def _api_server(host: str) -> list[Network]:
    try:
        return [ip_network(host)]
    except ValueError:
        # Some providers give a name of the internet here, which anybody may ask.
        return []


def _number(env: Mapping[str, str], name: str, default: int, most: int = 1_000_000) -> int:
    text = env.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and 0 < int(text) <= most):
        raise InvalidSettingError(f"{name} is {text[:40]!r}, it has to be a whole number from 1 to {most}")
    return int(text)


def _retention(env: Mapping[str, str]) -> Retention:
    default = Retention()
    return Retention(
        promotions=_number(env, "LOCKSTEP_PROMOTION_RECORDS", default.promotions),
        promotion_days=_number(env, "LOCKSTEP_PROMOTION_DAYS", default.promotion_days, 36_500),
        refusals=_number(env, "LOCKSTEP_REFUSAL_RECORDS", default.refusals),
        refusal_days=_number(env, "LOCKSTEP_REFUSAL_DAYS", default.refusal_days, 36_500),
        refusals_per_deployment=_number(env, "LOCKSTEP_REFUSALS_PER_DEPLOYMENT", default.refusals_per_deployment, 1000),
    )


def _limits(text: str) -> Limits:
    try:
        return parse_limits(text)
    except ValueError as error:
        raise InvalidSettingError(f"LOCKSTEP_SCAN_LIMITS: {error}") from error


def _format(text: str) -> str:
    if text not in _FORMATS:
        raise InvalidSettingError(f"LOCKSTEP_LOG_FORMAT is {text[:40]!r}, it has to be one of {', '.join(_FORMATS)}")
    return text


def _platform(text: str) -> ImagePlatform | None:
    if not text:
        return None
    try:
        return ImagePlatform.parse(text)
    except ValueError as error:
        raise InvalidSettingError(f"LOCKSTEP_PLATFORM: {error}") from error
