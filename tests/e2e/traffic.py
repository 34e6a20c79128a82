"""A continuous request load from clients with and without keep-alive, and what became of each request."""

import http.client
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.cluster.wait import until

_BODY = b'{"inputs": [1.0]}'
_HEADERS = {"Content-Type": "application/json"}


@dataclass
class Traffic:
    """Asks a Service for predictions until it is stopped. Bounded: a few clients, a pause between requests."""

    address: str
    port: int = 80
    clients: int = 2
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    _last: dict[str, int] = field(default_factory=dict)
    """By answer, how many there had been when it came last."""

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(keep_alive,), daemon=True)
            for keep_alive in (True, False)
            for _ in range(self.clients)
        ]

    def __enter__(self) -> "Traffic":
        # A Service that was made this very moment is unknown to the node's proxy for a second: the load begins with the
        # first answer, and from then on every request counts.
        until(self._answers, 30, f"the Service at {self.address} answers")
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=15)

    def _answers(self) -> bool:
        try:
            connection = http.client.HTTPConnection(self.address, self.port, timeout=1)
            connection.request("POST", "/invocations", _BODY, _HEADERS)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False

    def _ask(self, keep_alive: bool) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._stop.wait(0.02):
            try:
                if connection is None or not keep_alive:
                    connection = http.client.HTTPConnection(self.address, self.port, timeout=10)
                connection.request("POST", "/invocations", _BODY, _HEADERS)
                response = connection.getresponse()
                body = response.read().decode()
                if response.status != 200:
                    self.failures.append(f"{response.status} {body}")
                self.answers[body] += 1
                self._last[body] = self.answers.total()
                if not keep_alive or response.will_close:
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                kind = "kept alive" if keep_alive else "new"
                asked = "while connecting" if connection is None or connection.sock is None else "while asking"
                now = time.strftime("%H:%M:%S")
                self.failures.append(f"{now} {kind} {asked}: {type(error).__name__}: {error}")
                connection = None

    def answers_without(self, answer: str) -> int:
        """Return how many answers there were since an answer came last."""
        return self.answers.total() - self._last.get(answer, 0)

    def saw(self, text: str) -> bool:
        """Return whether an answer holds a text."""
        return any(text in answer for answer in self.answers)
