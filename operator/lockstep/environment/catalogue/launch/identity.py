"""The user and group ids with which a container runtime starts a process of an image."""

from lockstep.api.reasons import Reason
from lockstep.environment.catalogue.errors import CatalogueError
from lockstep.environment.tree import FileTree

_FIELDS = 4


def identity(tree: FileTree, user: str) -> tuple[int, int]:
    """Return user and group id, the group by /etc/passwd and else 0, as the kubelet and containerd take them.

    Args:
        tree: the root file system.
        user: a number or a name; empty for root. The kubelet hands no group of the image's on (kuberuntime, getImageUser).

    Raises:
        CatalogueError: InterpreterAmbiguous, where a name is nobody's.
        UnreadableFileError: /etc/passwd was not kept.
    """
    wanted = user or "0"
    for line in (tree.read("/etc/passwd") or b"").decode("utf-8", "replace").splitlines():
        fields = line.split(":")
        if len(fields) >= _FIELDS and wanted in (fields[0], fields[2]) and fields[2].isdigit() and fields[3].isdigit():
            return int(fields[2]), int(fields[3])
    if not wanted.isdigit():
        raise CatalogueError(Reason.INTERPRETER_AMBIGUOUS, f"the image's user {wanted[:100]!r} is not in its /etc/passwd")
    return int(wanted), 0
