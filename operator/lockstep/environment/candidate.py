"""One of the environments that an image could run, where its files do not say which one it starts."""

from dataclasses import dataclass
from typing import Any

from lockstep.environment.document import EnvironmentDocument
from lockstep.formats.canonical import canonical_json


@dataclass(frozen=True)
class Candidate:
    """An interpreter, what is first on its path, and the environment that they make."""

    executable: str
    """The interpreter as it would be called: `/opt/venv/bin/python3`."""
    added: str | None = None
    """A directory of packages that is on no interpreter's own path and comes first here; None for the interpreter's own."""
    document: EnvironmentDocument | None = None
    """None where it can't be determined."""
    fault: str = ""
    """Why not."""

    def __str__(self) -> str:
        return self.executable if self.added is None else f"{self.executable} with {self.added} first on its path"

    def payload(self) -> dict[str, Any]:
        """Return plain JSON data, without what is empty."""
        document = self.document.payload() if self.document is not None else None
        stated = {"executable": self.executable, "added": self.added, "document": document, "fault": self.fault}
        return {key: value for key, value in stated.items() if value}

    @classmethod
    def parse(cls, stated: dict[str, Any]) -> "Candidate":
        """Read what `payload` gave.

        Raises:
            ValueError, KeyError, TypeError: it is none of it.
        """
        document = stated.get("document")
        return cls(
            executable=stated["executable"],
            added=stated.get("added"),
            document=EnvironmentDocument.parse(canonical_json(document)) if document is not None else None,
            fault=stated.get("fault", ""),
        )
