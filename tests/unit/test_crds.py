import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from lockstep.api.modeldeployment import ModelDeploymentSpec
from lockstep.api.reasons import Reason
from lockstep.crds import __main__
from lockstep.crds import files as crds
from lockstep.crds.resources import RESOURCES
from lockstep.crds.schema import root_schema

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = {resource.kind.kind: root_schema(resource) for resource in RESOURCES}
GOOD: dict[str, Any] = {
    "apiVersion": "lockstep.dev/v1alpha1",
    "kind": "ModelDeployment",
    "metadata": {"name": "iris"},
    "spec": {
        "model": {"name": "iris", "version": "3"},
        "image": "registry.example.com/iris:2026-11",
        "replicas": 2,
        "server": {"port": 8080, "mlflow": {}},
        "template": {"resources": {"limits": {"cpu": 1, "memory": "1Gi"}}, "env": [{"name": "WORKERS", "value": "2"}]},
    },
}
DIGEST = "sha256:" + "a" * 64


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from nodes(schema[key], f"{path}[]")


@pytest.mark.parametrize("path", sorted(crds.files()))
def test_what_is_committed_is_what_the_types_say(path: str) -> None:
    assert (ROOT / path).read_text() == crds.files()[path], "run python -m lockstep.crds"


def test_check_fails_on_drift_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    assert __main__.main(["--check"]) == 1
    assert not (tmp_path / "crds").exists()
    assert __main__.main([]) == 0
    assert __main__.main(["--check"]) == 0


@pytest.mark.parametrize("kind", SCHEMAS)
def test_every_field_is_described(kind: str) -> None:
    bare = [
        path
        for path, node in nodes(SCHEMAS[kind])
        if not path.endswith("[]") and path != ".metadata" and not node.get("description")
    ]
    assert bare == []


@pytest.mark.parametrize("kind", SCHEMAS)
def test_schemas_are_structural_and_bounded(kind: str) -> None:
    for path, node in nodes(SCHEMAS[kind]):
        assert not node.keys() & {"$ref", "anyOf", "allOf", "oneOf", "$defs", "title", "propertyNames", "const"}, path
        assert "type" in node or node.get("x-kubernetes-int-or-string"), path
        if path in (".apiVersion", ".kind"):
            continue
        if node.get("type") == "array":
            assert "maxItems" in node, path
        if "additionalProperties" in node:
            assert "maxProperties" in node, path
        if node.get("type") == "string" and "enum" not in node and node.get("format") != "date-time":
            assert "maxLength" in node, path


def test_rules_say_what_to_write_instead() -> None:
    rules = [
        rule for schema in SCHEMAS.values() for _, node in nodes(schema) for rule in node.get("x-kubernetes-validations", [])
    ]
    assert len(rules) > 8
    assert all(len(rule["message"]) > 20 for rule in rules)


def test_a_good_manifest_is_accepted_by_the_schema_and_by_the_types() -> None:
    jsonschema.validate(GOOD, SCHEMAS["ModelDeployment"])
    spec = ModelDeploymentSpec.model_validate(GOOD["spec"])
    assert spec.template.resources.limits == {"cpu": "1", "memory": "1Gi"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("replicas",), -1),
        (("replicas",), "two"),
        (("image",), "a" * 10_000),
        (("image",), None),
        (("model", "version"), 3),
        (("model", "name"), ""),
        (("server",), None),
        (("server", "port"), 0),
        (("retry",), -1),
        (("template", "env"), [{"value": "no name"}]),
        (("template", "labels"), {"a": "not a label value"}),
        (("template", "terminationGracePeriodSeconds"), 100_000),
        (("readiness",), {"requests": 0}),
    ],
)
def test_a_bad_manifest_is_refused(path: tuple[str, ...], value: object) -> None:
    manifest = copy.deepcopy(GOOD)
    place = manifest["spec"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(manifest, SCHEMAS["ModelDeployment"])


def test_the_definition_fits_into_the_annotation_of_a_client_side_apply() -> None:
    assert all(len(text.encode()) < 262_144 for text in crds.files().values())


def test_model_deployments_scale_and_print_why_they_are_blocked() -> None:
    definition = yaml.safe_load(crds.files()["crds/lockstep.dev_modeldeployments.yaml"])
    version = definition["spec"]["versions"][0]
    columns = [column["name"] for column in version["additionalPrinterColumns"] if not column.get("priority")]
    assert columns == ["READY", "REASON", "MODEL", "ACTIVE", "CANDIDATE", "BLOCKED", "AGE"]
    assert version["subresources"]["scale"]["specReplicasPath"] == ".spec.replicas"
    assert definition["spec"]["names"]["shortNames"] == ["mdep"]


def test_defaults_of_lists_stand_in_the_schema_and_the_status_has_none() -> None:
    spec = SCHEMAS["PromotionPolicy"]["properties"]["spec"]["properties"]
    assert spec["registry"]["properties"]["models"]["default"] == ["*"]
    assert spec["environment"]["properties"]["packages"]["properties"]["ignore"]["default"][0] == "pip"
    assert spec["guards"]["default"] == "Required"
    status = SCHEMAS["ModelDeployment"]["properties"]["status"]
    assert not [path for path, node in nodes(status) if "default" in node]


@pytest.mark.parametrize("kind", ["EnvironmentRecord", "LayerRecord", "LineagePin", "LineageRelease", "PromotionRecord"])
def test_records_are_immutable(kind: str) -> None:
    rules = SCHEMAS[kind]["properties"]["spec"]["x-kubernetes-validations"]
    assert [rule["rule"] for rule in rules] == ["self == oldSelf"]


def test_the_page_of_reasons_names_every_reason() -> None:
    page = crds.reasons_page()
    assert all(f"| `{reason.value}` | {reason.sentence} |" in page for reason in Reason)
