"""Which pods are taken out from among those that a Service selects, and how fast.

The rule is integrity first where it costs no availability:

- A stranger (`Standing.STRANGER`) goes at once, even where nothing else is ready: its answers are nobody's.
- A pod that was edited after it was made goes as well, since the one that takes its place is as it was promoted: at once where
  it is not ready itself or a pod as promoted is, else one after the other.
- A pod that admission changed, and one as promoted that has lost its ReplicaSet, go one after the other, and only while a pod
  as promoted is ready. The last ready one stays: a model with a variable too many in its environment is more use than none,
  and the status says that it serves. While the newest pod is changed too none goes for that, since the next would be as well.
- A candidate's changed pod is its gate's affair: the candidate is refused (PodTampered), and its Deployment goes as a whole.

One after the other is half a minute apart. That is told by the age of the newest pod, which a restart of the operator does not
forget. All together are bounded by what the caller allows, so that neither a mistake of ours nor a fight with another
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
    foreign = [one for one in found if _has_no_place(one, active)]
    mine = [one for one in found if one.revision == active and one not in foreign]
    own, due = _turn(mine, now)
    going = [*foreign, *own]
    gone, over = going[:allowed], going[allowed:]
    stays = [one for one in mine if one not in gone]
    strangers = tuple(one for one in over if one.standing is Standing.STRANGER)
    return Removals(
        actions=tuple(Delete("Pod", one.name, one.uid, _why(one)) for one in gone),
        strangers=strangers,
        impairment=_impairment([one for one in strangers if one.revision == active], stays),
        due=refill if over else due,
    )


def _has_no_place(one: Bearer, active: str | None) -> bool:
    """Tell of a stranger, and of a stray that serves nothing: it would get traffic, unaudited, with its revision."""
    return one.standing is Standing.STRANGER or (one.standing is Standing.STRAY and one.revision != active)


def _turn(mine: Sequence[Bearer], now: datetime) -> tuple[list[Bearer], float | None]:
    """Return whose turn it is among the active revision's pods, or in how many seconds it is somebody's."""
    newest = max((one for one in mine if one.standing in _OF_THE_REPLICA_SET), key=lambda one: one.made, default=None)
    wait = (PACE - (now - newest.made)).total_seconds() if newest is not None else 0.0
    safe = any(one.standing is Standing.OWN and one.ready for one in mine)
    edited = [one for one in mine if one.standing is Standing.EDITED]
    idle = [one for one in edited if safe or not one.ready]
    if idle:
        return idle, None
    if newest is not None and newest.standing is Standing.OWN and not newest.ready:
        # What replaces the one before is still coming up; it is looked at again when it is ready.
        return [], None
    waiting = edited
    if safe:
        helps = newest is not None and newest.standing is Standing.OWN
        slow = (Standing.STRAY, Standing.MADE_OTHERWISE) if helps else (Standing.STRAY,)
        waiting = sorted((one for one in mine if one.standing in slow), key=lambda one: slow.index(one.standing))
    if not waiting:
        return [], None
    return (waiting[:1], None) if wait <= 0 else ([], wait)


def _why(one: Bearer) -> str:
    if one.standing in (Standing.EDITED, Standing.MADE_OTHERWISE):
        return f"Pod {one.name} was changed: {one.how}"
    return f"Pod {one.name} bears Lockstep's labels and is not Lockstep's"


def _impairment(strangers: Sequence[Bearer], stays: Sequence[Bearer]) -> Impairment | None:
    if strangers:
        names = _listed(strangers)
        message = f"pods that Lockstep did not ask for bear the labels of what serves: {names}. They are deleted as they come"
        return Impairment(Reason.FOREIGN_POD, f"{message}. Next step: find out who makes them")
    changed = [one for one in stays if one.ready and one.standing in (Standing.EDITED, Standing.MADE_OTHERWISE)]
    if not changed:
        return None
    alone = not any(one.ready and one.standing in (Standing.OWN, Standing.STRAY) for one in stays)
    message = f"pod {changed[0].name} is not what was promoted: {changed[0].how}"
    if len(changed) > 1:
        message += f", and so are {len(changed) - 1} more"
    message += ". It goes on serving, since no pod as promoted is ready" if alone else ". It goes when another one would help"
    step = "Next step: find out who changes pods, let the platform team exempt these, then delete the pod"
    return Impairment(Reason.ACTIVE_POD_TAMPERED, f"{message}. {step}")


def _listed(found: Sequence[Bearer]) -> str:
    names = ", ".join(one.name for one in found[:3])
    return names if len(found) <= 3 else f"{names} and {len(found) - 3} more"
