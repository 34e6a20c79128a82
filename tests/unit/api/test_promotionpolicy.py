"""The PromotionPolicy: its hash, its modes and what it refuses."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from lockstep.api.modeldeployment import GateMode
from lockstep.api.promotionpolicy import PromotionPolicy, PromotionPolicySpec
from tests.fakes.signing import key, public_pem

PEM = public_pem(key("release"))
OTHER_PEM = public_pem(key("other"))
BASE: dict[str, Any] = {"registry": {"trackingURI": "http://mlflow:5000"}}
# Another value for every knob there is.
KNOBS: dict[str, Any] = {
    "registry.trackingURI": "http://other:5000",
    "registry.models": ["iris"],
    "images.repositories": ["registry.example.com/*"],
    "images.modelInImage": "Required",
    "images.credentials": "Operator",
    "images.baseImages": [{"name": "python", "diffIDs": ["sha256:" + "a" * 64]}],
    "images.signatures": [{"name": "release", "keys": [PEM]}],
    "environment.evidence": "ModelRequirements",
    "environment.python": "Patch",
    "environment.packages.scope": "All",
    "environment.packages.level": "Content",
    "environment.packages.localVersions": "Ignore",
    "environment.packages.extras": "Deny",
    "environment.packages.listedExtras": ["gunicorn"],
    "environment.packages.ignore": [],
    "environment.packages.installed": "Ignore",
    "environment.packages.unowned": "Deny",
    "environment.packages.allowedUnowned": ["fraud/*"],
    "environment.packages.unprovenRequiredSet": "Block",
    "environment.accelerator": "Any",
    "environment.libc": "Ignore",
    "environment.startup": "Ignore",
    "environment.interpreterLibrary": "Ignore",
    "environment.bytecode": "Allow",
    "environment.bytecodeCache": "Fresh",
    "environment.observed": "Never",
    "environment.system": ["libgomp1"],
    "environment.signature": {"keys": [PEM]},
    "lineage.require": ["GitCommit"],
    "lineage.modelFiles": "Required",
    "pods.variables.allowed": ["APP_*"],
    "pods.variables.dangerous": ["MLSERVER_MODEL_URI"],
    "pods.variables.inImages": ["UVICORN_LOG_CONFIG"],
    "pods.rootFilesystem": "Writable",
    "pods.tmpSizeLimit": "500Mi",
    "pods.priorityClasses": ["batch-*"],
    "pods.exec": "Deny",
    "readiness.requests": 4,
    "readiness.timeoutSeconds": 11,
    "readiness.deadlineSeconds": 601,
    "readiness.inputExample": "Required",
    "readiness.servers": ["MLflow"],
    "readiness.predictBody": "Deny",
    "readiness.wholeExample": ["forecast-*"],
    "readiness.missingPredictions": ["sparse-*"],
    "readiness.requestsAfterSwitch": 0,
    "rollout.candidateReplicas": 1,
    "rollout.scaleDownDelaySeconds": 31,
    "rollout.preStopSleepSeconds": 11,
    "rollout.revisionHistoryLimit": 4,
    "gates": [{"name": "image", "mode": "Audit"}],
    "guards": "Optional",
}


def with_knob(path: str, value: Any) -> PromotionPolicySpec:
    manifest = copy.deepcopy(BASE)
    *parents, last = path.split(".")
    part = manifest
    for parent in parents:
        part = part.setdefault(parent, {})
    part[last] = value
    return PromotionPolicySpec.model_validate(manifest)


def knobs(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Walk a model's fields down to those that hold no other model."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from knobs(field.annotation, f"{path}.")
        else:
            yield path


def test_every_knob_is_tried_here() -> None:
    assert set(knobs(PromotionPolicySpec)) == {*KNOBS, "default"}


@pytest.mark.parametrize("knob", sorted(KNOBS))
def test_every_knob_changes_the_hash(knob: str) -> None:
    assert with_knob(knob, KNOBS[knob]).hash != PromotionPolicySpec.model_validate(BASE).hash


def test_hashes_of_different_policies_differ_from_one_another() -> None:
    hashes = [with_knob(knob, value).hash for knob, value in KNOBS.items()]
    assert len(set(hashes)) == len(hashes)


def test_being_the_default_demands_nothing() -> None:
    assert with_knob("default", True).hash == PromotionPolicySpec.model_validate(BASE).hash


def test_defaults_that_are_written_out_demand_nothing_else() -> None:
    bare = PromotionPolicySpec.model_validate(BASE)
    assert PromotionPolicySpec.model_validate(bare.payload()).hash == bare.hash
    assert bare.hash.startswith("sha256:")


@given(st.dictionaries(st.sampled_from(["lineage", "image", "environment", "readiness"]), st.sampled_from(list(GateMode))))
def test_a_gate_is_enforced_unless_the_policy_says_otherwise(modes: dict[str, GateMode]) -> None:
    rules = [{"name": name, "mode": str(mode)} for name, mode in modes.items()]
    spec = with_knob("gates", rules)
    for name in ("lineage", "image", "environment", "readiness", "parity"):
        assert spec.mode(name) is modes.get(name, GateMode.ENFORCE)


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("registry.trackingURI", None),
        ("registry.trackingURI", "h" * 513),
        ("registry.models", [""]),
        ("registry.models", ["m"] * 65),
        ("images.modelInImage", "Perhaps"),
        ("images.signatures", [{"name": "", "keys": [PEM]}]),
        ("images.signatures", [{"name": "release", "keys": []}]),
        ("images.signatures", [{"name": "release", "keys": ["-----BEGIN PUBLIC KEY-----\n?"]}]),
        ("images.signatures", [{"name": "release", "keys": [PEM.replace("PUBLIC", "PRIVATE")]}]),
        ("images.signatures", [{"name": "release", "keys": [PEM, PEM]}]),
        ("images.signatures", [{"name": "release", "keys": [PEM], "threshold": 0}]),
        ("images.signatures", [{"name": "release", "keys": [PEM], "threshold": 2}]),
        ("images.signatures", [{"name": "release", "keys": [PEM], "signature": "Ignore"}]),
        ("images.signatures", [{"name": f"r{number}", "keys": [PEM]} for number in range(17)]),
        ("environment.signature", {"keys": []}),
        ("environment.signature", {"keys": [PEM, OTHER_PEM], "threshold": 3}),
        ("environment.python", "Major"),
        ("environment.packages.extras", "Some"),
        ("environment.packages.unowned", "Some"),
        ("environment.packages.allowedUnowned", [""]),
        ("environment.startup", "Sometimes"),
        ("environment.bytecode", "Sometimes"),
        ("environment.bytecodeCache", "Old"),
        ("lineage.require", ["Everything"]),
        ("pods.variables.allowed", [""]),
        ("pods.variables.dangerous", ["MLSERVER_*"]),
        ("pods.variables.inImages", ["BASH_FUNC_x%%"]),
        ("pods.rootFilesystem", "Sometimes"),
        ("pods.tmpSizeLimit", "0Gi"),
        ("pods.tmpSizeLimit", "2G"),
        ("pods.tmpSizeLimit", "lots"),
        ("readiness.requests", 0),
        ("readiness.deadlineSeconds", 9),
        ("rollout.candidateReplicas", 0),
        ("rollout.revisionHistoryLimit", 11),
        ("gates", [{"name": "image", "mode": "Sometimes"}]),
        ("gates", [{"name": f"g{n}", "mode": "Audit"} for n in range(17)]),
        ("guards", "Maybe"),
    ],
)
def test_a_value_out_of_bounds_is_refused(knob: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        with_knob(knob, value)


def test_a_policy_without_a_registry_is_refused() -> None:
    with pytest.raises(ValidationError):
        PromotionPolicySpec.model_validate({})


def test_an_object_is_read_as_the_api_server_returns_it() -> None:
    raw = {"metadata": {"name": "strict", "generation": 4, "uid": "u"}, "spec": BASE | {"fieldOfANewerVersion": 1}}
    policy = PromotionPolicy.from_object(raw)
    assert (policy.name, policy.generation) == ("strict", 4)
    assert policy.spec == PromotionPolicySpec.model_validate(BASE)
    with pytest.raises(ValidationError):
        PromotionPolicy.from_object({"metadata": {"name": "empty"}})
