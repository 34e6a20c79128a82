"""A dictionary of bounded size."""

from lockstep.bounded import Bounded


def test_the_entries_that_were_set_last_stay() -> None:
    kept: Bounded[str, int] = Bounded(2)
    for name, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        kept[name] = value
    assert dict(kept) == {"a": 3, "c": 4}


def test_what_is_set_by_default_is_bounded_too_and_what_is_there_stays_as_it_is() -> None:
    kept: Bounded[int, int] = Bounded(3)
    for number in range(10):
        assert kept.setdefault(number, number) == number
    assert list(kept) == [7, 8, 9]
    assert kept.setdefault(8, 0) == 8


def test_what_is_moved_to_the_end_is_forgotten_last() -> None:
    kept: Bounded[str, int] = Bounded(2)
    kept["a"], kept["b"] = 1, 2
    kept.move_to_end("a")
    kept["c"] = 3
    assert list(kept) == ["a", "c"]
