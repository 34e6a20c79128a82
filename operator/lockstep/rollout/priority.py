"""Whether a candidate's pods could push those that serve off their nodes: the scheduler preempts pods of lower priority."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lockstep.api.kinds import Object


@dataclass(frozen=True)
class Priority:
    """What a PriorityClass gives a pod (scheduling.k8s.io/v1)."""

    name: str
    value: int
    preempts: bool

    @property
    def display_name(self) -> str:
        """The priority as a person would name it."""
        return f"{self.name} ({self.value})" if self.name else f"none ({self.value})"


def preemption_problem(
    wanted: str | None, serving: str | None, pods: Sequence[Object], classes: Sequence[Object]
) -> str | None:
    """Return why a candidate's pods may not start: the scheduler could end pods that serve to make room for them.

    A class that never preempts is let through, and so is one that is no higher than what serves has: pods of equal priority are
    never preempted.

    Args:
        wanted: the PriorityClass that the candidate names.
        serving: the PriorityClass that the active revision names.
        pods: the pods that serve.
        classes: the cluster's PriorityClasses.
    """
    asked = priority_of(wanted, classes)
    if asked is None:
        # It could be made at any moment, with whatever value.
        return f"the PriorityClass {wanted} does not exist. Next step (manifest): name one that does"
    has = lowest_priority(pods, priority_of(serving, classes))
    if not asked.preempts or asked.value <= has:
        return None
    return (
        f"the candidate's priority {asked.display_name} is higher than that of what serves ({has}): its pods could push the "
        "serving ones off their nodes before they have proven anything. Next step: name a PriorityClass with "
        "preemptionPolicy: Never or of no higher value in template.priorityClassName, or let the platform team list "
        "this one in pods.priorityClasses"
    )


def priority_of(name: str | None, classes: Iterable[Object]) -> Priority | None:
    """Return the priority that admission gives a pod with this class; None when there is no such class.

    Without a name it is that of the default class, of several the lowest, else 0 (plugin/pkg/admission/priority).
    """
    found = list(classes)
    if name is None:
        defaults = [priority_class for priority_class in found if priority_class.get("globalDefault")]
        chosen = min(defaults, key=_value, default=None)
        return Priority("", 0, preempts=True) if chosen is None else _priority(chosen)
    return next((_priority(priority_class) for priority_class in found if priority_class["metadata"]["name"] == name), None)


def lowest_priority(pods: Sequence[Object], named: Priority | None) -> int:
    """Return the lowest priority among pods that run, and that their ReplicaSet would give to the next one."""
    values = [int((pod.get("spec") or {}).get("priority") or 0) for pod in pods]
    return min([*values, *([named.value] if named is not None else [])], default=0)


def _priority(priority_class: Object) -> Priority:
    return Priority(
        str(priority_class["metadata"]["name"]),
        _value(priority_class),
        preempts=priority_class.get("preemptionPolicy") != "Never",
    )


def _value(priority_class: Object) -> int:
    return int(priority_class.get("value") or 0)
