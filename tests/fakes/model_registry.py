"""A model registry in memory: versions with their files, aliases, and outages on demand."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from lockstep.api.reasons import Reason
from lockstep.formats.canonical import sha256_of
from lockstep.lineage.lineage import Lineage, LineageError, Place
from tests.fakes import builders as build


@dataclass
class FakeModelRegistry:
    """Implements `lineage.ModelRegistry`, and `gathering.asking.Registries` with itself behind every address."""

    versions: dict[tuple[str, str], Lineage] = field(default_factory=dict)
    aliases: dict[tuple[str, str], str] = field(default_factory=dict)
    contents: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """The files by path, by where they are."""
    down: bool = False
    asked: int = 0
    held: asyncio.Event | None = None
    """Set by a test to a registry that takes every question and answers none until the event is set."""
    read: list[str] = field(default_factory=list)
    """The files that were read as a whole, in order."""
    gate: asyncio.Event | None = None
    """Where a test sets one, no file comes before it is set."""
    broken: set[str] = field(default_factory=set)
    """Files that can't be read."""
    refuses: LineageError | None = None
    """What the list of files is answered with."""

    def at(self, tracking_uri: str) -> "FakeModelRegistry":
        return self

    def put(self, lineage: Lineage) -> None:
        self.versions[lineage.name, lineage.version] = lineage
        if lineage.place is not None:
            self.contents[lineage.place.uri] = build.contents(lineage)

    async def lineage(self, *, name: str, version: str | None = None, alias: str | None = None) -> Lineage:
        self.asked += 1
        if self.held is not None:
            await self.held.wait()
        self._check()
        if alias is not None:
            version = self.aliases.get((name, alias))
            if version is None:
                raise LineageError(Reason.ALIAS_NOT_FOUND, f"{name} has no alias {alias}")
        found = self.versions.get((name, version or ""))
        if found is None:
            raise LineageError(Reason.VERSION_NOT_FOUND, f"{name} has no version {version}")
        return replace(found, alias=alias)

    async def files(self, place: Place) -> Mapping[str, int]:
        self._check()
        if self.refuses is not None:
            raise self.refuses
        return {path: len(body) for path, body in self.contents[place.uri].items()}

    async def digest(self, place: Place, path: str, took: Callable[[int], None]) -> tuple[str, int]:
        if self.gate is not None:
            await self.gate.wait()
        self._check()
        if path in self.broken:
            raise LineageError(Reason.REGISTRY_UNREACHABLE, f"{path} did not come", retry=True)
        body = self.contents[place.uri][path]
        self.read.append(path)
        took(len(body))
        return sha256_of(body), len(body)

    def _check(self) -> None:
        if self.down:
            raise LineageError(Reason.REGISTRY_UNREACHABLE, "MLflow did not answer", retry=True)
