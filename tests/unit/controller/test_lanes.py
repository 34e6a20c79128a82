"""Keys that wait for a reconciliation."""

from lockstep.controller.lanes import FairQueue

NOISY = [("noisy", f"iris-{number}") for number in range(200)]
QUIET = ("quiet", "iris")


def test_namespaces_take_turns() -> None:
    queue = FairQueue()
    for key in [*NOISY, QUIET, ("quiet", "fraud"), ("third", "iris")]:
        queue.push(key, 0.0)
    taken = [queue.pop() for _ in range(6)]
    assert taken == [NOISY[0], QUIET, ("third", "iris"), NOISY[1], ("quiet", "fraud"), NOISY[2]]


def test_who_comes_back_after_a_turn_goes_to_the_end() -> None:
    queue = FairQueue()
    for key in [QUIET, *NOISY[:3]]:
        queue.push(key, 0.0)
    assert queue.pop() == QUIET
    queue.push(QUIET, 0.0)
    assert [queue.pop(), queue.pop(), queue.pop()] == [NOISY[0], QUIET, NOISY[1]]


def test_a_key_that_waits_keeps_its_place_and_its_time() -> None:
    queue = FairQueue()
    queue.push(NOISY[0], 1.0)
    queue.push(NOISY[1], 2.0)
    queue.push(NOISY[0], 3.0)
    assert (len(queue), queue.oldest()) == (2, 1.0)
    assert [queue.pop(), queue.pop(), queue.pop()] == [NOISY[0], NOISY[1], None]
    assert queue.oldest() is None


def test_a_key_can_be_taken_out() -> None:
    queue = FairQueue()
    queue.push(QUIET, 5.0)
    assert QUIET in queue
    assert (queue.remove(QUIET), queue.remove(QUIET)) == (5.0, None)
    assert QUIET not in queue
    assert (len(queue), queue.pop()) == (0, None)
