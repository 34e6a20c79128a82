"""What `kubectl apply` says to a person whose manifest is wrong, and that the schema takes what is right."""

from typing import Any

import pytest

from tests.api.installation import Installation, model_deployment

pytestmark = pytest.mark.api

IMAGE = "image must be a full reference with registry and repository"
PROTOCOL = "set exactly one of server.mlflow, server.openInferenceV2 and server.custom"
CODE = "this variable changes which code the server loads"
NAME = "metadata.name must start with a letter"
QUANTITY = "write a Kubernetes quantity, such as 2, 500m or 4Gi"


def env(name: str) -> dict[str, Any]:
    return {"template": {"env": [{"name": name, "value": "x"}]}}


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "both version and alias": (
        {"model": {"name": "iris", "version": "3", "alias": "champion"}},
        'set exactly one of model.version (such as "3") and model.alias (such as champion)',
    ),
    "neither version nor alias": ({"model": {"name": "iris"}}, "set exactly one of model.version"),
    "an alias as version": (
        {"model": {"name": "iris", "version": "champion"}},
        'write model.version as a number in quotes, such as "3"; an alias goes to model.alias',
    ),
    "a version without quotes": ({"model": {"name": "iris", "version": 3}}, "must be of type string"),
    "no model": ({"model": None}, "spec.model"),
    "no image": ({"image": None}, "spec.image"),
    "no protocol": ({"server": {"port": 8080}}, PROTOCOL),
    "an unknown protocol": ({"server": {"port": 8080, "grpc": {}}}, 'unknown field "spec.server.grpc"'),
    "two protocols": ({"server": {"mlflow": {}, "custom": {"readyPath": "/"}}}, PROTOCOL),
    "open inference without a name": ({"server": {"openInferenceV2": {}}}, "openInferenceV2.modelName"),
    "a model's name with a slash": (
        {"server": {"openInferenceV2": {"modelName": "team/iris"}}},
        "modelName is a part of the path that is asked: write letters, digits and ._~:@+=,- only",
    ),
    "a model's name with a blank": (
        {"server": {"openInferenceV2": {"modelName": "iris v2"}}},
        "modelName is a part of the path",
    ),
    "a model's name that leads elsewhere": ({"server": {"openInferenceV2": {"modelName": ".."}}}, "modelName is a part of the"),
    "a path that is a URL": ({"server": {"custom": {"readyPath": "http://elsewhere/"}}}, "server.custom.readyPath"),
    "port 0": ({"server": {"port": 0, "mlflow": {}}}, "greater than or equal to 1"),
    "port 70000": ({"server": {"port": 70000, "mlflow": {}}}, "less than or equal to 65535"),
    "an image without a registry": ({"image": "iris"}, IMAGE),
    "an image with a tag alone": ({"image": ":latest"}, IMAGE),
    "an image with a short digest": ({"image": "registry.example.com/iris@sha256:abc"}, IMAGE),
    "an image with upper case": ({"image": "registry.example.com/Iris:1"}, IMAGE),
    "an image with a blank": ({"image": "registry.example.com/iris :1"}, IMAGE),
    "an image with a line break": ({"image": "registry.example.com/iris:1\nx"}, IMAGE),
    "an image as a URL": ({"image": "https://registry.example.com/iris:1"}, IMAGE),
    "ten thousand characters as image": ({"image": "registry.example.com/" + "a" * 10_000}, "Too long"),
    "ten thousand characters as model": ({"model": {"name": "a" * 10_000, "version": "3"}}, "Too long"),
    "negative replicas": ({"replicas": -1}, "greater than or equal to 0"),
    "a million replicas": ({"replicas": 1_000_000}, "less than or equal to 1000"),
    "PYTHONPATH": (env("PYTHONPATH"), CODE),
    "LD_PRELOAD": (env("LD_PRELOAD"), CODE),
    "PATH": (env("PATH"), CODE),
    **{name: (env(name), CODE) for name in ("SHELLOPTS", "BASHOPTS", "PS4", "BASH_ENV", "BASH_XTRACEFD", "IFS", "ENV")},
    **{name: (env(name), CODE) for name in ("GCONV_PATH", "LOCPATH", "OPENSSL_CONF", "UVICORN_APP_DIR", "__PYVENV_LAUNCHER__")},
    "a variable with a blank": (env("A B"), "template.env[0].name"),
    "the same variable twice": ({"template": {"env": [{"name": "A"}, {"name": "A"}]}}, "Duplicate value"),
    "a quantity in words": ({"template": {"resources": {"limits": {"memory": "lots"}}}}, QUANTITY),
    "a reserved label": (
        {"template": {"labels": {"lockstep.dev/revision": "a"}}},
        "labels under lockstep.dev/ and app.kubernetes.io/ are set by Lockstep",
    ),
    "a container": ({"template": {"containers": []}}, 'unknown field "spec.template.containers"'),
    "a misspelled field": ({"replica": 2}, 'unknown field "spec.replica"'),
    "a negative retry": ({"retry": -1}, "greater than or equal to 0"),
    "service port 0": ({"service": {"port": 0}}, "greater than or equal to 1"),
    "no requests": ({"readiness": {"requests": 0}}, "greater than or equal to 1"),
}


@pytest.mark.parametrize(("spec", "said"), BAD.values(), ids=BAD.keys())
def test_a_bad_manifest_is_refused_in_words_that_help(api: Installation, team: str, spec: dict[str, Any], said: str) -> None:
    answer = api.apply(_in(team, model_deployment(**spec)), check=False)
    assert answer.code != 0
    assert said in answer.error
    assert len(answer.error) < 2000, "what was wrong is not lost in what was written"


@pytest.mark.parametrize("name", ["a" * 53, "a" * 60, "1iris", "iris.v2", "iris-"])
def test_a_bad_name_is_refused_in_words_that_help(api: Installation, team: str, name: str) -> None:
    answer = api.apply(_in(team, model_deployment(name)), check=False)
    assert answer.code != 0
    assert NAME in answer.error
    assert "at most 52" in answer.error


GOOD: dict[str, dict[str, Any]] = {
    "an alias": {"model": {"name": "iris", "alias": "champion"}},
    "a model with blanks": {"model": {"name": "my iris model", "version": "12"}},
    "a digest": {"image": "registry.example.com/team/iris@sha256:" + "a" * 64},
    "tag and digest": {"image": "registry.example.com:5000/iris:1@sha256:" + "a" * 64},
    "a local registry": {"image": "localhost:5000/iris:1"},
    "no replicas": {"replicas": 0},
    "replicas left out": {"replicas": None},
    "open inference": {"server": {"port": 8080, "openInferenceV2": {"modelName": "iris"}}},
    "open inference by a versioned name": {"server": {"port": 8080, "openInferenceV2": {"modelName": "iris_1.2:a@b"}}},
    "custom": {"server": {"custom": {"readyPath": "/ready", "predictPath": "/predict", "predictBody": "{}"}}},
    "numbers as quantities": {"template": {"resources": {"limits": {"cpu": 1, "memory": "1Gi"}, "requests": {"cpu": "0.5"}}}},
    "everything": {
        "service": {"port": 8000},
        "readiness": {"requests": 10, "deadlineSeconds": 60},
        "paused": True,
        "retry": 3,
        "template": {
            "labels": {"team": "fraud"},
            "env": [{"name": "WORKERS", "value": "2"}, {"name": "MY_PYTHONISH", "value": ""}],
            "serviceAccountName": "server",
            "imagePullSecrets": ["pull"],
            "nodeSelector": {"pool": "models"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "priorityClassName": "high",
            "terminationGracePeriodSeconds": 30,
        },
    },
}


@pytest.mark.parametrize("spec", GOOD.values(), ids=GOOD.keys())
def test_a_good_manifest_is_taken_and_comes_back_the_same(api: Installation, team: str, spec: dict[str, Any]) -> None:
    manifest = _in(team, model_deployment(**spec))
    api.apply(manifest)
    found = api.get("mdep", "iris", team)["spec"]
    assert _contains(found, manifest["spec"])
    assert api.apply(manifest).out.strip().endswith("unchanged")


@pytest.mark.parametrize("name", ["a", "a" * 52, "iris-2"])
def test_a_good_name_is_taken(api: Installation, team: str, name: str) -> None:
    api.apply(_in(team, model_deployment(name)))


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("mdep.spec", "Which registered model version is to be served"),
        ("mdep.spec.template", "Plain environment variables"),
        ("mdep.spec.model", "Exactly one of version and alias is set"),
        ("mdep.status", "Written by Lockstep's controller alone"),
        ("ppol.spec", "registry"),
        ("promotionrecord.spec", "DESCRIPTION"),
        ("lineagepin.spec", "DESCRIPTION"),
        ("environmentrecord.spec", "DESCRIPTION"),
    ],
)
def test_kubectl_explains_the_fields(api: Installation, field: str, says: str) -> None:
    explained = " ".join(api.kubectl("explain", field).out.split())
    assert says in explained
    assert "<no description>" not in explained


def test_it_is_scaled_as_a_deployment_is(api: Installation, team: str) -> None:
    api.apply(_in(team, model_deployment()))
    api.kubectl("scale", "mdep/iris", "--replicas=5", "--namespace", team)
    found = api.get("mdep", "iris", team)
    assert found["spec"]["replicas"] == 5
    too_many = api.kubectl("scale", "mdep/iris", "--replicas=2000", "--namespace", team, check=False)
    assert "less than or equal to 1000" in too_many.error


def test_kubectl_finds_it_by_short_name_and_category(api: Installation, team: str) -> None:
    api.apply(_in(team, model_deployment()))
    for word in ("mdep", "modeldeployment", "ml"):
        shown = api.kubectl("get", word, "--namespace", team).out
        assert shown.split()[:8] == ["NAME", "READY", "REASON", "MODEL", "ACTIVE", "CANDIDATE", "BLOCKED", "AGE"]
        assert "iris" in shown


def test_a_record_can_not_be_changed_even_by_the_operator(api: Installation) -> None:
    spec = {"trackingURI": "http://m", "model": "iris", "version": "3", "firstSeen": "2026-11-20T12:00:00Z"}
    pin = {"apiVersion": "lockstep.dev/v1alpha1", "kind": "LineagePin"}
    body = pin | {"metadata": {"name": "pin-constant", "namespace": "lockstep-system"}, "spec": spec}
    # The operator may not update records at all: an administrator whom the guards let pass tries.
    api.apply(body, user="rescuer")
    changed = body | {"spec": spec | {"version": "4"}}
    assert "a record can't be changed" in api.apply(changed, user="rescuer", check=False).error


PEM = "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n"
RULE: dict[str, Any] = {"name": "release", "keys": [PEM]}
DIGEST = "sha256:" + "a" * 64
BAD_POLICIES: dict[str, tuple[dict[str, Any], str]] = {
    "a private key": (
        {"images": {"signatures": [RULE | {"keys": ["-----BEGIN PRIVATE KEY-----\nx"]}]}},
        "a key is a public key in PEM form, which begins with -----BEGIN PUBLIC KEY-----",
    ),
    "more signatures than keys": (
        {"images": {"signatures": [RULE | {"threshold": 2}]}},
        "threshold must not be larger than the number of keys",
    ),
    "a rule that requires nothing": (
        {"images": {"signatures": [RULE | {"signature": "Ignore"}]}},
        "a rule has to require something",
    ),
    "two rules of one name": ({"images": {"signatures": [RULE, RULE]}}, "Duplicate value"),
    "a signed record by more than there are": (
        {"environment": {"signature": {"keys": [PEM], "threshold": 2}}},
        "threshold must not be larger than the number of keys",
    ),
    "a base image without layers": ({"images": {"baseImages": [{"name": "python", "diffIDs": []}]}}, "at least 1 items"),
    "a layer that is no digest": ({"images": {"baseImages": [{"name": "python", "diffIDs": ["latest"]}]}}, "diffIDs[0]"),
    "a wildcard among what is dangerous": (
        {"pods": {"variables": {"dangerous": ["MLSERVER_*"]}}},
        "name the variable exactly: these lists take no wildcards",
    ),
    "a function of bash in images": ({"pods": {"variables": {"inImages": ["BASH_FUNC_x%%"]}}}, "name the variable exactly"),
    "a size in words": ({"pods": {"tmpSizeLimit": "lots"}}, "write tmpSizeLimit as a number of Mi or Gi"),
    "no size": ({"pods": {"tmpSizeLimit": "0Gi"}}, "write tmpSizeLimit as a number of Mi or Gi"),
    "an unknown root file system": ({"pods": {"rootFilesystem": "Perhaps"}}, "pods.rootFilesystem"),
    "an unknown rule for byte code": ({"environment": {"bytecode": "Maybe"}}, "environment.bytecode"),
}


def policy(spec: dict[str, Any]) -> dict[str, Any]:
    registry = {"registry": {"trackingURI": "http://mlflow:5000"}}
    metadata = {"name": "tried"}
    return {"apiVersion": "lockstep.dev/v1alpha1", "kind": "PromotionPolicy", "metadata": metadata, "spec": registry | spec}


@pytest.mark.parametrize(("spec", "said"), BAD_POLICIES.values(), ids=BAD_POLICIES.keys())
def test_a_bad_policy_is_refused_in_words_that_help(api: Installation, spec: dict[str, Any], said: str) -> None:
    answer = api.apply(policy(spec), check=False)
    assert answer.code != 0
    assert said in answer.error


def test_a_good_policy_is_taken_and_comes_back_the_same(api: Installation) -> None:
    images = {"signatures": [RULE | {"attestation": "Required"}], "baseImages": [{"name": "python", "diffIDs": [DIGEST]}]}
    spec = {
        "images": images,
        "environment": {
            "signature": {"keys": [PEM]},
            "startup": "Ignore",
            "bytecode": "Allow",
            "bytecodeCache": "Fresh",
            "packages": {"unowned": "Deny", "allowedUnowned": ["fraud/*"]},
        },
        "pods": {
            "variables": {"allowed": ["APP_*"], "dangerous": ["MLSERVER_MODEL_URI"], "inImages": ["UVICORN_LOG_CONFIG"]},
            "rootFilesystem": "Writable",
            "tmpSizeLimit": "500Mi",
        },
    }
    api.apply(policy(spec))
    assert _contains(api.get("ppol", "tried", "default")["spec"], spec)
    api.kubectl("delete", "ppol", "tried")


def test_a_policy_has_a_read_only_root_file_system_and_no_variables_unless_it_says_so(api: Installation) -> None:
    api.apply(policy({"pods": {}}))
    assert api.get("ppol", "tried", "default")["spec"]["pods"]["rootFilesystem"] == "ReadOnly"
    api.kubectl("delete", "ppol", "tried")


def _in(namespace: str, manifest: dict[str, Any]) -> dict[str, Any]:
    return manifest | {"metadata": manifest["metadata"] | {"namespace": namespace}}


def _contains(found: Any, wanted: Any) -> bool:
    """Return whether everything that was written is there; defaults are added."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(key in found and _contains(found[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(_contains, found, wanted))
    return bool(found == wanted)
