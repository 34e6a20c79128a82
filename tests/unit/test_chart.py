import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from lockstep.api.promotionpolicy import PredictBody, PromotionPolicy
from lockstep.api.server import ServerKind
from lockstep.controller.cluster import ports
from lockstep.controller.records.retention import Retention
from lockstep.controller.settings import Settings
from lockstep.lineage.reading import ReadingLimits
from lockstep.observability.metrics import Metrics
from lockstep.rollout.objects import labels
from tests.cluster.binaries import binary
from tests.cluster.say import ClusterError

CHART = Path(__file__).resolve().parents[2] / "charts" / "lockstep"
POLICY_KIND = "lockstep.dev/v1alpha1/PromotionPolicy"
REPOSITORY = "registry.example.com/lockstep"
ALL_ON = (
    "policies.trackingURI=http://mlflow:5000",
    "networkPolicy.enabled=true",
    "metrics.serviceMonitor.enabled=true",
    "alerts.prometheusRule.enabled=true",
    "alerts.configMap.enabled=true",
    "mlflow.existingSecret=mlflow",
)


def helm() -> str:
    try:
        return str(binary("helm"))
    except ClusterError:
        found = shutil.which("helm")
        if found is None:
            pytest.skip("helm is neither built nor installed")
        return found


def run(values: Sequence[str] = (), *, crds_known: bool = True, release: str = "lockstep") -> subprocess.CompletedProcess[str]:
    command = [helm(), "template", release, str(CHART), "--namespace", "lockstep-system", "--kube-version", "1.30.0"]
    command += ["--api-versions", POLICY_KIND] if crds_known else []
    command += ["--set", f"image.repository={REPOSITORY}"]
    command += [word for value in values for word in ("--set", value)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def render(*values: str, crds_known: bool = True, release: str = "lockstep") -> list[dict[str, Any]]:
    done = run(values, crds_known=crds_known, release=release)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def of_kind(documents: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [document for document in documents if document["kind"] == kind]


def pod_of(documents: list[dict[str, Any]]) -> dict[str, Any]:
    (deployment,) = of_kind(documents, "Deployment")
    return dict(deployment["spec"]["template"]["spec"])


def environment_of(documents: list[dict[str, Any]]) -> dict[str, Any]:
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in pod_of(documents)["containers"][0]["env"]}


@pytest.fixture(scope="module")
def everything() -> list[dict[str, Any]]:
    return render(*ALL_ON)


def test_every_object_has_a_kind_and_a_name_of_its_own(everything: list[dict[str, Any]]) -> None:
    names = [(d["kind"], d["metadata"].get("namespace"), d["metadata"]["name"]) for d in everything]
    assert len(names) == len(set(names))
    assert len(of_kind(everything, "CustomResourceDefinition")) == 7


def test_the_pod_meets_the_restricted_standard(everything: list[dict[str, Any]]) -> None:
    pod = pod_of(everything)
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]
    assert "hostNetwork" not in pod


def test_the_probes_ask_the_probes_port(everything: list[dict[str, Any]]) -> None:
    (container,) = pod_of(everything)["containers"]
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "probes"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "probes"}
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == {"metrics": 8080, "probes": 8081}


@pytest.mark.parametrize("release", ["lockstep", "other"])
def test_the_operator_asks_for_exactly_the_bindings_that_the_chart_installs(release: str) -> None:
    documents = render(release=release, crds_known=False)
    bindings = of_kind(documents, "ValidatingAdmissionPolicyBinding")
    policies = {policy["metadata"]["name"] for policy in of_kind(documents, "ValidatingAdmissionPolicy")}
    names = [binding["metadata"]["name"] for binding in bindings]
    assert sorted(names) == sorted(environment_of(documents)["LOCKSTEP_GUARD_BINDINGS"].split(","))
    assert {binding["spec"]["policyName"] for binding in bindings} == policies
    assert all(binding["spec"]["validationActions"] == ["Deny"] for binding in bindings)
    assert len(names) == 12


def test_without_guards_the_operator_is_told_of_none() -> None:
    documents = render("guards.enabled=false", crds_known=False)
    assert environment_of(documents)["LOCKSTEP_GUARD_BINDINGS"] == ""
    assert not of_kind(documents, "ValidatingAdmissionPolicy")


def test_guards_fail_closed_and_name_the_operator(everything: list[dict[str, Any]]) -> None:
    for policy in of_kind(everything, "ValidatingAdmissionPolicy"):
        # What asks about objects of ours is not to stop a cluster from which the CRDs are gone.
        asks = "paramKind" in policy["spec"]
        assert policy["spec"]["failurePolicy"] == ("Ignore" if asks else "Fail")
        assert all(len(rule["message"]) > 60 for rule in policy["spec"]["validations"])
        text = json.dumps(policy)
        named = "system:serviceaccount:lockstep-system:lockstep" in text
        others = ("pods", "namespaces", "bindings", "exec", "releases")
        assert named or policy["metadata"]["name"].removeprefix("lockstep-") in others


def test_guards_and_operator_reserve_the_same_labels(everything: list[dict[str, Any]]) -> None:
    text = json.dumps(of_kind(everything, "ValidatingAdmissionPolicy"))
    assert all(label in text for label in (labels.MODEL_DEPLOYMENT, labels.REVISION, labels.POLICY))


def test_groups_that_break_the_glass_are_named_only_when_given() -> None:
    documents = render("guards.breakGlassGroups={sre}", crds_known=False)
    assert json.dumps(of_kind(documents, "ValidatingAdmissionPolicy")).count("g in ['sre']") == 13
    assert "groups.exists" not in json.dumps(of_kind(render(crds_known=False), "ValidatingAdmissionPolicy"))


def test_the_operator_may_only_get_secrets_and_writes_no_records_elsewhere(everything: list[dict[str, Any]]) -> None:
    rules = [rule for role in of_kind(everything, "ClusterRole") for rule in role["rules"]]
    secret_verbs = [rule["verbs"] for rule in rules if "secrets" in rule["resources"]]
    assert secret_verbs == [["get"]]
    assert not [rule for rule in rules if "*" in rule["resources"] + rule["verbs"] + rule["apiGroups"]]
    assert not [rule for rule in rules if ports.PROMOTION_RECORD.plural in rule["resources"]]


def test_secrets_can_be_confined_to_listed_namespaces() -> None:
    documents = render("pullSecrets.namespaces={a,b}", crds_known=False)
    name = "lockstep-pull-secrets"
    bindings = [b["metadata"] for b in of_kind(documents, "RoleBinding") if b["metadata"]["name"] == name]
    assert [metadata["namespace"] for metadata in bindings] == ["a", "b"]
    assert name not in [b["metadata"]["name"] for b in of_kind(documents, "ClusterRoleBinding")]


def test_custom_resource_definitions_are_kept_and_can_be_left_out(everything: list[dict[str, Any]]) -> None:
    for definition in of_kind(everything, "CustomResourceDefinition"):
        assert definition["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert not of_kind(render("crds.install=false", "policies.create=false"), "CustomResourceDefinition")


def test_policies_wait_for_their_kind_and_exactly_one_is_the_default(everything: list[dict[str, Any]]) -> None:
    assert not of_kind(render(crds_known=False), "PromotionPolicy")
    policies = of_kind(everything, "PromotionPolicy")
    assert {p["metadata"]["name"]: p["spec"]["default"] for p in policies} == {
        "starter": False,
        "standard": True,
        "strict": False,
    }


def test_shipped_policies_are_understood(everything: list[dict[str, Any]]) -> None:
    read = {p["metadata"]["name"]: PromotionPolicy.from_object(p).spec for p in of_kind(everything, "PromotionPolicy")}
    assert {gate: read["starter"].mode(gate) for gate in ("lineage", "image", "environment", "readiness")} == {
        "lineage": "Audit",
        "image": "Audit",
        "environment": "Audit",
        "readiness": "Enforce",
    }
    assert len(read["strict"].lineage.require) == 8
    assert {name: spec.lineage.model_files for name, spec in read.items()} == {
        "starter": "IfReadable",
        "standard": "IfReadable",
        "strict": "Required",
    }
    examples = {name: str(spec.readiness.input_example) for name, spec in read.items()}
    assert examples == {"starter": "IfPresent", "standard": "Required", "strict": "Required"}
    assert read["strict"].readiness.servers == [ServerKind.MLFLOW, ServerKind.OPEN_INFERENCE_V2]
    assert read["strict"].readiness.predict_body is PredictBody.DENY
    assert read["standard"].readiness.servers == list(ServerKind)


def test_the_policy_that_only_reports_lets_images_write_and_the_others_do_not(everything: list[dict[str, Any]]) -> None:
    read = {p["metadata"]["name"]: PromotionPolicy.from_object(p).spec for p in of_kind(everything, "PromotionPolicy")}
    found = {name: str(spec.pods.root_filesystem) for name, spec in read.items()}
    assert found == {"starter": "Writable", "standard": "ReadOnly", "strict": "ReadOnly"}
    assert not [name for name, spec in read.items() if spec.pods.variables.allowed or spec.pods.variables.dangerous]


@pytest.fixture(scope="module")
def noted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the chart with its notes as a template, since helm shows notes to a cluster only."""
    chart = tmp_path_factory.mktemp("noted") / "lockstep"
    shutil.copytree(CHART, chart)
    text = (chart / "templates" / "NOTES.txt").read_text()
    (chart / "templates" / "_notes.tpl").write_text('{{- define "notes" -}}\n' + text + "\n{{- end -}}\n")
    (chart / "templates" / "notes.yaml").write_text('notes: |\n{{ include "notes" . | indent 2 }}\n')
    return chart


def notes(chart: Path, *values: str) -> str:
    command = [helm(), "template", "lockstep", str(chart), "--kube-version", "1.30.0"]
    command += ["--api-versions", POLICY_KIND, "--show-only", "templates/notes.yaml"]
    command += ["--set", "image.repository=registry.example.com/lockstep"]
    command += [word for value in ("policies.trackingURI=http://mlflow:5000", *values) for word in ("--set", value)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return str(yaml.safe_load(done.stdout)["notes"])


@pytest.mark.parametrize("patterns", ["*", "**", "*/*", "registry.example.com/ml/*,*"])
def test_the_notes_say_loudly_that_images_may_come_from_everywhere(noted: Path, patterns: str) -> None:
    told = notes(noted, f"policies.repositories={{{patterns}}}")
    assert "IMAGES MAY COME FROM EVERYWHERE" in told
    assert "--set 'policies.repositories={registry.example.com/ml/*}'" in told


def test_the_notes_are_silent_where_repositories_are_named(noted: Path) -> None:
    assert "EVERYWHERE" not in notes(noted, "policies.repositories={registry.example.com/ml/*,*.example.org/*}")
    assert "EVERYWHERE" in notes(noted), "the default is usable, and open"


def test_the_operator_alone_writes_the_status_of_policies(everything: list[dict[str, Any]]) -> None:
    (guard,) = [p for p in of_kind(everything, "ValidatingAdmissionPolicy") if p["metadata"]["name"] == "lockstep-status"]
    (rule,) = guard["spec"]["matchConstraints"]["resourceRules"]
    assert rule["resources"] == ["modeldeployments/status", "promotionpolicies/status"]
    rules = [rule for role in of_kind(everything, "ClusterRole") for rule in role["rules"]]
    verbs = [rule["verbs"] for rule in rules if "promotionpolicies/status" in rule["resources"]]
    assert verbs == [["get", "patch", "update"]]


def test_the_operator_understands_what_is_said_of_registries() -> None:
    documents = render(
        "registries.insecure={r.example.com:5000}",
        "registries.private={r.infra.svc,s.infra.svc:8443}",
        "registries.tokenServices={gitlab.example.com}",
        "registries.clusterRanges={10.244.0.0/16,fd00:10:96::/112}",
        "scan.processes=4",
        "scan.limits.entries=600000",
        "scan.layerRecords=99",
        "modelFiles.atOnce=3",
        "modelFiles.gigabytes=500",
        "modelFiles.seconds=7200",
        "records.promotions=77",
        "records.refusalsPerDeployment=3",
        crds_known=False,
    )
    given = {name: value for name, value in environment_of(documents).items() if isinstance(value, str)}
    settings = Settings.from_environment(given)
    assert settings.insecure_registries == {"r.example.com:5000"}
    assert settings.private_registries == {"r.infra.svc", "s.infra.svc:8443"}
    assert settings.token_services == {"gitlab.example.com"}
    assert (settings.scan_processes, settings.limits.entries, settings.layer_records) == (4, 600_000, 99)
    assert (settings.model_reads, settings.reading_limits) == (3, ReadingLimits(bytes=500 * 10**9, seconds=7200.0))
    assert [str(network) for network in settings.cluster_ranges] == ["10.244.0.0/16", "fd00:10:96::/112"]
    assert settings.retention == Retention(promotions=77, refusals_per_deployment=3)


def test_policies_without_a_model_registry_are_refused_with_a_sentence() -> None:
    done = run()
    assert done.returncode != 0
    assert "policies.trackingURI is the base URL of the MLflow tracking server" in done.stderr


def test_whose_image_runs_has_to_be_said() -> None:
    assert pod_of(render(crds_known=False))["containers"][0]["image"].startswith(f"{REPOSITORY}:")
    done = run(["image.repository="], crds_known=False)
    assert done.returncode != 0
    assert "image.repository is the repository to which you pushed the operator's image" in done.stderr


@pytest.mark.parametrize(
    "value",
    [
        "replicas=-1",
        "replicas=many",
        "log.format=xml",
        "policies.default=lax",
        "policies.trackingURI=mlflow:5000",
        "image.digest=latest",
        "guards.enabeld=false",
        "unknown=1",
        "guards.breakGlassGroups={it's}",
        "registries.clusterRanges={10.96.0.1}",
        "registries.private={http://r.example.com}",
        "registries.tokenServices={a b}",
        "modelFiles.gigabytes=0",
        "modelFiles.bytes=1",
        "records.promotionDays=0",
    ],
)
def test_values_that_make_no_sense_are_refused(value: str) -> None:
    done = run([value], crds_known=False)
    assert done.returncode != 0
    assert "values don't meet the specifications of the schema" in done.stderr


def test_the_rules_are_the_same_with_and_without_the_prometheus_operator(everything: list[dict[str, Any]]) -> None:
    plain = yaml.safe_load((CHART / "alerts" / "lockstep.rules.yaml").read_text())
    (rule,) = of_kind(everything, "PrometheusRule")
    (config,) = of_kind(everything, "ConfigMap")
    assert rule["spec"] == plain
    assert yaml.safe_load(config["data"]["lockstep.rules.yaml"]) == plain


def test_every_alert_says_who_what_and_where_to_read_on() -> None:
    runbooks = (CHART.parents[1] / "docs" / "runbooks.md").read_text()
    rules = yaml.safe_load((CHART / "alerts" / "lockstep.rules.yaml").read_text())["groups"][0]["rules"]
    for rule in rules:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert {"summary", "description", "runbook_url"} <= rule["annotations"].keys()
        assert rule["annotations"]["runbook_url"].endswith("docs/runbooks.md#" + rule["alert"].lower())
        assert f"## {rule['alert']}\n" in runbooks


def test_alerts_ask_only_for_metrics_that_the_operator_has() -> None:
    registry = CollectorRegistry()
    Metrics(registry)
    known = {metric.name + ("_total" if metric.type == "counter" else "") for metric in registry.collect()}
    asked = set(re.findall(r"lockstep_\w+", (CHART / "alerts" / "lockstep.rules.yaml").read_text()))
    assert asked <= known


def test_the_operator_reads_every_variable_that_the_chart_sets(everything: list[dict[str, Any]]) -> None:
    source = (CHART.parents[1] / "operator" / "lockstep" / "controller" / "settings.py").read_text()
    set_here = {name for name in environment_of(everything) if name.startswith("LOCKSTEP_")}
    assert {name for name in set_here if name not in source} == set()


def test_alerts_fire_as_promtool_expects() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    done = subprocess.run(
        [promtool, "test", "rules", "lockstep.rules.test.yaml"],
        cwd=CHART / "alerts",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_the_observer_nothing_of_it_is_allowed() -> None:
    for value, image in (("true", f"{REPOSITORY}:"), ("false", "")):
        documents = render("policies.trackingURI=http://mlflow:5000", f"observer.enabled={value}")
        text = json.dumps(documents)
        assert ("pods/log" in text) == (value == "true")
        assert ("lockstep-observer" in text) == (value == "true")
        (deployment,) = of_kind(documents, "Deployment")
        settings = {one["name"]: one.get("value") for one in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
        assert str(settings["LOCKSTEP_OBSERVER_IMAGE"]).startswith(image)
        assert Settings.from_environment({"LOCKSTEP_OBSERVER_IMAGE": image}).observer_image == image
