"""Conditions after metav1.Condition: the transition time moves only when the status flips."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Literal

from lockstep.api.base import Condition
from lockstep.api.reasons import ConditionType, Reason

Truth = Literal["True", "False", "Unknown"]
MAX_MESSAGE = 1024


class Conditions:
    """Builds the next list of conditions from the present one."""

    def __init__(self, present: Sequence[Condition], *, generation: int, now: datetime) -> None:
        self._by_type = {condition.type: condition for condition in present}
        self._generation = generation
        self._now = now

    def set(self, type_: StrEnum, status: Truth, reason: Reason, message: str) -> None:
        """Set one condition."""
        before = self._by_type.get(type_)
        flipped = before is None or before.status != status
        self._by_type[str(type_)] = Condition(
            type=str(type_),
            status=status,
            observed_generation=self._generation,
            last_transition_time=self._now if before is None or flipped else before.last_transition_time,
            reason=str(reason),
            message=shorten(message),
        )

    def is_true(self, type_: ConditionType) -> bool:
        """Return whether a condition holds."""
        found = self._by_type.get(type_)
        return found is not None and found.status == "True"

    def drop(self, type_: StrEnum) -> None:
        """Leave one condition out."""
        self._by_type.pop(str(type_), None)

    def list(self) -> list[Condition]:
        """Return all conditions, in the order in which the types are declared."""
        order = {str(type_): position for position, type_ in enumerate(ConditionType)}
        return sorted(self._by_type.values(), key=lambda condition: order.get(condition.type, len(order)))


def shorten(text: str, limit: int = MAX_MESSAGE) -> str:
    """Return the text, cut to the API's bound with an ellipsis where it is longer."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
