"""Why pods are not ready: what they answer to the question of their readiness probe, asked beside the reconciliations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lockstep.bounded import Bounded
from lockstep.controller.asking.asking import Asking, audit_of
from lockstep.controller.background import Background
from lockstep.controller.cluster.ports import Clock, Object
from lockstep.readiness.port import Auditor

_SECONDS = 5.0
"""Seconds after which a pod that runs and is not ready is asked, and the pause between two such questions."""
_AT_ONCE = 4
_KEPT = 1024


@dataclass
class _Answer:
    text: str
    at: float


class UnreadyPods:
    """Asks pods that run and are not ready. The kubelet says it in an event, and a log goes with its pod."""

    def __init__(self, auditor: Auditor, clock: Clock, background: Background) -> None:
        self._auditor = auditor
        self._clock = clock
        self._background = background
        self._answers: Bounded[str, _Answer] = Bounded(_KEPT)
        """By the pods' uids."""

    def answers(self, asking: Asking, pods: Sequence[Object]) -> Mapping[str, str]:
        """Return what some of the pods answered so far, by their names, and ask them now and then; empty until they have."""
        answers: dict[str, str] = {}
        if asking.elapsed < _SECONDS:
            return answers
        for pod in pods[:_AT_ONCE]:
            uid, name = str(pod["metadata"]["uid"]), str(pod["metadata"]["name"])
            address = str((pod.get("status") or {}).get("podIP") or "")
            answer = self._answers.get(uid)
            if address and (answer is None or self._clock.monotonic() - answer.at >= _SECONDS):
                answer = self._answers[uid] = _Answer(answer.text if answer else "", self._clock.monotonic())
                self._background.start(uid, self._ask(asking, answer, name, address))
            if answer is not None:
                answers[name] = answer.text
        return answers

    async def _ask(self, asking: Asking, answer: _Answer, name: str, address: str) -> None:
        port = asking.snapshot.server.port
        audit = audit_of(asking, pod=name, address=address, port=port, requests=0, within_seconds=_SECONDS)
        before, answer.text = answer.text, await self._auditor.readiness(audit)
        if answer.text != before:
            asking.requeue()
