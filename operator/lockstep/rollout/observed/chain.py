"""Whose ReplicaSets and pods are: by their controller and by their name, since labels can be taken away."""

import re

from lockstep.api.kinds import Object
from lockstep.rollout.observed.pods import controlled_by

# A pod-template-hash is a number of 32 bits in an alphabet of letters and digits (controller.ComputeHash).
_HASH = re.compile(r"[a-z0-9]{1,10}", re.ASCII)
# What the API server makes of a generateName: at most 58 characters of it, and five of its own (storage/names).
_GENERATED, _RANDOM = 58, 5


def controller_of(obj: Object) -> Object | None:
    """Return the reference to what controls an object; None where nothing does."""
    references = obj["metadata"].get("ownerReferences") or []
    return next((reference for reference in references if reference.get("controller")), None)


def is_replica_set_of(replica_set: Object, deployment: Object) -> bool:
    """Return whether a ReplicaSet is one of a Deployment's: named DEPLOYMENT-HASH, and controlled by it or by nobody.

    By nobody, since the Deployment controller lets go of a ReplicaSet that loses one of the labels of its selector, and
    takes it back once it has them again (controller_ref_manager.go, ClaimObject): it serves all the while. The name keeps
    strangers out: an ownerReference can be written by whoever makes an object, the name of ours is taken.
    """
    if not is_named_after(_name(replica_set), _name(deployment)):
        return False
    return controller_of(replica_set) is None or controlled_by(replica_set, str(deployment["metadata"]["uid"]))


def is_pod_of(pod: Object, replica_set: Object) -> bool:
    """Return whether a pod is one of a ReplicaSet's: controlled by it, and named as the API server names what it makes."""
    base = f"{_name(replica_set)}-"[:_GENERATED]
    name = _name(pod)
    return controlled_by(pod, str(replica_set["metadata"]["uid"])) and name[:-_RANDOM] == base and len(name) > _RANDOM


def is_named_after(name: str, deployment: str) -> bool:
    """Return whether a ReplicaSet's name is one that the Deployment controller gives for a Deployment of this name."""
    head, _, tail = name.rpartition("-")
    return head == deployment and _HASH.fullmatch(tail) is not None


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])
