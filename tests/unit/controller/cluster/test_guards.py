"""Whether the guards stand as they were installed."""

from typing import Any

import pytest

from lockstep.controller.cluster import ports
from lockstep.controller.cluster.guards import Guards, guard_digest
from lockstep.controller.cluster.ports import Object
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster

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
    found = FakeCluster(FakeClock())
    bind(found, "one", "Deny")
    bind(found, "two", "Warn", "Audit")
    assert await Guards(found, FakeClock(), ("one",)).missing() == ()
    assert await Guards(found, FakeClock(), ("one", "two", "three")).missing() == ("two does not deny", "three is not bound")


async def test_a_binding_without_its_policy_guards_nothing() -> None:
    found = FakeCluster(FakeClock())
    bind(found, "one", "Deny")
    found.remove(ports.ADMISSION_POLICY, None, "one")
    assert await Guards(found, FakeClock(), ("one",)).missing() == ("one is missing",)


def digest_of(policy: Object, **binding: Any) -> str:
    return guard_digest({"spec": policy}, {"spec": {"policyName": "one", **binding}})


async def test_a_guard_that_says_what_it_has_to_stands_whatever_the_api_server_writes_out() -> None:
    for policy in (POLICY, DEFAULTED):
        found = FakeCluster(FakeClock())
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
    found = FakeCluster(FakeClock())
    bind(found, "one", "Deny", policy=policy, **binding)
    assert await Guards(found, FakeClock(), ("one",), {"one": digest_of(POLICY, **PARAMS)}).missing() == ("one was changed",)


async def test_without_a_list_of_guards_nothing_is_guarded() -> None:
    assert await Guards(FakeCluster(FakeClock()), FakeClock(), ()).missing() == ("none configured",)


async def test_guards_are_asked_for_again_after_a_while() -> None:
    found, clock = FakeCluster(FakeClock()), FakeClock()
    bind(found, "one", "Deny")
    guards = Guards(found, clock, ("one",))
    assert await guards.missing() == ()
    found.remove(ports.ADMISSION_POLICY_BINDING, None, "one")
    assert await guards.missing() == ()
    clock.advance(16)
    assert await guards.missing() == ("one is not bound",)
