"""Carries out what was decided. Every write goes through here or through `records`."""

import logging

from lockstep.api.reasons import EventReason
from lockstep.controller import ports
from lockstep.controller.ports import Cluster, ConflictError, Events, Kind, Object
from lockstep.rollout.actions import Action, Apply, Correct, Create, Delete, Scale
from lockstep.rollout.pods import controlled_by

_KINDS: dict[str, Kind] = {
    kind.kind: kind
    for kind in (
        ports.DEPLOYMENT,
        ports.REPLICA_SET,
        ports.CONTROLLER_REVISION,
        ports.SERVICE,
        ports.POD,
        ports.POD_DISRUPTION_BUDGET,
    )
}
_log = logging.getLogger(__name__)


class NameTakenError(Exception):
    """An object of somebody else's has the name that one of ours is to have; it is never taken over."""


class Actor:
    """Turns actions into calls to the API server, in their order; the first that fails ends the pass."""

    def __init__(self, cluster: Cluster, events: Events) -> None:
        self._cluster = cluster
        self._events = events

    async def perform(self, owner: Object, action: Action) -> None:
        """Carry out one action for the ModelDeployment `owner`.

        Raises:
            ConflictError: the target moved since it was read; look again.
            NameTakenError: an object that is not ours has the name.
            RejectedError, UnavailableError, DeposedError: as the cluster says.
        """
        namespace = owner["metadata"]["namespace"]
        match action:
            case Create(body):
                await self._create(owner, _KINDS[body["kind"]], body)
            case Apply(body, resource_version):
                kind = _KINDS[body["kind"]]
                await self._cluster.apply(kind, namespace, body, resource_version=resource_version)
            case Correct(body, resource_version, why):
                kind = _KINDS[body["kind"]]
                await self._cluster.replace(kind, namespace, body, resource_version=resource_version)
                if why is not None:
                    await self._corrected(owner, why, key=f"{body['metadata'].get('uid', '')[:8]}-{resource_version}")
            case Scale(name, replicas):
                await self._cluster.scale(ports.DEPLOYMENT, namespace, name, replicas)
            case Delete(kind_name, name, uid, why):
                await self._cluster.delete(_KINDS[kind_name], namespace, name, uid=uid)
                if why is not None:
                    await self._corrected(owner, why, key=uid[:8])

    async def _create(self, owner: Object, kind: Kind, body: Object) -> None:
        namespace, name = owner["metadata"]["namespace"], body["metadata"]["name"]
        try:
            await self._cluster.create(kind, namespace, body)
            return
        except ConflictError:
            found = await self._cluster.get(kind, namespace, name)
        if found is None:
            return
        if not controlled_by(found, owner["metadata"]["uid"]):
            raise NameTakenError(f"the {kind.kind} {name} exists already and is not Lockstep's: delete it")
        labels, version = found["metadata"].get("labels") or {}, found["metadata"]["resourceVersion"]
        if all(labels.get(key) == value for key, value in body["metadata"]["labels"].items()):
            # Somebody was quicker, perhaps ourselves before a crash: the next look tells.
            _log.info("%s %s exists already", kind.kind, name)
            return
        # Ours, and unseen without its labels.
        found["metadata"]["labels"] = labels | body["metadata"]["labels"]
        await self._cluster.replace(kind, namespace, found, resource_version=version)
        await self._corrected(owner, f"{kind.kind} {name}: metadata.labels was changed", key=f"labels-{version}")

    async def _corrected(self, owner: Object, why: str, *, key: str) -> None:
        _log.warning("put right: %s", why, extra={"object": owner["metadata"]["name"]})
        await self._events.post(
            owner,
            type_="Warning",
            reason=str(EventReason.DRIFT_CORRECTED),
            action="Correct",
            note=f"{why}; it was put right",
            key=f"drift-{key}",
        )
