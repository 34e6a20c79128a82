"""What is to be done to the cluster, as data: decided purely, carried out by `controller.reconcile.act`."""

from dataclasses import dataclass

from lockstep.api.kinds import Object


@dataclass(frozen=True)
class Create:
    """Create an object; one of the same name that exists by now is left alone and checked at the next reconciliation."""

    body: Object


@dataclass(frozen=True)
class Apply:
    """Take an object a step further (server-side apply) from the state that was read."""

    body: Object
    resource_version: str


def apply_step(desired: Object, live: Object) -> Apply:
    """Return the step from a live object to the desired one.

    With its uid: a server-side apply onto an object that has gone meanwhile would make a new one.
    """
    metadata = live["metadata"]
    body = dict(desired, metadata=dict(desired["metadata"], uid=metadata["uid"]))
    return Apply(body, str(metadata["resourceVersion"]))


@dataclass(frozen=True)
class Correct:
    """Replace an object as a whole. With `why` it is a correction of somebody else's act, which an event reports."""

    body: Object
    resource_version: str
    why: str | None = None


@dataclass(frozen=True)
class Scale:
    """Set the replicas of a Deployment. With `why` it is a correction of somebody else's act."""

    name: str
    replicas: int
    why: str | None = None


@dataclass(frozen=True)
class Delete:
    """Delete one object, the one with this uid. With `why` it is a correction of somebody else's act."""

    kind: str
    name: str
    uid: str
    why: str | None = None


Action = Create | Apply | Correct | Scale | Delete
