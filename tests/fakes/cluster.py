"""A Kubernetes API server in memory, as far as the port `Cluster` shows it."""

import builtins
import copy
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lockstep.controller.cluster import ports
from lockstep.controller.cluster.ports import Clock, ConflictError, Kind, Object, RejectedError

Key = tuple[str, str | None, str]
Admission = Callable[[str, Kind, Object], str | None]
"""Is asked before each write (verb, kind, object); a sentence refuses it."""
Mutation = Callable[[Kind, Object], None]
"""Changes what is about to be created or replaced, as a mutating webhook or policy does."""

_RECORDS = (
    ports.ENVIRONMENT_RECORD,
    ports.LAYER_RECORD,
    ports.LINEAGE_PIN,
    ports.LINEAGE_RELEASE,
    ports.PROMOTION_RECORD,
)
_WITH_STATUS = (ports.MODEL_DEPLOYMENT, ports.PROMOTION_POLICY, ports.DEPLOYMENT, ports.REPLICA_SET, ports.POD, ports.SERVICE)
# Maps and lists that a server-side apply replaces as a whole.
_ATOMIC = ("selector", "nodeSelector", "matchLabels", "command", "args")


@dataclass(frozen=True)
class Write:
    """One write that the API server has carried out or was asked for."""

    verb: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.verb} {self.kind} {self.name}"


class FakeCluster:
    """The objects. Implements `Cluster`; an operator's process reaches it through a `Connection`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._objects: dict[Key, Object] = {}
        self._versions = itertools.count(1)
        self._uids = itertools.count(1)
        self.admission: list[Admission] = []
        self.mutations: list[Mutation] = []
        self.logs: dict[tuple[str, str, str], bytes] = {}
        """What containers have printed, by namespace, pod and container."""
        self.watchers: list[Callable[[Write], None]] = []
        """Called after each change of an object, whoever made it."""

    # --- reading -------------------------------------------------------------------------------------------------

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Object | None:
        return self.find(kind, namespace, name)

    async def list(self, kind: Kind, namespace: str | None, *, labels: Mapping[str, str] | None = None) -> Sequence[Object]:
        return self.all(kind, namespace, labels)

    async def list_metadata(
        self, kind: Kind, namespace: str | None, *, labels: Mapping[str, str] | None = None
    ) -> Sequence[Object]:
        return [{"metadata": obj["metadata"]} for obj in self.all(kind, namespace, labels)]

    def find(self, kind: Kind, namespace: str | None, name: str) -> Object | None:
        found = self._objects.get(_key(kind, namespace, name))
        return copy.deepcopy(found)

    def all(self, kind: Kind, namespace: str | None = None, labels: Mapping[str, str] | None = None) -> "builtins.list[Object]":
        return [
            copy.deepcopy(obj)
            for (plural, where, _), obj in sorted(self._objects.items(), key=lambda item: (item[0][1] or "", item[0][2]))
            if plural == kind.plural
            and namespace in (None, where)
            and all((obj["metadata"].get("labels") or {}).get(k) == v for k, v in (labels or {}).items())
        ]

    # --- writing -------------------------------------------------------------------------------------------------

    async def create(self, kind: Kind, namespace: str | None, body: Object) -> Object:
        return self.add(kind, body, namespace)

    def add(self, kind: Kind, body: Object, namespace: str | None = None) -> Object:
        """Create an object."""
        made = copy.deepcopy(body)
        metadata = made["metadata"]
        namespace = namespace or metadata.get("namespace")
        key = _key(kind, namespace, metadata["name"])
        self._mutate(kind, made)
        self._admit("create", kind, made)
        if key in self._objects:
            raise ConflictError(f'{kind.plural} "{metadata["name"]}" already exists')
        if metadata.get("resourceVersion"):
            raise RejectedError("resourceVersion should not be set on objects to be created")
        made |= {"apiVersion": kind.api_version, "kind": kind.kind}
        if kind.namespaced:
            metadata["namespace"] = namespace
        if kind in _WITH_STATUS and kind is not ports.POD:
            made.pop("status", None)
        if kind is ports.SERVICE:
            made["spec"].setdefault("clusterIP", f"10.96.0.{len(self._objects) % 250 + 1}")
        metadata |= {
            "uid": f"uid-{next(self._uids)}",
            "generation": 1,
            "creationTimestamp": self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return self._store("create", kind, key, made)

    async def apply(self, kind: Kind, namespace: str | None, body: Object, *, resource_version: str) -> Object:
        present = self._present(kind, namespace, body["metadata"]["name"])
        _match(present, resource_version)
        merged = _merged(present, _without(body, "status"))
        self._mutate(kind, merged)
        return self._update("apply", kind, namespace, merged)

    async def replace(self, kind: Kind, namespace: str | None, body: Object, *, resource_version: str) -> Object:
        present = self._present(kind, namespace, body["metadata"]["name"])
        _match(present, resource_version)
        if body["metadata"].get("uid", present["metadata"]["uid"]) != present["metadata"]["uid"]:
            raise ConflictError("the uid in the precondition is another one")
        new = copy.deepcopy(body)
        if kind in _WITH_STATUS:
            new.pop("status", None)
            new |= {"status": present["status"]} if "status" in present else {}
        allocated = ("uid", "generation", "creationTimestamp", "namespace", "deletionTimestamp")
        new["metadata"] |= {key: present["metadata"][key] for key in allocated if key in present["metadata"]}
        self._mutate(kind, new)
        return self._update("replace", kind, namespace, {"apiVersion": kind.api_version, "kind": kind.kind} | new)

    async def patch_status(
        self, kind: Kind, namespace: str | None, name: str, status: Object, *, resource_version: str
    ) -> Object:
        present = self._present(kind, namespace, name)
        _match(present, resource_version)
        return self._update("patch_status", kind, namespace, present | {"status": copy.deepcopy(status)})

    async def scale(self, kind: Kind, namespace: str, name: str, replicas: int) -> None:
        present = self._present(kind, namespace, name)
        present["spec"]["replicas"] = replicas
        self._update("scale", kind, namespace, present)

    async def add_ephemeral_container(self, namespace: str, pod: Object, container: Object) -> None:
        present = self._present(ports.POD, namespace, pod["metadata"]["name"])
        if present["metadata"]["uid"] != pod["metadata"]["uid"]:
            raise RejectedError("metadata.uid: field is immutable")
        added = present["spec"].setdefault("ephemeralContainers", [])
        if any(one["name"] == container["name"] for one in added):
            raise RejectedError("existing ephemeral containers may not be changed")
        added.append(copy.deepcopy(container))
        self._update("add_ephemeral_container", ports.POD, namespace, present)

    async def read_log(self, namespace: str, pod: str, container: str, limit: int) -> bytes:
        if (namespace, pod, container) not in self.logs:
            raise RejectedError(f"container {container} of pod {pod} has no log")
        return self.logs[namespace, pod, container][:limit]

    async def delete(self, kind: Kind, namespace: str | None, name: str, *, uid: str | None = None) -> None:
        present = self.find(kind, namespace, name)
        if present is None:
            return
        if uid is not None and present["metadata"]["uid"] != uid:
            raise ConflictError("the uid in the precondition is another one")
        self._admit("delete", kind, present)
        if kind is ports.POD or present["metadata"].get("finalizers"):
            # It ends in its own time, a pod when `reap` takes it away.
            if "deletionTimestamp" not in present["metadata"]:
                present["metadata"]["deletionTimestamp"] = self._clock.now().isoformat()
                self._store("delete", kind, _key(kind, namespace, name), present)
            return
        self.remove(kind, namespace, name)

    # --- what other controllers and people do ----------------------------------------------------------------------

    def edit(self, kind: Kind, namespace: str | None, name: str, change: Callable[[Object], None]) -> Object:
        """Let somebody else change an object, its status too."""
        present = self._present(kind, namespace, name)
        change(present)
        return self._update("edit", kind, namespace, present)

    def remove(self, kind: Kind, namespace: str | None, name: str) -> None:
        """Let an object be gone."""
        self._objects.pop(_key(kind, namespace, name), None)
        self._tell(Write("delete", kind.kind, name))

    def collect(self) -> bool:
        """Delete what the garbage collector would: objects all of whose owners are gone. Tell whether anything was."""
        uids = {obj["metadata"]["uid"] for obj in self._objects.values()}
        orphans = [
            key
            for key, obj in self._objects.items()
            if (owners := obj["metadata"].get("ownerReferences")) and not any(ref["uid"] in uids for ref in owners)
        ]
        for key in orphans:
            gone = self._objects.pop(key)
            self._tell(Write("collect", gone["kind"], key[2]))
        return bool(orphans)

    def reap(self) -> bool:
        """Let pods that are being deleted be gone."""
        ending = [key for key, obj in self._objects.items() if "deletionTimestamp" in obj["metadata"] and key[0] == "pods"]
        for key in ending:
            del self._objects[key]
            self._tell(Write("reap", "Pod", key[2]))
        return bool(ending)

    # --- keeping ---------------------------------------------------------------------------------------------------

    def _present(self, kind: Kind, namespace: str | None, name: str) -> Object:
        found = self.find(kind, namespace, name)
        if found is None:
            raise RejectedError(f'{kind.plural} "{name}" not found')
        return found

    def _admit(self, verb: str, kind: Kind, body: Object) -> None:
        for refuses in self.admission:
            if why := refuses(verb, kind, copy.deepcopy(body)):
                raise RejectedError(why)

    def _mutate(self, kind: Kind, body: Object) -> None:
        for change in self.mutations:
            change(kind, body)

    def _update(self, verb: str, kind: Kind, namespace: str | None, new: Object) -> Object:
        key = _key(kind, namespace, new["metadata"]["name"])
        before = self._objects[key]
        self._admit(verb, kind, new)
        _refuse_immutable(kind, before, new)
        new["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"]
        if new == before:
            # A write that changes nothing is none.
            return copy.deepcopy(before)
        if new.get("spec") != before.get("spec"):
            new["metadata"]["generation"] = before["metadata"]["generation"] + 1
        return self._store(verb, kind, key, new)

    def _store(self, verb: str, kind: Kind, key: Key, obj: Object) -> Object:
        obj["metadata"]["resourceVersion"] = str(next(self._versions))
        self._objects[key] = obj
        self._tell(Write(verb, kind.kind, key[2]))
        return copy.deepcopy(obj)

    def _tell(self, write: Write) -> None:
        for watcher in self.watchers:
            watcher(write)


def _key(kind: Kind, namespace: str | None, name: str) -> Key:
    return kind.plural, namespace if kind.namespaced else None, name


def _match(present: Object, resource_version: str) -> None:
    if present["metadata"]["resourceVersion"] != resource_version:
        raise ConflictError("the object has been modified; please apply your changes to the latest version")


def _without(body: Object, key: str) -> Object:
    return {name: value for name, value in body.items() if name != key}


def _refuse_immutable(kind: Kind, before: Object, new: Object) -> None:
    if kind is ports.CONTROLLER_REVISION and before.get("data") != new.get("data"):
        raise RejectedError("data: field is immutable")
    if kind in _RECORDS and before["spec"] != new["spec"]:
        raise RejectedError("a record can't be changed: it is evidence of what was found at its time")
    if kind is ports.DEPLOYMENT and before["spec"]["selector"] != new["spec"]["selector"]:
        raise RejectedError("spec.selector: field is immutable")


def _merged(have: object, want: object, name: str = "") -> Object:
    """Merge as a server-side apply does: maps by key, lists of named things by name, all else as a whole."""
    result = _merge(have, want, name)
    assert isinstance(result, dict)
    return result


def _merge(have: object, want: object, name: str) -> object:
    if name in _ATOMIC or type(have) is not type(want):
        return copy.deepcopy(want)
    if isinstance(have, dict) and isinstance(want, dict):
        added = {key: _merge(have[key], value, key) if key in have else copy.deepcopy(value) for key, value in want.items()}
        return have | added
    if isinstance(have, list) and isinstance(want, list) and all(_identity(item) for item in [*have, *want]):
        by_identity = {_identity(item): item for item in have}
        for item in want:
            by_identity[_identity(item)] = _merge(by_identity.get(_identity(item)), item, "")
        return list(by_identity.values())
    return copy.deepcopy(want)


def _identity(item: object) -> object:
    """Return what makes an item of a list the same one, as core/v1 and meta/v1 declare it."""
    if not isinstance(item, dict):
        return None
    if "uid" in item:
        return item["uid"]
    port = item.get("containerPort", item.get("port"))
    return (port, item.get("protocol")) if port is not None else item.get("name")
