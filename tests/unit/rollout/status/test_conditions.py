"""Conditions after metav1.Condition."""

from datetime import timedelta
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from lockstep.api.base import Condition
from lockstep.api.reasons import ConditionType, Reason
from lockstep.rollout.status.conditions import Conditions, shorten
from tests.fakes import builders as build

Truth = Literal["True", "False", "Unknown"]
TRUTHS = st.sampled_from(["True", "False", "Unknown"])


@given(st.lists(st.tuples(TRUTHS, st.sampled_from(list(Reason))), min_size=1, max_size=6))
def test_the_transition_time_is_that_of_the_last_flip(history: list[tuple[Truth, Reason]]) -> None:
    present: list[Condition] = []
    flipped, last = build.NOW, None
    for minute, (truth, reason) in enumerate(history):
        now = build.NOW + timedelta(minutes=minute)
        flipped, last = (now if truth != last else flipped), truth
        conditions = Conditions(present, generation=minute, now=now)
        conditions.set(ConditionType.READY, truth, reason, "said")
        present = conditions.list()
    (ready,) = present
    assert (ready.last_transition_time, ready.status) == (flipped, last)
    assert (ready.reason, ready.observed_generation) == (str(history[-1][1]), len(history) - 1)


def test_what_is_not_set_stays_and_what_is_dropped_goes() -> None:
    first = Conditions([], generation=1, now=build.NOW)
    first.set(ConditionType.PROMOTED, "True", Reason.PROMOTED, "")
    first.set(ConditionType.READY, "True", Reason.PROMOTED, "")
    second = Conditions(first.list(), generation=2, now=build.NOW)
    assert second.list() == first.list()
    second.drop(ConditionType.PROMOTED)
    second.drop(ConditionType.STALLED)
    assert [condition.type for condition in second.list()] == ["Ready"]


def test_conditions_of_another_version_are_kept_at_the_end() -> None:
    other = Condition(type="Futuristic", status="True", last_transition_time=build.NOW, reason="Because")
    conditions = Conditions([other], generation=1, now=build.NOW)
    conditions.set(ConditionType.STALLED, "False", Reason.PROMOTED, "")
    assert [condition.type for condition in conditions.list()] == ["Stalled", "Futuristic"]


@given(st.text(), st.integers(1, 50))
def test_texts_are_cut_to_their_bound_and_say_so(text: str, limit: int) -> None:
    cut = shorten(text, limit)
    assert len(cut) <= limit
    assert cut == text if len(text) <= limit else cut.endswith("…")
