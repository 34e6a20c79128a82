"""Carries out what was decided. Every write goes through here or through `records`."""

import logging
from collections.abc import Mapping

from lockstep.api.reasons import EventReason, Reason
from lockstep.bounded import Bounded
from lockstep.controller.cluster import ports
from lockstep.controller.cluster.ports import Cluster, ConflictError, Events, Kind, Object, RejectedError
from lockstep.rollout.actions import Action, Apply, Correct, Create, Delete, Scale
from lockstep.rollout.maintain import fingerprint
from lockstep.rollout.observed.ownership import drift, lacks_labels_only
from lockstep.rollout.observed.pods import controlled_by

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
_KEPT = 20_000
_log = logging.getLogger(__name__)


class NameTakenError(Exception):
    """An object of somebody else's has the name that one of ours is to have; it is never taken over."""

    reason = Reason.NAME_CONFLICT


class RevisionForgedError(NameTakenError):
    """What has the name of a ControllerRevision of ours holds something else, and can't be taken away."""

    reason = Reason.REVISION_FORGED


class ChangedAtAdmissionError(RejectedError):
    """The API server took an object and made another one of it: a mutating webhook or policy stands in between."""


class Actor:
    """Turns actions into calls to the API server, in their order; the first that fails ends the pass."""

    def __init__(self, cluster: Cluster, events: Events) -> None:
        self._cluster = cluster
        self._events = events
        self._admitted: Bounded[str, str] = Bounded(_KEPT)

    @property
    def admitted(self) -> Mapping[str, str]:
        """What admission makes of the pod templates that we ask for: fingerprints by the Deployment's uid."""
        return self._admitted

    async def perform(self, owner: Object, action: Action) -> None:
        """Carry out one action for the ModelDeployment `owner`.

        Raises:
            ConflictError: the target moved since it was read; requeue.
            NameTakenError: an object that is not ours has the name.
            ChangedAtAdmissionError: what was put right is wrong again before it was stored.
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
                made = await self._cluster.replace(kind, namespace, body, resource_version=resource_version)
                self._check_admission(body, made)
                if why is not None and made["metadata"]["resourceVersion"] != resource_version:
                    await self._report_correction(owner, why, key=f"{body['metadata'].get('uid', '')[:8]}-{resource_version}")
            case Scale(name, replicas, why):
                await self._cluster.scale(ports.DEPLOYMENT, namespace, name, replicas)
                if why is not None:
                    # Once for each spec: who scales something by a controller does it every few seconds.
                    await self._report_correction(owner, why, key=f"scale-{name}-{owner['metadata']['generation']}")
            case Delete(kind_name, name, uid, why):
                await self._cluster.delete(_KINDS[kind_name], namespace, name, uid=uid)
                if why is not None:
                    await self._report_correction(owner, why, key=uid[:8])

    async def _create(self, owner: Object, kind: Kind, body: Object) -> None:
        namespace, name = owner["metadata"]["namespace"], body["metadata"]["name"]
        try:
            self._check_admission(body, await self._cluster.create(kind, namespace, body))
            return
        except ConflictError:
            existing = await self._cluster.get(kind, namespace, name)
        if existing is None:
            return
        if not controlled_by(existing, owner["metadata"]["uid"]):
            raise NameTakenError(f"the {kind.kind} {name} exists already and is not Lockstep's: delete it")
        if kind is ports.CONTROLLER_REVISION and existing.get("data") != body["data"]:
            await self._replace_revision(owner, existing, body)
            return
        labels, version = existing["metadata"].get("labels") or {}, existing["metadata"]["resourceVersion"]
        if all(labels.get(key) == value for key, value in body["metadata"]["labels"].items()):
            # Somebody was quicker, perhaps ourselves before a crash: the next reconciliation will see.
            _log.info("%s %s exists already", kind.kind, name)
            return
        if not lacks_labels_only(body, existing):
            raise NameTakenError(f"the {kind.kind} {name} exists already and is not what Lockstep makes: delete it")
        # Ours, and unseen without its labels. Should somebody else have made it, with an owner reference of ours and no labels
        # since those are reserved, it is in all that is compared what we were about to make.
        existing["metadata"]["labels"] = labels | body["metadata"]["labels"]
        await self._cluster.replace(kind, namespace, existing, resource_version=version)
        await self._report_correction(owner, f"{kind.kind} {name}: metadata.labels was changed", key=f"labels-{version}")

    async def _replace_revision(self, owner: Object, found: Object, body: Object) -> None:
        """Make a ControllerRevision anew whose data is not ours: it can't be changed."""
        namespace, name, uid = owner["metadata"]["namespace"], body["metadata"]["name"], found["metadata"]["uid"]
        await self._cluster.delete(ports.CONTROLLER_REVISION, namespace, name, uid=uid)
        try:
            await self._cluster.create(ports.CONTROLLER_REVISION, namespace, body)
        except ConflictError as error:
            message = f"the ControllerRevision {name} is not what Lockstep wrote, and something keeps it from being deleted"
            raise RevisionForgedError(f"{message}: take its finalizers away") from error
        await self._report_correction(
            owner, f"ControllerRevision {name}: data was not what Lockstep wrote", key=f"revision-{uid}"
        )

    def _check_admission(self, asked: Object, made: Object) -> None:
        """Check what the API server made of an object.

        A Deployment whose pod template was changed is kept as it is, since asking again would change nothing: its pods are
        judged each for itself.
        """
        where = drift(asked, made)
        if where is None:
            return
        if asked["kind"] != "Deployment":
            raise ChangedAtAdmissionError(f"{asked['kind']} {asked['metadata']['name']}: {where} is changed at admission")
        _log.warning("Deployment %s: %s is changed at admission", asked["metadata"]["name"], where)
        self._admitted[made["metadata"]["uid"]] = fingerprint(made)

    async def _report_correction(self, owner: Object, why: str, *, key: str) -> None:
        _log.warning("put right: %s", why, extra={"object": owner["metadata"]["name"]})
        await self._events.post(
            owner,
            type_="Warning",
            reason=str(EventReason.DRIFT_CORRECTED),
            action="Correct",
            note=f"{why}; it was put right",
            key=f"drift-{key}",
        )
