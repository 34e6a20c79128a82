"""Facts that strangers' servers are asked for, beside the queue: no reconciliation waits for who does not answer.

A reconciliation asks its question and waits a moment for the answer. Where that does not come it goes on without it ("not known
yet"), and its key is woken once it has come. This is the place for every fact that a server has to be asked for which is
neither the API server nor ours: see `Gatherer` for how one is asked.
"""

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

from lockstep.api.modeldeployment import ModelDeployment
from lockstep.api.reasons import Reason
from lockstep.controller.cluster.ports import Clock
from lockstep.controller.lanes import Key
from lockstep.controller.sources.silence import ANY, QUICK_SECONDS, Server, SilentServers
from lockstep.fairslots import FairSlots
from lockstep.gates.evidence import Fact, Unknown

T = TypeVar("T")
_KEPT = 1024
"""Objects whose answers are kept."""
_UNSEEN_SECONDS = 30.0
"""An answer that came when no reconciliation waited for it counts for so long."""
_log = logging.getLogger(__name__)


class Asked(StrEnum):
    """What is asked for; a label of metrics."""

    LINEAGE = "lineage"
    IMAGE = "image"
    SIGNATURES = "signatures"


@dataclass(frozen=True)
class Question:
    """One question of one object. Equal questions are asked once at a time."""

    asked: Asked
    key: Key
    uid: str
    """Of the ModelDeployment: nobody gets an answer to somebody else's question."""
    generation: int
    """Another spec is a new question, whatever was answered a moment ago; what the one before asked is given up."""
    host: str
    """Who is asked, with the port where one is named."""
    about: Hashable
    """Everything else that the answer depends on: policy hash, names of credentials, reference."""

    @property
    def server(self) -> Server:
        """Who is asked, on whose behalf."""
        return self.key[0], self.host


def question_of(asked: Asked, owner: ModelDeployment, host: str, about: Hashable) -> Question:
    """Return the question of an object as it is now."""
    return Question(asked, (owner.namespace, owner.name), owner.uid, owner.generation, host, about)


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What came of a question."""

    fact: Fact[T]
    fresh: float = 0.0
    """Seconds for which it answers every reconciliation; without them, only the next one."""
    failed: bool = False
    """True when it stays the answer while the question is asked anew, so that a status does not flap."""

    @classmethod
    def of(cls, fact: Fact[T], *, fresh: float = 0.0) -> "Answer[T]":
        """Return what a fact answers. What could not be had is never fresh."""
        failed = isinstance(fact, Unknown)
        return cls(fact, 0.0 if failed else fresh, failed)


@dataclass
class _Pending:
    """The state of one question."""

    answer: Answer[Any] | None = None
    at: float = 0.0
    seen: bool = False
    """True when a reconciliation has had the answer."""
    task: asyncio.Task[None] | None = None
    is_asked: bool = False
    """True while the server is being asked, and no longer waits for its turn."""
    wake: Callable[[], None] | None = None
    """Of a reconciliation that went on without the answer."""
    went_on_with: Answer[Any] | None = None
    """The failure before, which that reconciliation took for the answer."""


@dataclass
class _Object:
    uid: str
    generation: int
    questions: dict[Question, _Pending] = field(default_factory=dict)

    def on_their_way(self) -> list[Question]:
        return [question for question, pending in self.questions.items() if pending.task is not None]

    def give_up(self) -> None:
        for pending in self.questions.values():
            if pending.task is not None:
                pending.task.cancel()


class Gatherings:
    """Asks questions in the background: a bounded number at a time, namespaces in turns, silent servers seldom."""

    def __init__(
        self,
        slots: FairSlots,
        clock: Clock,
        *,
        took: Callable[[str, float], None] = lambda asked, seconds: None,
        grace: float = QUICK_SECONDS,
    ) -> None:
        """Ask as `slots` let it.

        Args:
            slots: who waits for whom.
            clock: the time.
            took: is called for each answer with what was asked and in how many seconds the answer came.
            grace: seconds for which a reconciliation waits for an answer.
        """
        self._slots = slots
        self._clock = clock
        self._took = took
        self._grace = grace
        self._servers = SilentServers(clock)
        self._objects: OrderedDict[Key, _Object] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: Counter[Asked] = Counter()

    async def get(
        self, question: Question, gather: Callable[[], Awaitable[Answer[T]]], wake: Callable[[], None]
    ) -> Fact[T] | None:
        """Return the answer; None while it is on its way, and `wake` is called once when it has come.

        Args:
            question: what is asked. Its answer is fresh for as long as `gather` said; then it is asked anew.
            gather: asks. It has deadlines of its own; what it raises is an InternalError, tried again.
            wake: requeues the object.
        """
        pending = self._pending(question)
        if (known := self._current_answer(pending)) is not None:
            return known.fact
        if pending.task is None:
            if (silent := self._servers.refusal(question.server)) is not None:
                return silent
            pending.task = self._start(self._run(question, pending, gather))
        await self._wait(question, pending)
        if (known := self._current_answer(pending)) is not None:
            return known.fact
        before = pending.answer
        pending.wake = wake
        pending.went_on_with = before if before is not None and before.failed else None
        return pending.went_on_with.fact if pending.went_on_with is not None else None

    async def _wait(self, question: Question, pending: _Pending) -> None:
        """Wait for an answer as long as there is reason to think that it comes at once."""
        assert pending.task is not None
        await asyncio.wait((pending.task,), timeout=self._grace / 4)
        if pending.task is None:
            return
        # While it waits for its turn, it waits for the other servers of its namespace.
        host = question.host if pending.is_asked else ANY
        if not self._servers.is_slow((question.server[0], host)):
            await asyncio.wait((pending.task,), timeout=self._grace * 3 / 4)
        if pending.task is not None and pending.is_asked:
            self._servers.record_unanswered_wait(question.server)

    def forget(self, key: Key) -> None:
        """Give up what is asked for an object, and forget what was answered: it is gone."""
        if (found := self._objects.pop(key, None)) is not None:
            found.give_up()

    async def stop(self) -> None:
        """End what still runs."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def running(self) -> Counter[Asked]:
        """Count the questions that servers are being asked."""
        return +self._running

    def waiting(self) -> Counter[Asked]:
        """Count the questions that wait for their turn."""
        pending = (question.asked for found in self._objects.values() for question in found.on_their_way())
        return Counter(pending) - self._running

    def silent(self) -> Counter[Reason]:
        """Count the servers that are taken to be silent, by the reason that stands for their answers."""
        return self._servers.silent()

    def _start(self, running: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(running)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _pending(self, question: Question) -> _Pending:
        key, state = question.key, self._objects.get(question.key)
        if state is None or (state.uid, state.generation) != (question.uid, question.generation):
            self.forget(key)
            state = self._objects[key] = _Object(question.uid, question.generation)
        self._objects.move_to_end(key)
        if len(self._objects) > _KEPT:
            idle = next(
                (other_key for other_key, other in self._objects.items() if other is not state and not other.on_their_way()),
                None,
            )
            if idle is not None:
                del self._objects[idle]
        return state.questions.setdefault(question, _Pending())

    def _current_answer(self, pending: _Pending) -> Answer[Any] | None:
        """Return the answer where it is fresh, or where no reconciliation has seen it."""
        answer, age = pending.answer, self._clock.monotonic() - pending.at
        if answer is None or age >= (answer.fresh if pending.seen else max(answer.fresh, _UNSEEN_SECONDS)):
            return None
        pending.seen = True
        return answer

    async def _run(self, question: Question, pending: _Pending, gather: Callable[[], Awaitable[Answer[T]]]) -> None:
        async with self._slots.held(*question.server):
            # The server may have been found silent while this question waited for its turn.
            silent = self._servers.refusal(question.server)
            pending.is_asked = silent is None
            answer = Answer.of(silent) if silent is not None else await self._ask(question, gather)
        pending.answer, pending.at, pending.task, pending.is_asked = answer, self._clock.monotonic(), None, False
        wake, pending.wake = pending.wake, None
        # Who went on with the same answer has seen it.
        pending.seen = wake is not None and answer == pending.went_on_with
        if wake is not None and not pending.seen:
            wake()

    async def _ask(self, question: Question, gather: Callable[[], Awaitable[Answer[T]]]) -> Answer[T]:
        began, answer = self._clock.monotonic(), None
        self._servers.record_question(question.server)
        self._running[question.asked] += 1
        try:
            answer = await gather()
        except Exception:
            _log.exception("%s/%s: the %s could not be asked for", *question.key, question.asked)
            message = f"Lockstep failed to ask ({question.asked}); the operator's log has the cause"
            answer = Answer.of(Unknown(Reason.INTERNAL_ERROR, message, retry=True))
        finally:
            self._running[question.asked] -= 1
            if answer is None:
                self._servers.record_abandoned(question.server)
        seconds = self._clock.monotonic() - began
        self._servers.record_answer(question.server, answer.fact, seconds)
        self._took(question.asked, seconds)
        return answer
