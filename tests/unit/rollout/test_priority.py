"""What priority admission gives a pod, and the lowest among those that serve."""

from typing import Any

from lockstep.rollout.priority import Priority, lowest_priority, priority_of


def named(name: str, value: int, **parts: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "value": value, **parts}


CLASSES = [named("low", -5), named("calm", 100, preemptionPolicy="Never"), named("high", 1000, globalDefault=False)]


def test_a_named_class_gives_its_value_and_says_whether_it_preempts() -> None:
    assert priority_of("high", CLASSES) == Priority("high", 1000, preempts=True)
    assert priority_of("calm", CLASSES) == Priority("calm", 100, preempts=False)
    assert priority_of("none", CLASSES) is None


def test_without_a_name_it_is_the_lowest_default_or_zero() -> None:
    assert priority_of(None, CLASSES) == Priority("", 0, preempts=True)
    defaults = [*CLASSES, named("a", 7, globalDefault=True), named("b", 3, globalDefault=True)]
    assert priority_of(None, defaults) == Priority("b", 3, preempts=True)


def test_what_serves_has_the_lowest_of_what_its_pods_have_and_of_what_the_next_one_would_have() -> None:
    pods = [{"spec": {"priority": 10}}, {"spec": {"priority": 5}}]
    assert lowest_priority(pods, Priority("x", 7, preempts=True)) == 5
    assert lowest_priority(pods, Priority("x", 3, preempts=True)) == 3
    assert lowest_priority([{"spec": {}}], None) == 0
    assert lowest_priority([], Priority("x", 7, preempts=True)) == 7
    assert lowest_priority([], None) == 0
