"""Whether a live object is still the one that was asked for."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.rollout.objects.drift import difference

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def limits(value: Any) -> dict[str, Any]:
    return {"limits": {"cpu": value}}


@pytest.mark.parametrize(
    ("desired", "live"),
    [
        ("0.5", "500m"),
        ("1", "1000m"),
        ("1", 1),
        ("2.0", "2"),
        ("1Gi", "1024Mi"),
        ("1024Ki", "1Mi"),
        ("1e3", "1k"),
        ("1M", "1000k"),
        ("0.1", "100m"),
        ("1000u", "1m"),
        ("2Ti", "2048Gi"),
        ("1E", "1000P"),
    ],
)
def test_quantities_are_compared_by_value(desired: Any, live: Any) -> None:
    assert difference(limits(desired), limits(live), "resources") is None


@pytest.mark.parametrize(
    ("desired", "live"), [("1", "1m"), ("1G", "1Gi"), ("500m", "501m"), ("1", None), ("x", "y"), ("1", "x")]
)
def test_other_quantities_differ(desired: Any, live: Any) -> None:
    assert difference(limits(desired), limits(live), "resources") == "resources.limits.cpu"


def test_only_resources_and_the_size_of_a_volume_are_quantities() -> None:
    assert difference({"value": "1000m"}, {"value": "1"}, "env") == "env.value"
    assert difference({"sizeLimit": "2048Mi"}, {"sizeLimit": "2Gi"}, "emptyDir") is None
    assert difference({"sizeLimit": "2048Mi"}, {"sizeLimit": "3Gi"}, "emptyDir") == "emptyDir.sizeLimit"
    assert difference({"sizeLimit": "2Gi"}, {}, "emptyDir") == "emptyDir.sizeLimit"


@pytest.mark.parametrize("empty", [None, {}, [], ""])
def test_what_is_empty_counts_as_absent(empty: Any) -> None:
    assert difference({"a": 1, "b": empty}, {"a": 1}, "spec") is None
    assert difference({"a": 1}, {"a": 1, "b": empty}, "spec") is None


@pytest.mark.parametrize("value", [0, False])
def test_zero_and_false_are_not_empty(value: Any) -> None:
    assert difference({"a": value}, {}, "spec") == "spec.a"


def test_the_path_leads_to_the_first_difference() -> None:
    desired = {"containers": [{"name": "server", "env": [{"name": "A", "value": "1"}]}]}
    live = {"containers": [{"name": "server", "env": [{"name": "A", "value": "2"}]}]}
    assert difference(desired, live, "spec") == "spec.containers[0].env[0].value"


def test_what_was_added_is_a_difference() -> None:
    assert difference({"containers": [1]}, {"containers": [1, 2]}, "spec") == "spec.containers"
    assert difference({}, {"hostNetwork": True}, "spec") == "spec.hostNetwork"


@pytest.mark.parametrize(
    ("one", "other"), [({"a": {"b": 1}}, {"a": "b"}), ({"a": [1]}, {"a": {"0": 1}}), ({"a": [1]}, {"a": 1})]
)
def test_values_of_different_kinds_differ(one: Any, other: Any) -> None:
    assert difference(one, other, "spec") is not None
    assert difference(other, one, "spec") is not None


@given(JSON)
def test_everything_equals_itself(value: Any) -> None:
    assert difference(value, value, "spec") is None


@given(JSON, JSON)
def test_a_difference_is_one_from_both_sides(one: Any, other: Any) -> None:
    assert (difference(one, other, "spec") is None) == (difference(other, one, "spec") is None)
