"""Events kept in a list."""

from dataclasses import dataclass, field

from lockstep.controller.cluster.ports import Object


@dataclass(frozen=True)
class Posted:
    """One event."""

    regarding: str
    type: str
    reason: str
    action: str
    note: str
    key: str


@dataclass
class FakeEvents:
    """Implements `controller.cluster.ports.Events`."""

    posted: list[Posted] = field(default_factory=list)

    async def post(self, regarding: Object, *, type_: str, reason: str, action: str, note: str, key: str) -> None:
        self.posted.append(Posted(regarding["metadata"]["name"], type_, reason, action, note, key))
