"""One thing for which the API server would refuse an object."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """What is wrong, and with which field."""

    path: str
    """The field as Kubernetes writes it: `spec.template.env[0].name`; empty for the object as a whole."""
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def below(path: str, name: str) -> str:
    """Return the path of a field, or of a map's entry where the name is none that a path could hold."""
    plain = name.replace("_", "").isalnum()
    return f"{path}.{name}" if path and plain else f"{path}[{name}]" if path else name
