"""Whether two documents say the same of one environment, whoever collected them and on whatever hardware."""

from typing import Any

from lockstep.environment.document import EnvironmentDocument

_NOT_COMPARED = ("collector", "hardware")
_SHOWN = 3


def environment_facts(document: EnvironmentDocument) -> dict[str, Any]:
    """Return all that a document says of the environment itself."""
    return {key: value for key, value in document.payload().items() if key not in _NOT_COMPARED}


def disagreement(first: EnvironmentDocument, second: EnvironmentDocument) -> str | None:
    """Return which sections differ, as words; None when none does."""
    theirs, ours = environment_facts(first), environment_facts(second)
    differing = [key for key in sorted(theirs | ours) if theirs.get(key) != ours.get(key)]
    if not differing:
        return None
    return ", ".join(_describe_packages(first, second) if key == "packages" else key for key in differing)


def _describe_packages(first: EnvironmentDocument, second: EnvironmentDocument) -> str:
    theirs, ours = ({package.name: package for package in document.packages} for document in (first, second))
    names = sorted(name for name in theirs | ours if theirs.get(name) != ours.get(name))
    more = ", …" if len(names) > _SHOWN else ""
    return f"packages ({', '.join(names[:_SHOWN])}{more})"
