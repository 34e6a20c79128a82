"""What outlives the node's processes: cgroup folders, mounts, data."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.paths import CGROUP, DATA, KUBECONFIG, PID_FILE, REQUESTS, STATE, STATUS_FILE
from tests.cluster.processes import succeeds
from tests.cluster.say import ClusterError
from tests.cluster.wait import until

_CGROUPS = Path("/sys/fs/cgroup")


def make_cgroup() -> None:
    """Make the cgroup that the pods' lie below."""
    for hierarchy in _hierarchies():
        (hierarchy / CGROUP).mkdir(exist_ok=True)


def remove() -> None:
    """Remove everything, given that no process of the node is left.

    Raises:
        ClusterError: something is still in use.
    """
    _unmount()
    until(_remove_cgroups, 20, f"no process is left in the cgroups named {CGROUP} (see their cgroup.procs below {_CGROUPS})")
    for folder in (DATA, REQUESTS, STATE / "certificates"):
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            raise ClusterError(f"{folder} could not be removed: something still uses it")
    for file in (KUBECONFIG, PID_FILE, STATUS_FILE):
        file.unlink(missing_ok=True)


def found() -> list[str]:
    """Return what is left on this machine, in words."""
    return [
        *(f"mount {mount}" for mount in _mounts()),
        *(f"cgroup {folder}" for folder in _cgroups()),
        *(f"folder {folder}" for folder in (DATA, REQUESTS) if folder.exists()),
    ]


def _mounts() -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4].replace("\\040", " ") for line in lines]
    return [point for point in points if point.startswith(f"{STATE}/")]


def _unmount() -> None:
    for point in reversed(_mounts()):
        succeeds("umount", "--lazy", point)


def _cgroups() -> Iterator[Path]:
    for hierarchy in _hierarchies():
        if (folder := hierarchy / CGROUP).is_dir():
            yield folder


def _hierarchies() -> list[Path]:
    # cgroup v1 has one tree for each controller, v2 a single one.
    if (_CGROUPS / "cgroup.controllers").exists():
        return [_CGROUPS]
    return sorted(folder for folder in _CGROUPS.iterdir() if (folder / "cgroup.procs").exists() and not folder.is_symlink())


def _remove_cgroups() -> bool:
    for tree in _cgroups():
        # Only folders can be removed, children first: the files in them are the kernel's.
        for path, _, _ in os.walk(tree, topdown=False):
            try:
                os.rmdir(path)
            except OSError:
                return False
    return True
