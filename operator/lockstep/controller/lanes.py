"""Keys that wait for a reconciliation: in two lanes, namespaces in turns."""

from collections import OrderedDict
from enum import StrEnum

Key = tuple[str, str]
"""Namespace and name of a ModelDeployment."""


class Lane(StrEnum):
    """Why a key waits; a label of metrics."""

    UPKEEP = "upkeep"
    """Something that the object owns has changed: what serves may have to be put right."""
    DECIDE = "decide"
    """Everything else: another spec or policy, an answer that has come, time that has passed."""


class FairQueue:
    """Keys and since when they wait, first come first served within a namespace; namespaces take turns."""

    def __init__(self) -> None:
        self._namespaces: OrderedDict[str, OrderedDict[Key, float]] = OrderedDict()
        """Whose turn comes next stands first."""

    def __len__(self) -> int:
        return sum(len(keys) for keys in self._namespaces.values())

    def __contains__(self, key: Key) -> bool:
        return key in self._namespaces.get(key[0], ())

    def push(self, key: Key, since: float) -> None:
        """Add a key; one that waits already keeps its place."""
        self._namespaces.setdefault(key[0], OrderedDict()).setdefault(key, since)

    def pop(self) -> Key | None:
        """Take the next key out; None when there is none."""
        if not self._namespaces:
            return None
        namespace, keys = next(iter(self._namespaces.items()))
        key, _ = keys.popitem(last=False)
        self._namespaces.move_to_end(namespace)
        if not keys:
            del self._namespaces[namespace]
        return key

    def remove(self, key: Key) -> float | None:
        """Take a key out and return since when it waits; None when it does not."""
        keys = self._namespaces.get(key[0])
        since = keys.pop(key, None) if keys is not None else None
        if keys is not None and not keys:
            del self._namespaces[key[0]]
        return since

    def oldest(self) -> float | None:
        """Return since when the one waits that waits longest; None when none does."""
        # Of each namespace the first is the oldest, but for those that came from the other lane.
        return min((since for keys in self._namespaces.values() for since in keys.values()), default=None)
