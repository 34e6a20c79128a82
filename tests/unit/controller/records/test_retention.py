"""Which PromotionRecords may go: never one that vouches, and of the rest the oldest of whoever has most."""

from datetime import timedelta

import pytest

from lockstep.api.records import RecordOutcome
from lockstep.controller.records.refusals import Rate, Refusals
from lockstep.controller.records.retention import Kept, Needed, Retention, superfluous
from lockstep.rollout.objects import labels
from tests.fakes import builders as build

NOW = build.NOW
FEW = Retention(promotions=3, promotion_days=100, refusals=3, refusal_days=10, refusals_per_deployment=2)
ALIVE = Needed(owners=frozenset({"u"}))


def record(number: int, *, days: float = 1, owner: str = "u", namespace: str = "team", refused: bool = False) -> Kept:
    """Return a record; the higher the number, the older."""
    created = NOW - timedelta(days=days, minutes=number)
    return Kept(f"iris-r{number}-x", f"id-{number}", created, owner, namespace, f"r{number}", refused)


def gone(records: list[Kept], needed: Needed = ALIVE, retention: Retention = FEW) -> list[str]:
    return [one.revision for one in superfluous(records, needed, retention, NOW)]


def test_the_newest_promotions_of_what_lives_are_kept_however_old_and_many_others_there_are() -> None:
    records = [record(number, days=400) for number in range(5)]
    assert gone(records) == ["r4", "r3"]
    assert gone(records, Needed()) == ["r4", "r3", "r2", "r1", "r0"], "of what is gone age alone decides"


def test_what_a_status_or_a_snapshot_names_is_kept() -> None:
    records = [record(number, days=400) for number in range(8)]
    needed = Needed(frozenset({"u"}), frozenset({"iris-r7-x"}), frozenset({"r5"}))
    assert gone(records, needed) == ["r6", "r4", "r3"]


def test_what_was_recorded_a_moment_ago_may_be_about_to_be_needed() -> None:
    young = [Kept(f"n{n}", "i", NOW - timedelta(minutes=n), "gone", "team", f"r{n}") for n in range(70)]
    assert gone(young) == [f"r{n}" for n in range(69, 62, -1)]
    assert gone(young, retention=Retention(promotions=1)) == [f"r{n}" for n in range(69, 60, -1)]


def test_the_newest_refusals_of_each_are_kept_and_the_rest_by_age_and_number() -> None:
    records = [record(number, refused=True) for number in range(8)]
    assert gone(records) == ["r7", "r6", "r5"]
    assert gone([record(number, days=20, refused=True) for number in range(4)]) == ["r3", "r2"]
    assert gone([record(0, days=20, refused=True, owner="gone")]) == ["r0"]


def test_refusals_never_push_out_promotions() -> None:
    promotions = [record(number, owner="gone") for number in range(3)]
    assert gone([*promotions, *(record(n, refused=True, owner="gone") for n in range(100, 120))]) == [
        f"r{number}" for number in range(119, 102, -1)
    ]


def test_who_floods_loses_its_own_records_first() -> None:
    flood = [record(n, namespace="evil", owner=f"e{n}", refused=True) for n in range(50)]
    others = [record(n + 100, namespace="team", owner="t", refused=True) for n in range(2)]
    deleted = superfluous([*flood, *others], Needed(), Retention(refusals=10), NOW)
    assert {one.namespace for one in deleted} == {"evil"}
    assert len(deleted) == 42


def test_a_record_of_an_older_version_is_kept_as_a_promotion_is() -> None:
    metadata = {"name": "my-iris-abc123-d00d", "uid": "i", "creationTimestamp": "2026-11-20T12:00:00Z"}
    old = Kept.of({"metadata": metadata | {"labels": {labels.UID: "u", labels.INSTANCE: "my-iris"}}})
    assert (old.refused, old.revision, old.owner) == (False, "abc123", "u")
    marked = Kept.of({"metadata": metadata | {"labels": {labels.OUTCOME: RecordOutcome.REFUSED, labels.NAMESPACE: "team"}}})
    assert (marked.refused, marked.namespace) == (True, "team")
    assert Kept.of({"metadata": metadata | {"labels": {labels.OUTCOME: RecordOutcome.PROMOTED}}}).refused is False


def test_a_hundred_thousand_records_are_judged_in_a_moment() -> None:
    records = [record(n, namespace=f"n{n % 100}", owner=f"o{n % 1000}", refused=n % 2 == 0) for n in range(100_000)]
    kept = 100_000 - len(superfluous(records, Needed(), Retention(promotion_days=36_500, refusal_days=36_500), NOW))
    assert kept == 3000


@pytest.mark.parametrize(("uids", "permitted"), [(["u"] * 20, 3), ([f"u{n}" for n in range(20)], 5)])
def test_refusals_are_recorded_so_many_at_once(uids: list[str], permitted: int) -> None:
    refusals = Refusals(Rate(3, 600), Rate(5, 60))
    assert sum(refusals.permit(uid, "team", NOW) for uid in uids) == permitted
    assert refusals.permit("another", "elsewhere", NOW), "another namespace has its own"


def test_with_time_more_refusals_are_recorded_but_never_more_at_once() -> None:
    refusals = Refusals(Rate(2, 600), Rate(100, 1))
    assert [refusals.permit("u", "team", NOW) for _ in range(3)] == [True, True, False]
    later = NOW + timedelta(seconds=601)
    assert [refusals.permit("u", "team", later) for _ in range(2)] == [True, False]
    much_later = NOW + timedelta(days=30)
    assert [refusals.permit("u", "team", much_later) for _ in range(3)] == [True, True, False]
    assert refusals.permit("u", "team", NOW) is False, "a clock that goes back gives nothing"
