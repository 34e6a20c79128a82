"""Policies, guards, platforms, the trusted status and settings."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from lockstep.api.modeldeployment import ModelDeploymentStatus
from lockstep.api.reasons import Reason
from lockstep.controller.cluster import ports
from lockstep.controller.cluster.guardspec import guard_digest
from lockstep.controller.cluster.platforms import Platforms
from lockstep.controller.cluster.policies import Guards, policy_for
from lockstep.controller.cluster.ports import Object
from lockstep.controller.reconcile.trusted import TrustedStatus
from lockstep.controller.settings import InvalidSettingError, Settings
from lockstep.controller.sources.images import registry_options
from lockstep.gates.evidence import Unknown
from lockstep.images.image import ImagePlatform
from lockstep.images.limits import MIB, Limits
from lockstep.lineage.reading import ReadingLimits
from lockstep.rollout.objects import labels
from tests.fakes import builders as build
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster

SPEC = {"registry": {"trackingURI": "http://mlflow"}}


def cluster(label: str | None = None, **policies: dict[str, Any]) -> FakeCluster:
    found = FakeCluster(FakeClock())
    marks = {labels.POLICY: label} if label is not None else {}
    found.add(ports.NAMESPACE, {"metadata": {"name": "team", "labels": marks}})
    for name, spec in policies.items():
        found.add(ports.PROMOTION_POLICY, {"metadata": {"name": name}, "spec": spec})
    return found


# --- policies -----------------------------------------------------------------------------------------------------------


async def test_the_policy_that_the_namespace_names_governs_it() -> None:
    found = await policy_for(cluster("strict", strict=SPEC, standard=SPEC | {"default": True}), "team")
    assert not isinstance(found, Unknown)
    assert found.name == "strict"


async def test_the_default_governs_who_names_none() -> None:
    found = await policy_for(cluster(strict=SPEC, standard=SPEC | {"default": True}), "team")
    assert not isinstance(found, Unknown)
    assert found.name == "standard"


@pytest.mark.parametrize(
    ("governed", "reason", "said"),
    [
        (cluster(strict=SPEC), Reason.POLICY_MISSING, "marked default"),
        (cluster("gone", standard=SPEC | {"default": True}), Reason.POLICY_MISSING, "gone"),
        (cluster(x=SPEC | {"default": True}, y=SPEC | {"default": True}), Reason.POLICY_INVALID, "x, y"),
        (cluster(x={"default": True}), Reason.POLICY_INVALID, "registry"),
    ],
    ids=["none", "named and gone", "two defaults", "invalid"],
)
async def test_what_governs_nothing_says_why(governed: FakeCluster, reason: Reason, said: str) -> None:
    found = await policy_for(governed, "team")
    assert isinstance(found, Unknown)
    assert (found.reason, found.retry) == (reason, False)
    assert said in found.message


# --- guards -------------------------------------------------------------------------------------------------------------


POLICY: Object = {
    "failurePolicy": "Fail",
    "matchConstraints": {
        "resourceRules": [{"apiGroups": [""], "apiVersions": ["*"], "resources": ["pods"], "operations": ["CREATE"]}]
    },
    "matchConditions": [{"name": "reserved", "expression": "'a' in object.metadata.labels"}],
    "validations": [{"expression": "false", "message": "no", "reason": "Forbidden"}],
}
# What the API server writes out, and what a newer one may come to write out.
DEFAULTED: Object = {
    **POLICY,
    "matchConstraints": {
        "resourceRules": [{**POLICY["matchConstraints"]["resourceRules"][0], "scope": "*", "novelty": "Default"}],
        "matchPolicy": "Equivalent",
        "namespaceSelector": {},
        "objectSelector": {},
    },
    "novelty": {"mode": "Default"},
}
PARAMS: Object = {"paramRef": {"selector": {}, "parameterNotFoundAction": "Allow"}}


def bind(found: FakeCluster, name: str, *actions: str, policy: Object | None = None, **binding: Any) -> None:
    spec = {"policyName": name, "validationActions": list(actions), **binding}
    found.add(ports.ADMISSION_POLICY_BINDING, {"metadata": {"name": name}, "spec": spec})
    found.add(ports.ADMISSION_POLICY, {"metadata": {"name": name}, "spec": POLICY if policy is None else policy})


async def test_guards_stand_when_every_binding_denies() -> None:
    found = cluster()
    bind(found, "one", "Deny")
    bind(found, "two", "Warn", "Audit")
    assert await Guards(found, FakeClock(), ("one",)).missing() == ()
    assert await Guards(found, FakeClock(), ("one", "two", "three")).missing() == ("two does not deny", "three is not bound")


async def test_a_binding_without_its_policy_guards_nothing() -> None:
    found = cluster()
    bind(found, "one", "Deny")
    found.remove(ports.ADMISSION_POLICY, None, "one")
    assert await Guards(found, FakeClock(), ("one",)).missing() == ("one is missing",)


def digest_of(policy: Object, **binding: Any) -> str:
    return guard_digest({"spec": policy}, {"spec": {"policyName": "one", **binding}})


async def test_a_guard_that_says_what_it_has_to_stands_whatever_the_api_server_writes_out() -> None:
    for policy in (POLICY, DEFAULTED):
        found = cluster()
        bind(
            found, "one", "Deny", "Audit", policy=policy, matchResources={"matchPolicy": "Equivalent", "namespaceSelector": {}}
        )
        assert await Guards(found, FakeClock(), ("one",), {"one": digest_of(POLICY)}).missing() == ()


WEAKER: dict[str, tuple[Object, Object]] = {
    "another expression": (POLICY | {"validations": [{"expression": "true", "message": "no", "reason": "Forbidden"}]}, PARAMS),
    "one more condition": (
        POLICY | {"matchConditions": [*POLICY["matchConditions"], {"name": "n", "expression": "false"}]},
        PARAMS,
    ),
    "failures ignored": (POLICY | {"failurePolicy": "Ignore"}, PARAMS),
    "no rule": (POLICY | {"matchConstraints": {"resourceRules": []}}, PARAMS),
    "some names only": (
        POLICY
        | {"matchConstraints": {"resourceRules": [POLICY["matchConstraints"]["resourceRules"][0] | {"resourceNames": ["a"]}]}},
        PARAMS,
    ),
    "a namespace left out": (
        POLICY | {"matchConstraints": POLICY["matchConstraints"] | {"namespaceSelector": {"matchLabels": {"scope": "x"}}}},
        PARAMS,
    ),
    "rules left out": (
        POLICY
        | {
            "matchConstraints": POLICY["matchConstraints"]
            | {"excludeResourceRules": POLICY["matchConstraints"]["resourceRules"]}
        },
        PARAMS,
    ),
    "objects left out": (POLICY, PARAMS | {"matchResources": {"objectSelector": {"matchLabels": {"novelty": "x"}}}}),
    "no params": (POLICY, {}),
    "other params": (POLICY, {"paramRef": {"name": "one", "parameterNotFoundAction": "Allow"}}),
    "params elsewhere": (POLICY, {"paramRef": PARAMS["paramRef"] | {"namespace": "elsewhere"}}),
}


@pytest.mark.parametrize(("policy", "binding"), WEAKER.values(), ids=WEAKER)
async def test_a_guard_that_was_made_weaker_does_not_stand(policy: Object, binding: Object) -> None:
    found = cluster()
    bind(found, "one", "Deny", policy=policy, **binding)
    assert await Guards(found, FakeClock(), ("one",), {"one": digest_of(POLICY, **PARAMS)}).missing() == ("one was changed",)


async def test_without_a_list_of_guards_nothing_is_guarded() -> None:
    assert await Guards(cluster(), FakeClock(), ()).missing() == ("none configured",)


async def test_guards_are_asked_for_again_after_a_while() -> None:
    found, clock = cluster(), FakeClock()
    bind(found, "one", "Deny")
    guards = Guards(found, clock, ("one",))
    assert await guards.missing() == ()
    found.remove(ports.ADMISSION_POLICY_BINDING, None, "one")
    assert await guards.missing() == ()
    clock.advance(16)
    assert await guards.missing() == ("one is not bound",)


# --- platforms ----------------------------------------------------------------------------------------------------------


def nodes(*architectures: str | None) -> FakeCluster:
    found = cluster()
    for number, architecture in enumerate(architectures):
        marks = {"kubernetes.io/arch": architecture} if architecture else {}
        found.add(ports.NODE, {"metadata": {"name": f"node-{number}", "labels": marks}})
    return found


@pytest.mark.parametrize(
    ("architectures", "selector", "expected"),
    [
        ((), {}, "amd64"),
        (("arm64",), {}, "arm64"),
        (("arm64", "amd64", "arm64", None), {}, "arm64"),
        (("amd64", "arm64"), {}, "amd64"),
        (("amd64",), {"kubernetes.io/arch": "arm64"}, "arm64"),
    ],
)
async def test_the_platform_is_that_of_the_nodes(architectures: Any, selector: dict[str, str], expected: str) -> None:
    platforms = Platforms(nodes(*architectures), FakeClock(), None)
    assert await platforms.of(selector) == ImagePlatform("linux", expected)


async def test_a_configured_platform_is_the_platform() -> None:
    fixed = ImagePlatform("linux", "s390x")
    assert await Platforms(nodes("amd64"), FakeClock(), fixed).of({}) == fixed


async def test_nodes_are_listed_at_most_once_a_minute() -> None:
    found, clock = nodes("amd64"), FakeClock()
    platforms = Platforms(found, clock, None)
    await platforms.of({})
    for number in (7, 8):
        found.add(ports.NODE, {"metadata": {"name": f"node-{number}", "labels": {"kubernetes.io/arch": "arm64"}}})
    assert (await platforms.of({})).architecture == "amd64"
    clock.advance(61)
    assert (await platforms.of({})).architecture == "arm64"


# --- the trusted status -------------------------------------------------------------------------------------------------


def raw(status: Any) -> Object:
    spec = build.spec().model_dump(mode="json", by_alias=True, exclude_none=True)
    return {"metadata": {"name": "iris", "namespace": "team", "uid": build.UID}, "spec": spec, "status": status}


WRITTEN = ModelDeploymentStatus(replicas=2)


def test_a_status_is_believed_until_we_have_written_another() -> None:
    trusted = TrustedStatus()
    owner, foreign = trusted.read(raw({"replicas": 7}))
    assert (owner.status.replicas, foreign) == (7, False)
    trusted.keep(build.UID, WRITTEN)
    owner, foreign = trusted.read(raw({"replicas": 7}))
    assert (owner.status, foreign) == (WRITTEN, True)
    assert trusted.read(raw(WRITTEN.payload()))[1] is False
    trusted.forget(build.UID)
    assert trusted.read(raw({"replicas": 7}))[1] is False


def test_a_status_that_can_not_be_read_is_none() -> None:
    owner, _ = TrustedStatus().read(raw({"conditions": "none"}))
    assert owner.status == ModelDeploymentStatus()


def test_a_spec_that_can_not_be_read_is_an_error_whatever_the_status() -> None:
    with pytest.raises(ValidationError):
        TrustedStatus().read({"metadata": {"uid": build.UID}, "spec": {}, "status": {}})


# --- settings -----------------------------------------------------------------------------------------------------------


def test_settings_are_read_from_the_environment() -> None:
    found = Settings.from_environment(
        {
            "LOCKSTEP_NAMESPACE": "platform",
            "LOCKSTEP_POD_NAME": "lockstep-0",
            "LOCKSTEP_GUARD_BINDINGS": "one, two,",
            "LOCKSTEP_GUARD_DIGESTS": f"one={'a' * 64},two={'b' * 64}",
            "LOCKSTEP_INSECURE_REGISTRIES": "localhost:5000",
            "LOCKSTEP_PRIVATE_REGISTRIES": "r.svc:5000, s.svc",
            "LOCKSTEP_TOKEN_SERVICES": "gitlab.example.com",
            "LOCKSTEP_CLUSTER_RANGES": "10.244.0.0/16,fd00:10:96::/112",
            "KUBERNETES_SERVICE_HOST": "10.96.0.1",
            "LOCKSTEP_WATCH_NAMESPACES": "team",
            "LOCKSTEP_PLATFORM": "linux/arm64",
            "LOCKSTEP_METRICS_PORT": "9090",
            "LOCKSTEP_WORKERS": "8",
            "LOCKSTEP_SCAN_LIMITS": '{"entries": 600000, "zstdWindow": 8388608}',
            "LOCKSTEP_SCAN_PROCESSES": "4",
            "LOCKSTEP_MODEL_READS": "3",
            "LOCKSTEP_MODEL_GIGABYTES": "500",
            "LOCKSTEP_MODEL_SECONDS": "7200",
        }
    )
    assert (found.namespace, found.identity, found.workers, found.metrics_port) == ("platform", "lockstep-0", 8, 9090)
    assert found.guard_bindings == ("one", "two")
    assert found.guard_digests == {"one": "a" * 64, "two": "b" * 64}
    assert found.limits == replace(Limits(), entries=600_000, zstd_window=8 * MIB)
    assert found.scan_processes == 4
    assert (found.model_reads, found.reading_limits) == (3, ReadingLimits(bytes=500 * 10**9, seconds=7200.0))
    assert found.insecure_registries == {"localhost:5000"}
    assert found.platform == ImagePlatform("linux", "arm64")
    options = registry_options(found)
    assert options.base_url("localhost:5000") == "http://localhost:5000"
    assert options.private == {"r.svc:5000", "s.svc"}
    assert options.token_services == {"gitlab.example.com"}
    for address in ("127.0.0.1", "10.244.3.4", "fd00:10:96::1", "10.96.0.1"):
        assert options.refusal("elsewhere", 443, address) is not None
        assert options.refusal("s.svc", 443, address) is None
    assert options.refusal("elsewhere", 443, "10.96.0.2") is None


@pytest.mark.parametrize("host", ["", "api.example.com", "fd00:10:96::1"])
def test_the_api_servers_address_may_be_a_name(host: str) -> None:
    found = Settings.from_environment({"KUBERNETES_SERVICE_HOST": host})
    assert [str(network) for network in found.cluster_ranges] == (["fd00:10:96::1/128"] if ":" in host else [])


def test_an_empty_environment_gives_the_defaults_and_a_name() -> None:
    found = Settings.from_environment({})
    assert (found.namespace, found.workers, found.platform) == ("lockstep-system", 4, None)
    assert (found.model_reads, found.reading_limits) == (2, ReadingLimits())
    assert found.identity


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOCKSTEP_WORKERS", "0"),
        ("LOCKSTEP_WORKERS", "many"),
        ("LOCKSTEP_METRICS_PORT", "-1"),
        ("LOCKSTEP_MODEL_READS", "65"),
        ("LOCKSTEP_MODEL_GIGABYTES", "0"),
        ("LOCKSTEP_MODEL_SECONDS", "1h"),
        ("LOCKSTEP_PLATFORM", "amd64"),
        ("LOCKSTEP_PLATFORM", "linux/"),
        ("LOCKSTEP_GUARD_DIGESTS", "one"),
        ("LOCKSTEP_GUARD_DIGESTS", "one=abc"),
        ("LOCKSTEP_METRICS_PORT", "²"),
        ("LOCKSTEP_METRICS_PORT", "70000"),
        ("LOCKSTEP_LOG_FORMAT", "xml"),
        ("LOCKSTEP_PROMOTION_DAYS", "0"),
        ("LOCKSTEP_REFUSALS_PER_DEPLOYMENT", "2000"),
        ("LOCKSTEP_CLUSTER_RANGES", "10.96.0.0/40"),
        ("LOCKSTEP_CLUSTER_RANGES", "10.96.0.1/12"),
        ("LOCKSTEP_CLUSTER_RANGES", "cluster"),
        ("LOCKSTEP_SCAN_LIMITS", "many"),
        ("LOCKSTEP_SCAN_LIMITS", "[]"),
        ("LOCKSTEP_SCAN_LIMITS", "7"),
        ("LOCKSTEP_SCAN_LIMITS", '{"layer": 1}'),
        ("LOCKSTEP_SCAN_LIMITS", '{"layers": 0}'),
        ("LOCKSTEP_SCAN_LIMITS", '{"layers": true}'),
        ("LOCKSTEP_SCAN_LIMITS", '{"layers": "9"}'),
    ],
)
def test_a_setting_that_can_not_be_understood_is_named(name: str, value: str) -> None:
    with pytest.raises(InvalidSettingError, match=name):
        Settings.from_environment({name: value})
