"""Which servers do not answer: remembered by namespace, tried again now and then."""

import pytest

from lockstep.api.reasons import Reason
from lockstep.controller.sources.silence import FAILURES, PAUSE_SECONDS, QUICK_SECONDS, SLOW_SECONDS, Server, SilentServers
from lockstep.gates.evidence import Unknown
from tests.fakes.clock import FakeClock

OURS: Server = ("team", "registry.example.com")
THEIRS: Server = ("others", "registry.example.com")
NOTHING = Unknown(Reason.IMAGE_REGISTRY_UNREACHABLE, "registry.example.com did not answer: nothing within 20 s", retry=True)


class Known:
    """Servers, and what a test hears of them."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.servers = SilentServers(self.clock)

    def hear(self, fact: object, *, times: int = 1, seconds: float = 20.0, server: Server = OURS) -> None:
        for _ in range(times):
            self.servers.record_question(server)
            self.servers.record_answer(server, fact, seconds)


def test_a_server_that_is_silent_some_times_in_a_row_is_not_asked_for_a_while() -> None:
    known = Known()
    known.hear(NOTHING, times=FAILURES - 1)
    assert known.servers.refusal(OURS) is None
    known.hear(NOTHING)
    assert known.servers.refusal(OURS) == NOTHING, "what was found out is the answer, word by word"
    assert known.servers.silent() == {Reason.IMAGE_REGISTRY_UNREACHABLE: 1}


def test_an_answer_in_between_shows_that_it_was_one_path_only() -> None:
    known = Known()
    for _ in range(5):
        known.hear(NOTHING, times=FAILURES - 1)
        known.hear("an answer", seconds=0.1)
    assert known.servers.refusal(OURS) is None


def test_one_question_at_a_time_finds_out_whether_it_is_back() -> None:
    known = Known()
    known.hear(NOTHING, times=FAILURES)
    known.clock.advance(PAUSE_SECONDS)
    assert known.servers.refusal(OURS) is None
    known.servers.record_question(OURS)
    assert known.servers.refusal(OURS) == NOTHING, "the others wait for what comes of it"
    known.servers.record_answer(OURS, NOTHING, 20.0)
    assert known.servers.refusal(OURS) == NOTHING, "and for the next one"
    known.clock.advance(PAUSE_SECONDS)
    known.hear("an answer", seconds=0.1)
    assert known.servers.refusal(OURS) is None
    assert not known.servers.silent()


def test_a_probe_that_is_given_up_makes_room_for_another() -> None:
    known = Known()
    known.hear(NOTHING, times=FAILURES)
    known.clock.advance(PAUSE_SECONDS)
    known.servers.record_question(OURS)
    known.servers.record_abandoned(OURS)
    assert known.servers.refusal(OURS) is None


def test_what_one_namespace_names_makes_a_server_silent_to_nobody_else() -> None:
    known = Known()
    known.hear(NOTHING, times=50)
    assert known.servers.refusal(THEIRS) is None
    assert not known.servers.is_slow(THEIRS)


@pytest.mark.parametrize(
    ("fact", "seconds"),
    [
        (Unknown(Reason.IMAGE_UNAUTHORIZED, "wrong credentials", retry=False), 20.0),
        (Unknown(Reason.PULL_SECRET_INVALID, "the pull secrets could not be read", retry=True), 20.0),
        (Unknown(Reason.IMAGE_REGISTRY_RATE_LIMITED, "slow down", retry=True), 20.0),
        (Unknown(Reason.IMAGE_REGISTRY_UNREACHABLE, "status 500", retry=True), SLOW_SECONDS / 2),
        (Unknown(Reason.REGISTRY_UNREACHABLE, "connection refused", retry=True), 0.01),
    ],
    ids=["credentials", "pull secrets", "too many requests", "a status", "a refused connection"],
)
def test_only_what_did_not_come_in_time_counts_against_a_server(fact: Unknown, seconds: float) -> None:
    known = Known()
    known.hear(fact, times=50, seconds=seconds)
    assert known.servers.refusal(OURS) is None


def test_a_reconciliation_does_not_wait_again_for_who_was_slow_the_last_time() -> None:
    known = Known()
    known.servers.record_unanswered_wait(OURS)
    assert known.servers.is_slow(OURS)
    known.hear("an answer", seconds=QUICK_SECONDS * 2)
    assert known.servers.is_slow(OURS)
    known.hear("an answer", seconds=QUICK_SECONDS / 2)
    assert not known.servers.is_slow(OURS)


def test_what_is_remembered_is_bounded() -> None:
    known = Known()
    for number in range(10_000):
        known.servers.record_unanswered_wait(("team", f"host-{number}"))
    assert not known.servers.is_slow(("team", "host-0"))
    assert known.servers.is_slow(("team", "host-9999"))
