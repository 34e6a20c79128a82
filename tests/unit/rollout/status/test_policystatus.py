"""What the status of a PromotionPolicy says: whether it is understood, and what it leaves open."""

from datetime import timedelta
from typing import Any

import pytest

from lockstep.api.promotionpolicy import PromotionPolicyStatus
from lockstep.rollout.status.policystatus import marked_default, next_policy_status
from tests.fakes import builders as build

SPEC: dict[str, Any] = {"registry": {"trackingURI": "http://mlflow:5000"}, "images": {"repositories": ["r.example.com/*"]}}


def raw(name: str = "standard", status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "generation": 3}, "spec": SPEC | spec} | ({"status": status} if status else {})


def conditions(status: PromotionPolicyStatus) -> dict[str, tuple[str, str]]:
    return {one.type: (one.status, one.reason) for one in status.conditions}


def message(status: PromotionPolicyStatus, type_: str) -> str:
    return next(one.message for one in status.conditions if one.type == type_)


def test_a_policy_that_names_its_repositories_is_understood_and_restricted() -> None:
    status = next_policy_status(raw(), [], build.NOW)
    assert status.observed_generation == 3
    assert conditions(status) == {
        "Accepted": ("True", "PolicyUnderstood"),
        "RepositoriesRestricted": ("True", "RepositoriesListed"),
    }
    assert "r.example.com/*" in message(status, "RepositoriesRestricted")


@pytest.mark.parametrize("pattern", ["*", "**", "*/*", "?*"])
def test_a_policy_that_lets_images_come_from_everywhere_says_so(pattern: str) -> None:
    status = next_policy_status(raw(images={"repositories": ["r.example.com/*", pattern]}), [], build.NOW)
    assert conditions(status)["RepositoriesRestricted"] == ("False", "AllRepositoriesAllowed")
    assert "images may come from everywhere; list your registries" in message(status, "RepositoriesRestricted")
    assert conditions(status)["Accepted"] == ("True", "PolicyUnderstood")


def test_a_policy_that_says_nothing_of_repositories_is_open() -> None:
    bare = raw()
    del bare["spec"]["images"]
    assert conditions(next_policy_status(bare, [], build.NOW))["RepositoriesRestricted"][0] == "False"


def test_a_policy_that_can_not_be_understood_names_the_field() -> None:
    status = next_policy_status(raw(readiness={"requests": "many"}), [], build.NOW)
    assert conditions(status) == {"Accepted": ("False", "PolicyInvalid")}
    assert message(status, "Accepted").startswith("readiness.requests: ")


def test_a_policy_of_a_newer_version_names_the_gates_that_are_not_known() -> None:
    gates = [{"name": "parity", "mode": "Enforce"}, {"name": "approval", "mode": "Off"}]
    status = next_policy_status(raw(gates=gates), [], build.NOW)
    assert conditions(status)["Accepted"] == ("False", "GateUnknown")
    assert message(status, "Accepted").endswith("gates: parity")


def test_of_two_defaults_each_names_both() -> None:
    policies = [raw("one", default=True), raw("two", default=True), raw("three")]
    defaults = marked_default(policies)
    assert defaults == ["one", "two"]
    for policy in policies[:2]:
        status = next_policy_status(policy, defaults, build.NOW)
        assert conditions(status)["Accepted"] == ("False", "PolicyInvalid")
        assert message(status, "Accepted").endswith("marked default: one, two")
    assert conditions(next_policy_status(policies[2], defaults, build.NOW))["Accepted"][0] == "True"


def test_an_unchanged_policy_has_an_unchanged_status_and_a_flip_has_its_time() -> None:
    first = next_policy_status(raw(), [], build.NOW)
    later = build.NOW + timedelta(hours=1)
    assert next_policy_status(raw(status=first.payload()), [], later) == first
    flipped = next_policy_status(raw(status=first.payload(), images={"repositories": ["*"]}), [], later)
    times = {one.type: one.last_transition_time for one in flipped.conditions}
    assert times == {"Accepted": build.NOW, "RepositoriesRestricted": later}


def test_a_status_that_is_not_ours_is_replaced() -> None:
    assert conditions(next_policy_status(raw(status={"conditions": "none"}), [], build.NOW))["Accepted"][0] == "True"
