"""A model registry in memory: versions, aliases, and outages on demand."""

from dataclasses import dataclass, field, replace

from lockstep.api.reasons import Reason
from lockstep.lineage.lineage import Lineage, LineageError


@dataclass
class FakeModelRegistry:
    """Implements `lineage.ModelRegistry`, and `evidence.facts.Registries` with itself behind every address."""

    versions: dict[tuple[str, str], Lineage] = field(default_factory=dict)
    aliases: dict[tuple[str, str], str] = field(default_factory=dict)
    down: bool = False
    asked: int = 0

    def at(self, tracking_uri: str) -> "FakeModelRegistry":
        return self

    def put(self, lineage: Lineage) -> None:
        self.versions[lineage.name, lineage.version] = lineage

    async def lineage(self, *, name: str, version: str | None = None, alias: str | None = None) -> Lineage:
        self.asked += 1
        if self.down:
            raise LineageError(Reason.REGISTRY_UNREACHABLE, "MLflow did not answer", retry=True)
        if alias is not None:
            version = self.aliases.get((name, alias))
            if version is None:
                raise LineageError(Reason.ALIAS_NOT_FOUND, f"{name} has no alias {alias}")
        found = self.versions.get((name, version or ""))
        if found is None:
            raise LineageError(Reason.VERSION_NOT_FOUND, f"{name} has no version {version}")
        return replace(found, alias=alias)
