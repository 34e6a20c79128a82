"""What stands in the cluster before any model: MLflow, Lockstep, Prometheus. Shared by the demo and the end-to-end tests."""

from dataclasses import dataclass

from examples.demo import build, kube
from tests.cluster import images
from tests.cluster.paths import REPOSITORY
from tests.cluster.say import step

SYSTEM = "lockstep-system"
MLFLOW_URL = "http://mlflow.mlflow.svc:5000"
_RULES = REPOSITORY / "charts" / "lockstep" / "alerts" / "lockstep.rules.yaml"


@dataclass(frozen=True)
class PlatformImages:
    """References of the images that the platform runs."""

    operator: str
    mlflow: str
    prometheus: str


def build_images() -> PlatformImages:
    """Build and push what the platform runs; what was built before is cached."""
    return PlatformImages(build.operator_image(), build.mlflow_image(), build.prometheus_image())


def install(found: PlatformImages, *settings: str) -> None:
    """Install MLflow, the chart (with more `--set` values), the policy and Prometheus; a second call changes nothing."""
    with step("MLflow"):
        kube.apply(kube.manifest("mlflow.yaml", {"MLFLOW_IMAGE": found.mlflow}))
    install_chart(found, *settings)
    with step("Prometheus with the chart's alert rules"):
        kube.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: monitoring}\n")
        rules = kube.kubectl(
            "create",
            "configmap",
            "lockstep-rules",
            "-n",
            "monitoring",
            f"--from-file={_RULES}",
            "--dry-run=client",
            "-o",
            "yaml",
        )
        kube.apply(rules)
        kube.apply(kube.manifest("prometheus.yaml", {"PROMETHEUS_IMAGE": found.prometheus}))
    with step("everything is ready"):
        kube.rolled_out("mlflow", "mlflow")
        kube.rolled_out("monitoring", "prometheus")


def install_chart(found: PlatformImages, *settings: str) -> None:
    """Install or upgrade the chart, and the demo's policy."""
    name, _, digest = found.operator.partition("@")
    repository = name.rpartition(":")[0]
    with step("the Lockstep chart (helm upgrade --install)"):
        values = [
            f"image.repository={repository}",
            f"image.digest={digest}",
            f"registries.insecure={{{images.registry()}}}",
            "policies.create=false",
            *settings,
        ]
        flags = [word for value in values for word in ("--set", value)]
        chart = str(REPOSITORY / "charts" / "lockstep")
        arguments = ("upgrade", "--install", "lockstep", chart, "--namespace", SYSTEM, "--create-namespace", *flags)
        kube.helm(*arguments, "--wait", "--timeout", "180s")
        kube.apply(kube.manifest("policy.yaml", {"REGISTRY": images.registry()}))


def trained(job: str, image: str) -> str:
    """Run the training job and return the version number that it registered."""
    kube.kubectl("delete", "job", job, "-n", "mlflow", "--ignore-not-found")
    kube.apply(kube.manifest("training.yaml", {"JOB": job, "MLFLOW_IMAGE": image}))
    kube.kubectl("wait", "-n", "mlflow", f"job/{job}", "--for=condition=complete", "--timeout=180s", timeout=200)
    log = kube.kubectl("logs", "-n", "mlflow", f"job/{job}")
    return log.strip().splitlines()[-1].rpartition(" ")[2]
