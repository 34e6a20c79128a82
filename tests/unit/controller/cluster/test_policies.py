"""Which policy governs a namespace."""

from typing import Any

import pytest

from lockstep.api.reasons import Reason
from lockstep.controller.cluster import ports
from lockstep.controller.cluster.policies import policy_for
from lockstep.gates.evidence import Unknown
from lockstep.rollout.objects import labels
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
