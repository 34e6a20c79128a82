"""Which pods are taken out from among those that a Service selects, and how fast.

The rule is integrity first where it costs no availability:

- A stranger (`Standing.STRANGER`) goes at once, even where nothing else is ready: its answers are nobody's.
- A pod that was edited after it was made goes as well, since the one that takes its place is as it was promoted: at once where
  it is not ready itself or a pod as promoted is, else one after the other.
- A pod that admission changed, and one as promoted that has lost its ReplicaSet, go one after the other, and only while a pod
  as promoted is ready. The last ready one stays: a model with a variable too many in its environment is more use than none,
  and the status says that it serves. While the newest pod is changed too none goes for that, since the next would be as well.
- A candidate's changed pod is its gate's affair: the candidate is refused (PodTampered), and its Deployment goes as a whole.

One after the other is half a minute apart. That is measured by the age of the newest pod, which a restart of the operator
does not forget. All together are bounded by what the caller allows, so that neither a mistake of ours nor a fight with another
controller makes and ends pods without end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from lockstep.api.reasons import Reason
from lockstep.rollout.actions import Delete
from lockstep.rollout.observed.bearers import Bearer, Standing

PACE = timedelta(seconds=30)
"""Between two pods that go one after the other: about what a server takes that loads a model."""
_OF_THE_REPLICA_SET = (Standing.OWN, Standing.MADE_OTHERWISE, Standing.EDITED)


@dataclass(frozen=True)
class Impairment:
    """Why what serves is not, or not for sure, what was promoted."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class Removals:
    """What goes now, what stays that should not, and in how many seconds there is something to do by itself."""

    actions: tuple[Delete, ...] = ()
    strangers: tuple[Bearer, ...] = ()
    """Strangers that stay for now, since too many went just before."""
    impairment: Impairment | None = None
    """Of the active revision, by pods that stay and are ready."""
    due: float | None = None


def removals(found: Sequence[Bearer], *, active: str | None, now: datetime, allowed: int, refill: float) -> Removals:
    """Decide which pods go.

    Args:
        found: all pods that bear revision labels.
        active: the revision that gets traffic.
        now: the present time.
        allowed: how many pods may go now.
        refill: seconds until one more may go.
    """
    foreign = [pod for pod in found if _is_foreign(pod, active)]
    mine = [pod for pod in found if pod.revision == active and pod not in foreign]
    own, due = _next_in_turn(mine, now)
    going = [*foreign, *own]
    gone, over = going[:allowed], going[allowed:]
    stays = [pod for pod in mine if pod not in gone]
    strangers = tuple(pod for pod in over if pod.standing is Standing.STRANGER)
    return Removals(
        actions=tuple(Delete("Pod", pod.name, pod.uid, _why(pod)) for pod in gone),
        strangers=strangers,
        impairment=_impairment([pod for pod in strangers if pod.revision == active], stays),
        due=refill if over else due,
    )


def _is_foreign(pod: Bearer, active: str | None) -> bool:
    """Return whether a pod is a stranger, or a stray that serves nothing: it would get unaudited traffic with its revision."""
    return pod.standing is Standing.STRANGER or (pod.standing is Standing.STRAY and pod.revision != active)


def _next_in_turn(mine: Sequence[Bearer], now: datetime) -> tuple[list[Bearer], float | None]:
    """Return whose turn it is among the active revision's pods, or in how many seconds it is somebody's."""
    newest = max((pod for pod in mine if pod.standing in _OF_THE_REPLICA_SET), key=lambda pod: pod.made, default=None)
    wait = (PACE - (now - newest.made)).total_seconds() if newest is not None else 0.0
    safe = any(pod.standing is Standing.OWN and pod.ready for pod in mine)
    edited = [pod for pod in mine if pod.standing is Standing.EDITED]
    idle = [pod for pod in edited if safe or not pod.ready]
    if idle:
        return idle, None
    if newest is not None and newest.standing is Standing.OWN and not newest.ready:
        # What replaces the one before is still coming up; it is checked again when it is ready.
        return [], None
    waiting = edited
    if safe:
        helps = newest is not None and newest.standing is Standing.OWN
        slow = (Standing.STRAY, Standing.MADE_OTHERWISE) if helps else (Standing.STRAY,)
        waiting = sorted((pod for pod in mine if pod.standing in slow), key=lambda pod: slow.index(pod.standing))
    if not waiting:
        return [], None
    return (waiting[:1], None) if wait <= 0 else ([], wait)


def _why(pod: Bearer) -> str:
    if pod.standing in (Standing.EDITED, Standing.MADE_OTHERWISE):
        return f"Pod {pod.name} was changed: {pod.how}"
    return f"Pod {pod.name} bears Lockstep's labels and is not Lockstep's"


def _impairment(strangers: Sequence[Bearer], stays: Sequence[Bearer]) -> Impairment | None:
    if strangers:
        names = _list_names(strangers)
        message = f"pods that Lockstep did not ask for bear the labels of what serves: {names}. They are deleted as they come"
        return Impairment(Reason.FOREIGN_POD, f"{message}. Next step: find out who makes them")
    changed = [pod for pod in stays if pod.ready and pod.standing in (Standing.EDITED, Standing.MADE_OTHERWISE)]
    if not changed:
        return None
    alone = not any(pod.ready and pod.standing in (Standing.OWN, Standing.STRAY) for pod in stays)
    message = f"pod {changed[0].name} is not what was promoted: {changed[0].how}"
    if len(changed) > 1:
        message += f", and so are {len(changed) - 1} more"
    message += ". It goes on serving, since no pod as promoted is ready" if alone else ". It goes when another one would help"
    step = "Next step: find out who changes pods, let the platform team exempt these, then delete the pod"
    return Impairment(Reason.ACTIVE_POD_TAMPERED, f"{message}. {step}")


def _list_names(found: Sequence[Bearer]) -> str:
    names = ", ".join(pod.name for pod in found[:3])
    return names if len(found) <= 3 else f"{names} and {len(found) - 3} more"
