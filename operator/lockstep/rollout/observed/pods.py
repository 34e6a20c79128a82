"""What pods show: whether they run what was asked for, and how they fare."""

from typing import Any

from lockstep.api.kinds import Object
from lockstep.gates.evidence import PodFact
from lockstep.gates.rules.rootfilesystem import says_read_only
from lockstep.rollout.objects.drift import difference
from lockstep.rollout.objects.manifests import CONTAINER, pod_spec
from lockstep.rollout.objects.revision import Snapshot

# What admission adds to every pod of a cluster: the mounted token, and nothing else that could change a process.
_TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_COMPARED = ("name", "image", "command", "args", "env", "envFrom", "workingDir", "lifecycle", "volumeDevices")
_SHARED = ("hostPID", "hostIPC", "hostNetwork", "shareProcessNamespace")
_PROBES = ("livenessProbe", "startupProbe", "readinessProbe")


def pod_fact(pod: Object, snapshot: Snapshot) -> PodFact:
    """Read one pod of a revision."""
    status = pod.get("status") or {}
    container: Object = next((c for c in status.get("containerStatuses") or [] if c.get("name") == CONTAINER), {})
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
    conditions = {c.get("type"): c for c in status.get("conditions") or []}
    scheduled = conditions.get("PodScheduled", {})
    return PodFact(
        name=pod["metadata"]["name"],
        ready=conditions.get("Ready", {}).get("status") == "True",
        phase=status.get("phase", "Pending"),
        image_id=container.get("imageID", ""),
        restarts=container.get("restartCount", 0),
        waiting_reason=waiting.get("reason"),
        waiting_message=waiting.get("message"),
        terminated_reason=_termination(ended),
        read_only=says_read_only(ended.get("message") or ""),
        exit_code=ended.get("exitCode"),
        unschedulable=scheduled.get("message") if scheduled.get("status") == "False" else None,
        tampered=tampering(pod, snapshot),
        unchanged=pod["metadata"].get("generation") == 1,
    )


def _termination(ended: Object) -> str | None:
    """Return the reason, with the last line that the server said when it said one."""
    reason = ended.get("reason")
    lines = str(ended.get("message") or "").strip().splitlines()
    return f"{reason}: {lines[-1].strip()[:300]}" if reason and lines else reason


def tampering(pod: Object, snapshot: Snapshot) -> str | None:
    """Say how a pod differs from the one that was asked for in what can change the serving process; None when it does not."""
    wanted = pod_spec(snapshot)
    spec = pod["spec"]
    for key in ("initContainers", "ephemeralContainers"):
        if spec.get(key):
            return f"it has {key} ({', '.join(str(c.get('name')) for c in spec[key])})"
    shared = [key for key in _SHARED if spec.get(key)]
    if shared:
        return f"it has {', '.join(shared)}"
    names = [c.get("name") for c in spec.get("containers") or []]
    if names != [CONTAINER]:
        return f"it has the containers {', '.join(map(str, names))} instead of {CONTAINER} alone"
    return _container_tampering(spec["containers"][0], wanted["containers"][0]) or _volume_tampering(spec, wanted)


def is_edited(pod: Object, snapshot: Snapshot) -> bool:
    """Return whether a pod was made as it was asked for and changed later, so that another one in its place helps.

    The API server lets nothing of it be changed later but images, and ephemeral containers be added (ValidatePodUpdate); it
    counts such changes in metadata.generation, which nobody else can write (Kubernetes 1.33 and later). Everything else
    that differs was so from the pod's first moment: admission did it.
    """
    spec = dict(pod["spec"], ephemeralContainers=[])
    wanted = pod_spec(snapshot)["containers"][0]["image"]
    spec["containers"] = [dict(container, image=wanted) for container in spec.get("containers") or []]
    counted = (pod["metadata"].get("generation") or 0) > 1
    return (bool(pod["spec"].get("ephemeralContainers")) or counted) and tampering(dict(pod, spec=spec), snapshot) is None


def _volume_tampering(spec: Object, wanted: Object) -> str | None:
    """What is mounted where it was asked for has to be the volume that was asked for too."""
    have = {volume.get("name"): volume for volume in spec.get("volumes") or []}
    for volume in wanted.get("volumes") or []:
        if difference(volume, have.get(volume["name"]), "volume"):
            return f"its volume {volume['name']} is another one"
    return None


def _container_tampering(have: Object, want: Object) -> str | None:
    for key in _COMPARED:
        if difference(want.get(key), have.get(key), key):
            return f"its {key} is {_shown(have.get(key))}, asked for was {_shown(want.get(key))}"
    if lost := _security_tampering(have.get("securityContext") or {}, want.get("securityContext") or {}):
        return lost
    commands = [key for key in _PROBES if (have.get(key) or {}).get("exec")]
    if commands:
        return f"its {', '.join(commands)} runs a command"
    ours = want.get("volumeMounts") or []
    mounts = have.get("volumeMounts") or []
    foreign = [
        m["mountPath"]
        for m in mounts
        if m.get("mountPath") != _TOKEN_MOUNT and not any(_is_same_mount(m, wanted) for wanted in ours)
    ]
    if foreign:
        return f"something is mounted at {', '.join(foreign)}"
    missing = [wanted["mountPath"] for wanted in ours if not any(_is_same_mount(m, wanted) for m in mounts)]
    return f"nothing is mounted at {', '.join(missing)}" if missing else None


def _security_tampering(have: Object, want: Object) -> str | None:
    """Admission may choose a user, a group or SELinux labels, as OpenShift does; what confines the container has to stay."""
    weaker = [key for key, value in want.items() if have.get(key) != value]
    capabilities = (have.get("capabilities") or {}).get("add")
    added = [key for key, value in (("privileged", have.get("privileged")), ("capabilities.add", capabilities)) if value]
    changed = [f"securityContext.{key}" for key in (*weaker, *added)]
    return f"its {', '.join(changed)} is not what was asked for" if changed else None


def _is_same_mount(mount: Object, wanted: Object) -> bool:
    return difference(wanted, mount, "mount") is None


def _shown(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or "unset"
    # Values of variables may be secrets: names only.
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return ", ".join(str(item.get("name", "?")) for item in value) or "unset"
    return "another value"


def controlled_by(obj: Object, uid: str) -> bool:
    """Return whether the object with this uid is the controller of `obj`."""
    references = obj["metadata"].get("ownerReferences") or []
    return any(ref.get("controller") and ref.get("uid") == uid for ref in references)
