"""The node's init: process 1 of its own namespaces, which starts the components and records how they fare.

Started by `node.up` under `unshare`. Whatever kills it, however, ends every process, mount and interface of the node.
"""

import json
import os
import signal
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster import configuration, network, pause
from tests.cluster.components import Component, components, log_file
from tests.cluster.paths import API_SERVER, DATA, LOGS, NODE_NAME, PID_FILE, REPOSITORY, REQUESTS, STATUS_FILE
from tests.cluster.processes import Process, run, succeeds
from tests.cluster.say import ClusterError
from tests.cluster.wait import until

_TICK = 0.1
_WRITTEN = (Path("/var/lib"), Path("/var/log"))
"""Folders of the host that components write to, whatever they are told."""

_CONTAINERD = Path("/run/containerd/containerd.sock")


@dataclass
class Init:
    """Starts, watches and stops components."""

    known: dict[str, Component]
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    stopping: set[str] = field(default_factory=set)

    def start(self, name: str) -> None:
        """Start a component, unless it runs."""
        if name in self.running:
            return
        with Path(log_file(name)).open("ab") as log:
            self.running[name] = subprocess.Popen(
                self.known[name].command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._record(name, "running")

    def stop(self, name: str, with_signal: signal.Signals) -> None:
        """Ask a component to end, or end it; nothing starts it again but a request."""
        if process := self.running.get(name):
            self.stopping.add(name)
            process.send_signal(with_signal)
        else:
            self._record(name, "stopped")

    def reap(self) -> None:
        """Bury every process that ended, those of containers included, and record the components among them."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for name, process in list(self.running.items()):
                if process.pid == pid:
                    process.returncode = os.waitstatus_to_exitcode(status)
                    del self.running[name]
                    self._ended(name, process.returncode)

    def obey(self) -> None:
        """Do what the files in the request folder ask for."""
        for request in sorted(REQUESTS.iterdir()):
            if request.suffix:
                continue
            wanted = request.read_text().strip()
            if wanted == "start" and request.name in self.stopping:
                continue  # Its turn comes once the component has ended.
            if request.name in self.known:
                if wanted == "start":
                    self.start(request.name)
                else:
                    self.stop(request.name, signal.SIGKILL if wanted == "kill" else signal.SIGTERM)
            request.unlink(missing_ok=True)

    def watch(self, condition: Callable[[], bool]) -> bool:
        """Tend the components, then tell whether the condition holds."""
        self.reap()
        self.obey()
        return condition()

    def _ended(self, name: str, code: int) -> None:
        expected = name in self.stopping
        self.stopping.discard(name)
        self._record(name, "stopped" if expected else f"died with {code}")

    def _record(self, name: str, state: str) -> None:
        self.states[name] = state
        partial = STATUS_FILE.with_suffix(".partial")
        partial.write_text(json.dumps(self.states, indent=1))
        partial.rename(STATUS_FILE)


def main() -> None:
    """Set the sandbox up, start everything, then watch until killed."""
    _introduce()
    _mount()
    until(lambda: succeeds("ip", "link", "show", network.NODE_END), 20, "the cable from the host is there")
    network.configure_node_side()
    init = Init({component.name: component for component in components(configuration.write())})
    for component in init.known.values():
        if not component.needs_api:
            init.start(component.name)
    until(lambda: init.watch(_CONTAINERD.exists), 60, f"containerd answers (see {log_file('containerd')})")
    importing = subprocess.Popen(["ctr", "--namespace", "k8s.io", "images", "import", str(pause.archive())])
    until(lambda: init.watch(_api_is_ready), 120, f"the API server is ready (see {log_file('kube-apiserver')})")
    for component in init.known.values():
        init.start(component.name)
    importing.returncode = 0  # The loop below reaps it with everything else.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM})
    while True:
        received = signal.sigtimedwait({signal.SIGCHLD, signal.SIGTERM}, _TICK)
        if received and received.si_signo == signal.SIGTERM:
            return
        init.watch(lambda: True)


def _introduce() -> None:
    # The old /proc still shows the id that the host knows this process by; the fresh one will say 1.
    process = Process.of(int(os.readlink("/proc/self")))
    PID_FILE.write_text(str(process))
    run("hostname", NODE_NAME)


def _mount() -> None:
    run("mount", "-t", "proc", "proc", "/proc")
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for folder in _WRITTEN:
        # What is there stays visible; what components add goes to memory, never to the host.
        scratch = Path("/run/lockstep", folder.name)
        for part in ("upper", "work"):
            (scratch / part).mkdir(parents=True)
        layers = f"lowerdir={folder},upperdir={scratch / 'upper'},workdir={scratch / 'work'}"
        run("mount", "-t", "overlay", "-o", layers, "overlay", folder)
    # Volumes that the kubelet mounts are to be seen by containers, and by nobody outside.
    run("mount", "--make-rshared", "/")
    (DATA / "kubelet").mkdir(parents=True, exist_ok=True)
    REQUESTS.mkdir(parents=True, exist_ok=True)


def _api_is_ready() -> bool:
    context = ssl.create_default_context(cafile=str(configuration.certificate_authority()))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(f"{API_SERVER}/readyz", timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


if __name__ == "__main__":
    os.chdir(REPOSITORY)
    try:
        main()
    except ClusterError as error:
        (LOGS / "init.error").write_text(str(error))
        sys.exit(str(error))
