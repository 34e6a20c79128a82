"""What the processes of one pod run, as the kernel of its node shows it and as the image's files explain it."""

from dataclasses import dataclass
from typing import Any

from lockstep.environment.document import EnvironmentDocument
from lockstep.formats.canonical import canonical_json


@dataclass(frozen=True)
class ObservedEnvironment:
    """An environment in which processes answer."""

    pids: tuple[int, ...]
    """The processes that run in it, by the numbers that they have in their container."""
    executable: str
    """Their interpreter as it was called: `/opt/venv/bin/python`."""
    document: EnvironmentDocument | None = None
    """None where it can't be determined."""
    fault: str = ""
    """Why not."""

    def __str__(self) -> str:
        return f"{'pid' if len(self.pids) == 1 else 'pids'} {', '.join(map(str, self.pids))}, {self.executable}"

    def payload(self) -> dict[str, Any]:
        """Return plain JSON data."""
        document = self.document.payload() if self.document is not None else None
        return {"pids": list(self.pids), "executable": self.executable, "document": document, "fault": self.fault}

    @classmethod
    def parse(cls, stated: dict[str, Any]) -> "ObservedEnvironment":
        """Read what `payload` gave.

        Raises:
            ValueError, KeyError, TypeError: it is none of it.
        """
        document = stated["document"]
        return cls(
            pids=tuple(int(pid) for pid in stated["pids"]),
            executable=str(stated["executable"]),
            document=EnvironmentDocument.parse(canonical_json(document)) if document is not None else None,
            fault=str(stated["fault"]),
        )


@dataclass(frozen=True)
class Observation:
    """What was seen in one pod."""

    environments: tuple[ObservedEnvironment, ...] = ()
    """Each that differs from the others."""
    findings: tuple[str, ...] = ()
    """Code that runs and is not the image's, and packages that are, as sentences."""

    def payload(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {"environments": [one.payload() for one in self.environments], "findings": list(self.findings)}

    @classmethod
    def parse(cls, stated: dict[str, Any]) -> "Observation":
        """Read what `payload` gave.

        Raises:
            ValueError, KeyError, TypeError: it is none of it.
        """
        environments = tuple(ObservedEnvironment.parse(one) for one in stated["environments"])
        observation = cls(environments, tuple(str(finding) for finding in stated["findings"]))
        if not observation.environments and not observation.findings:
            raise ValueError("it names no environment")
        return observation
