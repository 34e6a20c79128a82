"""The node in a sandbox of Linux namespaces: up, down, status, and its components one by one."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.cluster import binaries, debian, leftovers, network, pause
from tests.cluster.components import log_file
from tests.cluster.paths import (
    BRIDGE,
    KUBECONFIG,
    LOGS,
    NODE_NAME,
    PID_FILE,
    REGISTRY,
    REPOSITORY,
    REQUESTS,
    STATE,
    STATUS_FILE,
)
from tests.cluster.processes import Process, run, succeeds
from tests.cluster.say import ClusterError, say, step
from tests.cluster.wait import until

_READY_TIMEOUT = 180
# kube-apiserver waits up to a minute for its clients when it is asked to stop.
_OBEY_TIMEOUT = 90
_INIT_ERROR = LOGS / "init.error"
_PROBES = {"docker-registry": f"http://{REGISTRY}/v2/", "coredns": f"http://{BRIDGE}:8181/ready"}


def up() -> None:
    """Bring the node up, or leave it alone if it is up and well.

    Raises:
        ClusterError: something is missing, held by another, or did not become ready.
    """
    _check_machine()
    debian.install_missing()
    network.check_no_other()
    if (process := running()) and not _dead_components() and ready():
        say(f"The node is up and Ready: export KUBECONFIG={KUBECONFIG}")
        return
    if process or leftovers.found() or network.is_ours():
        say("  … a node that is not well, or its remains, are in the way: removing them")
        down()
    binaries.build()
    network.check_free()
    pause.archive()
    started = time.monotonic()
    try:
        with step("start the node"):
            _start()
            until(_ready_or_dead, _READY_TIMEOUT, f"the node is Ready (logs: {LOGS})")
    except BaseException:
        # Half a node is of no use; its logs stay.
        down()
        raise
    say(f"The node is Ready after {time.monotonic() - started:.1f} s: export KUBECONFIG={KUBECONFIG}")


def down() -> None:
    """End the node and remove every trace but its logs; also after a crash."""
    found = network.owner()
    candidates = [Process.read(PID_FILE)]
    if found and found.checkout == REPOSITORY:
        # Known from the cable as well, should somebody have removed the state folder of a running node.
        candidates.append(found.process)
    for process in filter(None, candidates):
        process.kill()
    if found and found.checkout != REPOSITORY and found.process.alive():
        say(f"The node of {found.checkout} runs on this machine; it is left alone")
        return
    network.unplug()
    leftovers.remove()
    say("The node is down" + (f"; its logs stay in {LOGS}" if LOGS.exists() else ""))


def running() -> Process | None:
    """Return the node's init if it runs."""
    process = Process.read(PID_FILE)
    return process if process and process.alive() else None


def components() -> dict[str, str]:
    """Return what the node's init says of every component."""
    try:
        states: dict[str, str] = json.loads(STATUS_FILE.read_text())
    except (OSError, ValueError):
        return {}
    return states


def status() -> int:
    """Print how the node fares, and return 0 if it is Ready."""
    if running() is None:
        network.check_no_other()
        left = leftovers.found()
        say("The node is down." + (" Left behind (run `make cluster-down`): " + "; ".join(left) if left else ""))
        return 3
    for name, state in components().items():
        say(f"  {name:26} {state}" + (f"  (see {log_file(name)})" if state.startswith("died") else ""))
    well = ready() and not _dead_components()
    say(f"The node is {'' if well else 'NOT '}Ready: export KUBECONFIG={KUBECONFIG}")
    return 0 if well else 1


def component(action: str, name: str) -> None:
    """Stop, kill or start one component of the running node, and return once that is done.

    Raises:
        ClusterError: there is no such component, or it did not follow.
    """
    if running() is None:
        raise ClusterError("The node is not up: run `make cluster-up`")
    if name not in (known := components()):
        raise ClusterError(f"{name} is no component of the node: choose one of {', '.join(known)}")
    request = REQUESTS / name
    partial = request.with_suffix(".partial")
    partial.write_text(action)
    partial.rename(request)
    wanted = ("running",) if action == "start" else ("stopped", "died with")
    until(lambda: not request.exists() and components()[name].startswith(wanted), _OBEY_TIMEOUT, f"{name} obeys `{action}`")
    if action == "start" and (url := _PROBES.get(name)):
        until(lambda: _answers(url), 40, f"{name} answers")


def ready() -> bool:
    """Return whether the node, its registry and its DNS all answer."""
    return _node_is_ready() and all(_answers(url) for url in _PROBES.values())


def _check_machine() -> None:
    if sys.platform != "linux":
        raise ClusterError("The node needs Linux; elsewhere install Docker and kind, and run again")
    if os.geteuid() != 0:
        raise ClusterError("The node needs root (namespaces, mounts, a veth pair): run with sudo, or install Docker and kind")


def _start() -> None:
    for folder in (STATE, LOGS, REQUESTS):
        folder.mkdir(parents=True, exist_ok=True)
    for old in LOGS.iterdir():
        old.unlink()
    PID_FILE.unlink(missing_ok=True)
    leftovers.make_cgroup()
    with (LOGS / "init.log").open("ab") as log:
        # Not a child to wait for: it outlives this command. --kill-child ties the init to `unshare`, and the
        # namespaces to the init.
        unshare = subprocess.Popen(
            [
                *("unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child"),
                *(sys.executable, "-m", "tests.cluster.sandbox"),
            ],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    until(lambda: _alive(unshare) and Process.read(PID_FILE), 10, f"the node's init has started (see {LOGS / 'init.log'})")
    process = Process.read(PID_FILE)
    assert process is not None
    network.plug(process)


def _alive(unshare: "subprocess.Popen[bytes]") -> bool:
    if unshare.poll() is not None:
        raise ClusterError(f"The sandbox could not be made: {(LOGS / 'init.log').read_text().strip()[-500:]}")
    return True


def _ready_or_dead() -> bool:
    if _INIT_ERROR.exists() or running() is None:
        said = (_INIT_ERROR if _INIT_ERROR.exists() else LOGS / "init.log").read_text().strip()[-800:]
        raise ClusterError(f"The node's init ended: {said}")
    for name in _dead_components():
        tail = Path(log_file(name)).read_text(errors="replace").strip()[-800:]
        raise ClusterError(f"{name} {components()[name]}; the end of {log_file(name)}:\n{tail}")
    return KUBECONFIG.exists() and ready()


def _dead_components() -> list[str]:
    return [name for name, state in components().items() if state.startswith("died")]


def _node_is_ready() -> bool:
    kubectl = (str(binaries.binary("kubectl")), f"--kubeconfig={KUBECONFIG}", "--request-timeout=3s")
    path = "{.status.conditions[?(@.type=='Ready')].status}"
    try:
        if run(*kubectl, "get", "node", NODE_NAME, "-o", f"jsonpath={path}", timeout=5) != "True":
            return False
    except ClusterError:
        return False
    # Pods in `default` need its service account, which a controller makes.
    return succeeds(*kubectl, "get", "serviceaccount", "default")


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False
