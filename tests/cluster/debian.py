"""The Debian packages that the node needs, installed where they are missing."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.processes import run
from tests.cluster.say import ClusterError, step

# A program of each package, by which its absence shows.
_PROGRAMS = {
    "containerd": "containerd",
    "runc": "runc",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "docker-registry": "docker-registry",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "iproute2": "ip",
    "buildah": "buildah",
    "skopeo": "skopeo",
    "umoci": "umoci",
    "debootstrap": "debootstrap",
    "prometheus": "promtool",
    "openssl": "openssl",
    "util-linux": "unshare",
    "gcc": "gcc",
    "libc6-dev": "/usr/include/stdio.h",
}
_POLICY = Path("/usr/sbin/policy-rc.d")


def install_missing() -> None:
    """Install what is missing.

    Raises:
        ClusterError: this is not Debian, or not root, and something is missing.
    """
    missing = [package for package, program in _PROGRAMS.items() if shutil.which(program) is None and not _file(program)]
    if not missing:
        return
    names = " ".join(missing)
    if shutil.which("apt-get") is None:
        raise ClusterError(f"The node needs {names}: install them, or Docker and kind, and run again")
    if os.geteuid() != 0:
        raise ClusterError(f"The node needs {names}: run `sudo apt-get install {names}` and try again")
    with step(f"install {names}"), _no_services():
        run("apt-get", "update", "-qq")
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing, environment=quiet)


def _file(program: str) -> bool:
    return program.startswith("/") and Path(program).exists()


@contextmanager
def _no_services() -> Iterator[None]:
    # Debian starts what it installs; a containerd and a registry on the host are not wanted.
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink(missing_ok=True)
