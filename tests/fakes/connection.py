"""Connections to the cluster in memory, which break when a test says so."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lockstep.controller.cluster.ports import POD, DeposedError, Kind, Object, UnavailableError
from tests.fakes.cluster import FakeCluster, Write


class KilledError(BaseException):
    """The operator's process is gone (kill -9): nothing in it goes on."""


@dataclass(frozen=True)
class Kill:
    """Kill the process at its n-th write (from 0), before or after the API server has carried it out."""

    write: int
    after: bool
    only_answer: bool = False
    """Lose nothing but the answer: the process lives on and sees no answer from the API server."""


class Connection:
    """One operator process's way to the API server; implements `Cluster`."""

    def __init__(
        self, cluster: FakeCluster, *, fence: Callable[[], float] = lambda: float("inf"), kill: Kill | None = None
    ) -> None:
        self._cluster = cluster
        self._fence = fence
        self._kill = kill
        self.writes: list[Write] = []
        self.failed = False
        """True when something was lost at the write that was to be."""
        self.dead = False
        self.down = False

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Object | None:
        self._live()
        return await self._cluster.get(kind, namespace, name)

    async def list(self, kind: Kind, namespace: str | None, *, labels: Mapping[str, str] | None = None) -> Sequence[Object]:
        self._live()
        return await self._cluster.list(kind, namespace, labels=labels)

    async def list_metadata(
        self, kind: Kind, namespace: str | None, *, labels: Mapping[str, str] | None = None
    ) -> Sequence[Object]:
        self._live()
        return await self._cluster.list_metadata(kind, namespace, labels=labels)

    async def create(self, kind: Kind, namespace: str | None, body: Object) -> Object:
        for _ in self._writing("create", kind, body["metadata"]["name"]):
            made = await self._cluster.create(kind, namespace, body)
        return made

    async def apply(self, kind: Kind, namespace: str | None, body: Object, *, resource_version: str) -> Object:
        for _ in self._writing("apply", kind, body["metadata"]["name"]):
            made = await self._cluster.apply(kind, namespace, body, resource_version=resource_version)
        return made

    async def replace(self, kind: Kind, namespace: str | None, body: Object, *, resource_version: str) -> Object:
        for _ in self._writing("replace", kind, body["metadata"]["name"]):
            made = await self._cluster.replace(kind, namespace, body, resource_version=resource_version)
        return made

    async def patch_status(
        self, kind: Kind, namespace: str | None, name: str, status: Object, *, resource_version: str
    ) -> Object:
        for _ in self._writing("patch_status", kind, name):
            made = await self._cluster.patch_status(kind, namespace, name, status, resource_version=resource_version)
        return made

    async def scale(self, kind: Kind, namespace: str, name: str, replicas: int) -> None:
        for _ in self._writing("scale", kind, name):
            await self._cluster.scale(kind, namespace, name, replicas)

    async def add_ephemeral_container(self, namespace: str, pod: Object, container: Object) -> None:
        for _ in self._writing("add_ephemeral_container", POD, pod["metadata"]["name"]):
            await self._cluster.add_ephemeral_container(namespace, pod, container)

    async def read_log(self, namespace: str, pod: str, container: str, limit: int) -> bytes:
        self._live()
        return await self._cluster.read_log(namespace, pod, container, limit)

    async def delete(self, kind: Kind, namespace: str | None, name: str, *, uid: str | None = None) -> None:
        for _ in self._writing("delete", kind, name):
            await self._cluster.delete(kind, namespace, name, uid=uid)

    def _live(self) -> None:
        if self.dead:
            raise KilledError
        if self.down:
            raise UnavailableError("the API server did not answer")

    def _writing(self, verb: str, kind: Kind, name: str) -> Iterator[None]:
        """Yield once, and die before or after that when it is time."""
        self._live()
        if self._fence() <= 0:
            raise DeposedError("the Lease is not held for sure")
        turn = len(self.writes)
        self._die_at(turn, after=False)
        self.writes.append(Write(verb, kind.kind, name))
        yield
        self._die_at(turn, after=True)

    def _die_at(self, turn: int, *, after: bool) -> None:
        if self._kill is None or (self._kill.write, self._kill.after) != (turn, after):
            return
        self.failed = True
        if self._kill.only_answer:
            self._kill = None
            raise UnavailableError("the API server did not answer")
        self.dead = True
        raise KilledError
