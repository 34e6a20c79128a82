"""Whether a candidate's pods could push those that serve off their nodes: the scheduler preempts pods of lower priority."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True)
class Priority:
    """What a PriorityClass gives a pod (scheduling.k8s.io/v1)."""

    name: str
    value: int
    preempts: bool

    @property
    def called(self) -> str:
        """The priority as a person would name it."""
        return f"{self.name} ({self.value})" if self.name else f"none ({self.value})"


def priority_of(name: str | None, classes: Iterable[Object]) -> Priority | None:
    """Return the priority that admission gives a pod with this class; None when there is no such class.

    Without a name it is that of the default class, of several the lowest, else 0 (plugin/pkg/admission/priority).
    """
    found = list(classes)
    if name is None:
        defaults = [one for one in found if one.get("globalDefault")]
        chosen = min(defaults, key=_value, default=None)
        return Priority("", 0, preempts=True) if chosen is None else _priority(chosen)
    return next((_priority(one) for one in found if one["metadata"]["name"] == name), None)


def lowest(pods: Sequence[Object], named: Priority | None) -> int:
    """Return the lowest priority among pods that run, and that their ReplicaSet would give to the next one."""
    values = [int((pod.get("spec") or {}).get("priority") or 0) for pod in pods]
    return min([*values, *([named.value] if named is not None else [])], default=0)


def _priority(one: Object) -> Priority:
    return Priority(str(one["metadata"]["name"]), _value(one), preempts=one.get("preemptionPolicy") != "Never")


def _value(one: Object) -> int:
    return int(one.get("value") or 0)
