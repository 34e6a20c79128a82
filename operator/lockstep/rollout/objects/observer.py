"""The observer: the container that is added to a candidate's pod, looks at the server's processes, and ends."""

from collections.abc import Sequence

from lockstep.api.kinds import Object
from lockstep.images.reference import repository_of
from lockstep.rollout.objects.drift import difference
from lockstep.rollout.objects.manifests import CONTAINER

OBSERVER = "lockstep-observer"
_PYTHON = "/opt/lockstep/bin/observer-python"
"""An interpreter that nobody but root may read, so that the kernel lets no process of the server into it (execve(2))."""


def observer_container(pod: Object, image: str, *, variables: Sequence[str], user: int, group: int) -> Object:
    """Render the ephemeral container, with every default of the API server written out.

    Args:
        pod: the pod that it looks at; it shares the server's security context, and so sees no more than the server itself.
        image: the observer's image.
        variables: whose values are reported, by name or pattern.
        user: the server's user id, which alone may look at its processes.
        group: its group id, which the kernel compares as well (ptrace(2), access mode checking).
    """
    server = server_of(pod)
    port = next((one.get("containerPort") for one in server.get("ports") or []), 0)
    identity = {"runAsUser": user, "runAsGroup": group}
    return {
        "name": OBSERVER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": [_PYTHON, "-I", "-m", "lockstep.observer", f"--port={port}", f"--variables={','.join(variables)}"],
        "resources": {},
        "securityContext": dict(server.get("securityContext") or {}) | identity,
        "targetContainerName": CONTAINER,
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }


def is_observer(container: Object, pod: Object, repository: str) -> bool:
    """Return whether an ephemeral container of a pod is the observer as this version or another one renders it.

    Args:
        container: the ephemeral container.
        pod: its pod.
        repository: that the observer's image comes from.
    """
    image, command = str(container.get("image")), container.get("command") or [""]
    variables = str(command[-1]).partition("=")[2].split(",")
    return bool(repository) and repository_of(image) == repository and is_this_observer(container, pod, image, variables)


def is_this_observer(container: Object, pod: Object, image: str, variables: Sequence[str]) -> bool:
    """Return whether an ephemeral container of a pod is the observer of this image that reports these variables."""
    context = container.get("securityContext") or {}
    user, group = context.get("runAsUser"), context.get("runAsGroup")
    if not isinstance(user, int) or not isinstance(group, int):
        return False
    wanted = observer_container(pod, image, variables=variables, user=user, group=group)
    return difference(wanted, container, "container") is None


def server_of(pod: Object) -> Object:
    """Return a pod's container that serves; empty where it has none."""
    return next((one for one in pod["spec"].get("containers") or [] if one.get("name") == CONTAINER), {})
