"""Remembers which servers do not answer, so that what is asked of them next does not wait for them as long again."""

from collections import Counter
from dataclasses import dataclass

from lockstep.api.reasons import Reason
from lockstep.bounded import Bounded
from lockstep.controller.cluster.ports import Clock
from lockstep.gates.evidence import Unknown

QUICK_SECONDS = 0.3
"""A reconciliation waits so long for an answer, where it has reason to think that it comes."""
SLOW_SECONDS = 5.0
"""A failure that came sooner has cost nobody anything: it does not count."""
PAUSE_SECONDS = 30.0
"""After so long one question goes through again, to find out whether the server is back."""
FAILURES = 3
"""So many in a row are taken for the server's silence, not for that of one path on it."""
_KEPT = 4096
_SILENT = (Reason.REGISTRY_UNREACHABLE, Reason.IMAGE_REGISTRY_UNREACHABLE)

ANY = ""
"""In place of a host: whichever the namespace asked last."""

Server = tuple[str, str]
"""Who asks (a namespace), and who is asked (a host with its port).

By namespace, since anybody may name a path that hangs on a server of everybody's: to others that server answers.
"""


@dataclass
class _State:
    failures: int = 0
    said: Unknown | None = None
    """The failure that stands for every answer of a server that is taken to be silent."""
    until: float = 0.0
    probing: bool = False
    slow: bool = False
    """True when it did not answer within `QUICK_SECONDS` the last time."""


class SilentServers:
    """Decides whether a server is worth asking (a circuit breaker: closed, open, and half-open for one question at a time).

    Only what did not come in time counts against a server: a plain no, a status and a refused connection come quickly, and
    are the business of who asked.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._states: Bounded[Server, _State] = Bounded(_KEPT)

    def refusal(self, server: Server) -> Unknown | None:
        """Return the failure that stands for a silent server's answer; None when it may be asked."""
        state = self._states.get(server)
        if state is None or state.said is None:
            return None
        return state.said if state.probing or self._clock.monotonic() < state.until else None

    def record_question(self, server: Server) -> None:
        """Note that a question goes out: until it is answered, a silent server is asked nothing else."""
        if server in self._states:
            self._states[server].probing = True

    def record_answer(self, server: Server, fact: object, seconds: float) -> None:
        """Note an answer and in how many seconds it came."""
        state = self._state(server)
        state.probing = False
        if seconds <= QUICK_SECONDS:
            self._states.pop((server[0], ANY), None)
        if isinstance(fact, Unknown) and fact.reason in _SILENT and seconds >= SLOW_SECONDS:
            state.failures += 1
            if state.failures >= FAILURES:
                state.said, state.until = fact, self._clock.monotonic() + PAUSE_SECONDS
        elif seconds > QUICK_SECONDS:
            state.failures, state.said, state.slow = 0, None, True
        else:
            del self._states[server]

    def record_abandoned(self, server: Server) -> None:
        """Note that nobody waits for an answer any more."""
        if server in self._states:
            self._states[server].probing = False

    def is_slow(self, server: Server) -> bool:
        """Return whether a reconciliation would wait for this server in vain."""
        return server in self._states and self._states[server].slow

    def record_unanswered_wait(self, server: Server) -> None:
        """Note that a reconciliation has gone on without the answer."""
        self._state(server).slow = True
        self._state((server[0], ANY)).slow = True

    def silent(self) -> Counter[Reason]:
        """Count the servers that are taken to be silent, by the reason that stands for their answers."""
        return Counter(state.said.reason for state in self._states.values() if state.said is not None)

    def _state(self, server: Server) -> _State:
        state = self._states.setdefault(server, _State())
        self._states.move_to_end(server)
        return state
