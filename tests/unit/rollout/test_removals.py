"""Which pods go, and what is said of those that stay."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lockstep.api.reasons import Reason
from lockstep.rollout.observed.bearers import Bearer, Standing
from lockstep.rollout.removals import PACE, Removals, removals
from tests.fakes import builders as build

OLD = build.NOW - timedelta(hours=1)
OWN, ADMISSION, EDITED, STRAY, STRANGER = (
    Standing.OWN,
    Standing.MADE_OTHERWISE,
    Standing.EDITED,
    Standing.STRAY,
    Standing.STRANGER,
)


def bearer(name: str, standing: Standing = OWN, *, ready: bool = True, made: datetime = OLD, revision: str = "act") -> Bearer:
    how = "its env is A" if standing in (ADMISSION, EDITED, STRANGER) else None
    return Bearer(name, f"uid-{name}", revision, standing, ready, made, how)


def judged(*found: Bearer, active: str | None = "act", now: datetime = build.NOW, allowed: int = 10) -> Removals:
    return removals(found, active=active, now=now, allowed=allowed, refill=7.0)


def gone(*found: Bearer, **parts: Any) -> list[str]:
    return [action.name for action in judged(*found, **parts).actions]


FINE = (bearer("a"), bearer("b", made=OLD + timedelta(minutes=1)))


def test_pods_as_promoted_stay() -> None:
    assert judged(*FINE) == Removals()
    assert judged() == Removals()


def test_a_stranger_goes_at_once_even_where_nothing_else_is_ready() -> None:
    assert gone(bearer("x", STRANGER)) == ["x"]
    assert gone(*FINE, bearer("x", STRANGER), bearer("y", STRANGER, revision="old")) == ["x", "y"]


def test_edited_pods_go_all_at_once_while_one_as_promoted_is_ready_and_else_one_after_the_other() -> None:
    edited = [bearer(name, EDITED) for name in "xyz"]
    assert gone(*FINE, *edited) == ["x", "y", "z"]
    assert gone(*edited) == ["x"]
    young = bearer("y", EDITED, made=build.NOW - timedelta(seconds=5))
    assert gone(young) == []
    assert gone(replace(young, ready=False)) == ["y"], "it serves nobody"
    starting = bearer("n", ready=False, made=build.NOW - timedelta(seconds=5))
    assert gone(*edited, starting) == [], "the one that replaces the first is still coming up"


def test_a_pod_that_admission_changed_goes_while_one_as_promoted_is_ready_and_the_newest_is_as_promoted_too() -> None:
    changed = bearer("x", ADMISSION)
    assert gone(changed, *FINE) == ["x"]
    assert gone(changed) == []
    assert gone(changed, bearer("a", ready=False)) == []
    newer = bearer("x", ADMISSION, made=build.NOW - timedelta(minutes=1))
    assert gone(newer, *FINE) == [], "the next one would be changed as well"


def test_one_goes_after_the_other_half_a_minute_apart() -> None:
    changed = [bearer("x", ADMISSION), bearer("y", ADMISSION), bearer("s", STRAY)]
    newest = bearer("n", made=build.NOW - timedelta(seconds=20))
    found = judged(*changed, newest)
    assert found.actions == ()
    assert found.due == 10
    later = judged(*changed, newest, now=build.NOW + timedelta(seconds=10))
    assert [action.name for action in later.actions] == ["s"]


def test_a_stray_goes_once_another_pod_is_ready_and_one_of_no_traffic_at_once() -> None:
    assert gone(bearer("s", STRAY)) == []
    assert gone(bearer("s", STRAY), bearer("n", ready=False, made=build.NOW)) == []
    assert gone(bearer("s", STRAY), *FINE) == ["s"]
    assert gone(bearer("s", STRAY, revision="candidate"), *FINE) == ["s"]


def test_a_candidates_changed_pods_are_left_to_its_gate() -> None:
    assert gone(bearer("x", ADMISSION, revision="candidate"), bearer("y", EDITED, revision="candidate")) == []


def test_no_more_go_than_are_allowed_and_the_rest_is_told() -> None:
    strangers = [bearer(f"x{number}", STRANGER) for number in range(5)]
    found = judged(*FINE, *strangers, allowed=2)
    assert [action.name for action in found.actions] == ["x0", "x1"]
    assert [one.name for one in found.strangers] == ["x2", "x3", "x4"]
    assert found.due == 7
    assert found.impairment is not None
    assert found.impairment.reason is Reason.FOREIGN_POD
    assert "x2, x3, x4" in found.impairment.message


def test_that_a_changed_pod_serves_is_told_with_how_it_was_changed() -> None:
    alone = judged(bearer("x", ADMISSION), bearer("y", ADMISSION)).impairment
    assert alone is not None
    assert alone.reason is Reason.ACTIVE_POD_TAMPERED
    assert "pod x is not what was promoted: its env is A, and so are 1 more. It goes on serving" in alone.message
    assert judged(bearer("x", ADMISSION, ready=False), *FINE).impairment is None, "it gets no traffic"
    assert judged(bearer("x", ADMISSION), *FINE).impairment is None, "it goes now"


PODS = st.lists(
    st.builds(
        bearer,
        st.sampled_from("abcdefgh"),
        st.sampled_from(Standing),
        ready=st.booleans(),
        made=st.integers(0, 120).map(lambda seconds: build.NOW - timedelta(seconds=seconds)),
        revision=st.sampled_from(["act", "candidate", "old"]),
    ),
    max_size=8,
    unique_by=lambda one: one.name,
)


@given(found=PODS, allowed=st.integers(0, 8))
def test_the_last_ready_pod_as_promoted_never_goes_and_none_faster_than_allowed(found: list[Bearer], allowed: int) -> None:
    result = judged(*found, allowed=allowed)
    names = {action.name for action in result.actions}
    assert len(names) == len(result.actions) <= allowed
    mine = [one for one in found if one.revision == "act"]
    assert not [one for one in mine if one.name in names and one.standing is OWN]
    slow = [one for one in mine if one.name in names and one.standing in (ADMISSION, STRAY)]
    assert len(slow) <= 1
    if slow:
        assert any(one.standing is OWN and one.ready for one in mine)
        assert all(build.NOW - one.made >= PACE for one in mine if one.standing in (OWN, ADMISSION, EDITED))
    assert result.due is None or result.due > 0
    assert {one.name for one in found if one.standing is STRANGER} <= names | {one.name for one in result.strangers}
