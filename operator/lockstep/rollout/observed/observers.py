"""Tells the observer, which Lockstep itself adds to pods, apart from what others may have changed of them."""

from lockstep.api.kinds import Object
from lockstep.rollout.objects.observer import OBSERVER, is_observer


def split_observer(pod: Object, repository: str) -> tuple[Object, Object | None]:
    """Return a pod as it was before the observer was added, and the observer; the pod itself and None where there is none.

    Args:
        pod: as the API server has it.
        repository: that the observer's image comes from; empty where there is no observer.
    """
    added = pod["spec"].get("ephemeralContainers") or []
    ours = [one for one in added if one.get("name") == OBSERVER and is_observer(one, pod, repository)]
    if len(ours) != 1:
        return pod, None
    spec = {key: value for key, value in pod["spec"].items() if key != "ephemeralContainers"}
    others = [one for one in added if one is not ours[0]]
    metadata = dict(pod["metadata"])
    if isinstance(metadata.get("generation"), int):
        # The API server counts it as a change of the spec.
        metadata["generation"] -= 1
    return dict(pod, metadata=metadata, spec=spec | ({"ephemeralContainers": others} if others else {})), ours[0]


def observer_status(pod: Object) -> Object:
    """Return what a pod's node says of the observer; empty where it says nothing yet."""
    statuses = (pod.get("status") or {}).get("ephemeralContainerStatuses") or []
    return next((one for one in statuses if one.get("name") == OBSERVER), {})
