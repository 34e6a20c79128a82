"""Facts on their way: asked once, beside the queue, and told to who waits for them."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Any

from lockstep.api.reasons import Reason
from lockstep.controller.sources.gatherings import Answer, Asked, Gatherings, Question
from lockstep.controller.sources.silence import FAILURES, PAUSE_SECONDS
from lockstep.fairslots import FairSlots
from lockstep.gates.evidence import Fact, Unknown
from tests.fakes.clock import FakeClock

HOST = "registry.example.com"
NOTHING = Unknown(Reason.IMAGE_REGISTRY_UNREACHABLE, f"{HOST} did not answer: nothing within 20 s", retry=True)


def question(
    name: str = "iris",
    namespace: str = "team",
    *,
    generation: int = 1,
    uid: str = "",
    host: str = HOST,
    about: Hashable = "image",
) -> Question:
    return Question(Asked.IMAGE, (namespace, name), uid or f"{namespace}/{name}", generation, host, about)


class Server:
    """Answers when a test says so, or at once."""

    def __init__(self, answer: Answer[str] | Exception, *, at_once: bool = True) -> None:
        self.answer = answer
        self.asked = 0
        self.ended = 0
        self.heard = asyncio.Event()
        """Set when a question has arrived."""
        self.answers = asyncio.Event()
        if at_once:
            self.answers.set()

    async def ask(self) -> Answer[str]:
        self.asked += 1
        self.heard.set()
        try:
            await self.answers.wait()
        finally:
            self.ended += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Reconciliations:
    """Asks as reconciliations do, and counts how often they are woken."""

    def __init__(self, *, total: int = 64, each: int = 4, at_one_place: int | None = None, grace: float = 0.02) -> None:
        self.clock = FakeClock()
        self.took: list[str] = []
        slots = FairSlots(total, each=each, at_one_place=at_one_place)
        self.gatherings = Gatherings(slots, self.clock, took=lambda asked, _: self.took.append(asked), grace=grace)
        self.woken: list[str] = []
        self._woken = asyncio.Event()

    async def reconcile(self, asked: Question, server: Server) -> Fact[str] | None:
        def wake() -> None:
            self.woken.append(asked.key[1])
            self._woken.set()

        return await self.gatherings.get(asked, server.ask, wake)

    async def is_woken(self, times: int = 1) -> None:
        async with asyncio.timeout(10):
            while len(self.woken) < times:
                self._woken.clear()
                await self._woken.wait()

    async def until(self, event: asyncio.Event) -> None:
        async with asyncio.timeout(10):
            await event.wait()


@asynccontextmanager
async def reconciliations(**bounds: Any) -> AsyncIterator[Reconciliations]:
    found = Reconciliations(**bounds)
    try:
        yield found
    finally:
        await found.gatherings.stop()


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


# --- answers ------------------------------------------------------------------------------------------------------------


async def test_what_is_answered_at_once_is_known_in_the_same_reconciliation() -> None:
    async with reconciliations() as found:
        server = Server(Answer("digest"))
        assert await found.reconcile(question(), server) == "digest"
        assert found.woken == []
        assert found.took == ["image"]


async def test_a_reconciliation_goes_on_without_the_answer_and_is_woken_once_when_it_has_come() -> None:
    async with reconciliations() as found:
        server = Server(Answer("digest"), at_once=False)
        assert await found.reconcile(question(), server) is None
        assert await found.reconcile(question(), server) is None, "it joins what is asked already"
        assert server.asked == 1
        server.answers.set()
        await found.is_woken()
        assert await found.reconcile(question(), server) == "digest"
        await settled()
        assert found.woken == ["iris"]
        assert server.asked == 1


async def test_an_answer_that_is_not_fresh_is_for_one_reconciliation() -> None:
    async with reconciliations() as found:
        server = Server(Answer("digest"))
        await found.reconcile(question(), server)
        await found.reconcile(question(), server)
        assert server.asked == 2


async def test_a_fresh_answer_is_for_every_reconciliation_and_no_longer() -> None:
    async with reconciliations() as found:
        server = Server(Answer("digest", fresh=30.0))
        await found.reconcile(question(), server)
        found.clock.advance(29)
        assert await found.reconcile(question(), server) == "digest"
        assert server.asked == 1
        server.answers.clear()
        found.clock.advance(2)
        assert await found.reconcile(question(), server) is None, "what is no longer fresh is no answer"
        assert server.asked == 2


async def test_an_answer_that_nobody_came_for_is_not_used_later() -> None:
    async with reconciliations() as found:
        server = Server(Answer("digest"), at_once=False)
        await found.reconcile(question(), server)
        server.answers.set()
        await found.is_woken()
        found.clock.advance(31)
        server.answer = Answer("other")
        assert await found.reconcile(question(), server) == "other"


async def test_a_failure_is_the_answer_while_it_is_asked_anew_and_the_same_again_wakes_nobody() -> None:
    async with reconciliations() as found:
        server = Server(Answer.of(NOTHING))
        assert await found.reconcile(question(), server) == NOTHING
        server.answers.clear()
        server.heard.clear()
        assert await found.reconcile(question(), server) == NOTHING
        await found.until(server.heard)
        server.answers.set()
        await settled()
        assert found.woken == []
        server.answers.clear()
        assert await found.reconcile(question(), server) == NOTHING
        server.answer = Answer("digest")
        server.answers.set()
        await found.is_woken()
        assert await found.reconcile(question(), server) == "digest"


async def test_a_defect_of_ours_is_unknown_and_tried_again() -> None:
    async with reconciliations() as found:
        server = Server(ZeroDivisionError("secret"))
        fact = await found.reconcile(question(), server)
        assert isinstance(fact, Unknown)
        assert (fact.reason, fact.retry) == (Reason.INTERNAL_ERROR, True)
        assert "secret" not in fact.message
        server.answer = Answer("digest")
        assert await found.reconcile(question(), server) == "digest"


# --- whose question it is -----------------------------------------------------------------------------------------------


async def test_nobody_gets_the_answer_to_another_question() -> None:
    async with reconciliations() as found:
        first = Server(Answer("ours", fresh=30.0))
        await found.reconcile(question(), first)
        for other in (
            question(about="other credentials"),
            question(namespace="others"),
            question("fraud"),
            question(generation=2),
            question(generation=2, uid="made anew under the same name"),
        ):
            assert await found.reconcile(other, Server(Answer("theirs", fresh=30.0))) == "theirs"


async def test_another_spec_gives_up_what_the_one_before_asked() -> None:
    async with reconciliations(each=1) as found:
        old, new = Server(Answer("old"), at_once=False), Server(Answer("new"))
        await found.reconcile(question(), old)
        assert await found.reconcile(question(generation=2), new) == "new", "it does not wait for the old one's slot"
        assert old.ended == 1
        assert found.woken == []


async def test_what_is_gone_gives_up_its_questions_and_its_turns() -> None:
    async with reconciliations(each=1) as found:
        silent = Server(Answer("x"), at_once=False)
        for number in range(20):
            await found.reconcile(question(f"gone-{number}", host="silent"), silent)
        for number in range(20):
            found.gatherings.forget(("team", f"gone-{number}"))
        assert await found.reconcile(question(), Server(Answer("digest"))) == "digest"
        assert (silent.asked, silent.ended) == (1, 1)


async def test_stopping_ends_what_runs_and_what_waits() -> None:
    async with reconciliations(each=1) as found:
        server = Server(Answer("digest"), at_once=False)
        for number in range(3):
            await found.reconcile(question(f"iris-{number}"), server)
        assert found.gatherings.running() == {Asked.IMAGE: 1}
        assert found.gatherings.waiting() == {Asked.IMAGE: 2}
        await found.gatherings.stop()
        assert (server.asked, server.ended) == (1, 1)
        assert found.woken == []


# --- bounds -------------------------------------------------------------------------------------------------------------


async def test_a_namespace_whose_servers_are_silent_keeps_nobody_waiting() -> None:
    async with reconciliations(total=8, each=4) as found:
        silent = Server(Answer("x"), at_once=False)
        for number in range(100):
            # A host for each, so that none of them is known to be silent.
            await found.reconcile(question(f"noisy-{number}", "noisy", host=f"host-{number}"), silent)
        assert silent.asked == 4
        assert await found.reconcile(question(), Server(Answer("digest"))) == "digest"


async def test_a_server_is_asked_a_bounded_number_of_questions_at_a_time() -> None:
    async with reconciliations(total=64, each=4, at_one_place=8) as found:
        server = Server(Answer("digest"), at_once=False)
        for number in range(30):
            await found.reconcile(question(f"iris-{number}", f"team-{number % 10}"), server)
        assert server.asked == 8
        server.answers.set()
        await found.is_woken(30)
        assert server.asked == 30


# --- silent servers -----------------------------------------------------------------------------------------------------


async def slow(found: Reconciliations, server: Server, *names: str) -> None:
    """Ask for some objects a server that answers late."""
    server.answers.clear()
    for name in names:
        await found.reconcile(question(name), server)
    found.clock.advance(20)
    before = len(found.woken)
    server.answers.set()
    await found.is_woken(before + len(names))


async def test_who_waits_for_a_silent_server_gets_its_answer_without_asking() -> None:
    async with reconciliations(each=FAILURES) as found:
        server = Server(Answer.of(NOTHING), at_once=False)
        names = [f"iris-{number}" for number in range(40)]
        await slow(found, server, *names)
        assert server.asked == FAILURES
        assert found.woken == names
        for name in names:
            assert await found.reconcile(question(name), server) == NOTHING
        assert await found.reconcile(question("later"), server) == NOTHING
        assert server.asked == FAILURES
        assert found.gatherings.silent() == {Reason.IMAGE_REGISTRY_UNREACHABLE: 1}


async def test_a_silent_server_is_asked_by_one_now_and_then_and_by_all_when_it_is_back() -> None:
    async with reconciliations() as found:
        server = Server(Answer.of(NOTHING), at_once=False)
        await slow(found, server, *(f"iris-{number}" for number in range(FAILURES)))
        found.clock.advance(PAUSE_SECONDS)
        server.answers.clear()
        asked = server.asked
        assert await found.reconcile(question("probe"), server) is None
        assert await found.reconcile(question("other"), server) == NOTHING
        assert server.asked == asked + 1
        server.answer = Answer("digest")
        server.answers.set()
        await settled()
        assert await found.reconcile(question("other"), server) == "digest"


async def test_what_another_namespace_hears_of_a_server_counts_for_nobody_else() -> None:
    async with reconciliations() as found:
        server = Server(Answer.of(NOTHING), at_once=False)
        await slow(found, server, *(f"iris-{number}" for number in range(FAILURES)))
        assert await found.reconcile(question(namespace="others"), Server(Answer("digest"))) == "digest"
