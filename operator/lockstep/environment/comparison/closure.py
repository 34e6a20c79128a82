"""The closure over installed `Requires-Dist` metadata: what a set of distributions needs to run."""

from collections.abc import Iterable, Mapping, Sequence

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name


def closure(roots: Iterable[str], requires: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the names (PEP 503, sorted) that `roots` need, themselves included; only what is installed counts.

    Args:
        roots: names of distributions.
        requires: for each installed distribution, by normalised name, its `Requires-Dist` lines. Markers are evaluated
            in the running interpreter.
    """
    seen: set[tuple[str, str]] = set()
    todo = [(canonicalize_name(root), "") for root in roots]
    while todo:
        name, extra = todo.pop()
        if (name, extra) in seen or name not in requires:
            continue
        seen.add((name, extra))
        for line in requires[name]:
            try:
                needed = Requirement(line)
            except InvalidRequirement:
                continue
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                todo += [(canonicalize_name(needed.name), one) for one in ("", *sorted(needed.extras))]
    return tuple(sorted({name for name, _ in seen}))
