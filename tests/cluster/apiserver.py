"""A real API server alone, for tests that need no node: etcd and kube-apiserver on loopback, in a temporary folder."""

import json
import secrets
import socket
import ssl
import subprocess
import tempfile
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from tests.cluster import binaries
from tests.cluster.certificates import Authority
from tests.cluster.components import etcd
from tests.cluster.configuration import AUDIT_POLICY
from tests.cluster.say import ClusterError
from tests.cluster.wait import until

_MASTERS = "system:masters"


class ApiServer:
    """A kube-apiserver and its etcd, for as long as the context lasts.

    RBAC is enforced; `kubeconfig` is an administrator's and `kubeconfig_of` any other user's. There are no
    controllers: no garbage collection, no service accounts of themselves, and namespaces never finish deleting.
    Both processes die with the thread that entered the context, so even a killed test run leaves none behind.
    """

    def __init__(
        self,
        *,
        users: Mapping[str, Sequence[str]] | None = None,
        flags: Sequence[str] = (),
        service_accounts: bool = False,
    ) -> None:
        """Take the users besides the administrator, with their groups, and further flags of kube-apiserver.

        With `service_accounts` pods need one, which the test has to make: nobody else makes the default ones.
        """
        self._service_accounts = service_accounts
        self._users = {"lockstep-admin": (_MASTERS,)} | dict(users or {})
        self._flags = flags
        self._tokens = {user: secrets.token_hex(16) for user in self._users}
        self._started: list[subprocess.Popen[bytes]] = []
        self._stack = ExitStack()
        self.folder = Path()
        self.url = ""

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.kubeconfig_of("lockstep-admin")

    @property
    def audit_log(self) -> Path:
        """Where every write is recorded, one JSON object a line."""
        return self.folder / "audit.log"

    @property
    def certificate_authority(self) -> Path:
        """The certificate that the server's own is signed by."""
        return Authority(self.folder / "certificates").certificate("ca")

    def token_of(self, user: str) -> str:
        """Return a user's bearer token."""
        return self._tokens[user]

    def kubeconfig_of(self, user: str) -> Path:
        """Return a user's kubeconfig."""
        return self.folder / f"{user}.kubeconfig"

    def __enter__(self) -> "ApiServer":
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """End both processes and remove the folder."""
        for process in reversed(self._started):
            process.kill()
            process.wait()
        self._started.clear()
        self._stack.close()

    def _start(self) -> None:
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="lockstep-api-")))
        client, peer, secure = _free_ports(3)
        self.url = f"https://127.0.0.1:{secure}"
        self._launch("etcd", etcd(self.folder / "etcd", client, peer))
        self._write_files()
        self._launch("kube-apiserver", self._command(client, secure))
        until(self._is_ready, 60, "the API server is ready", every=0.05)

    def _write_files(self) -> None:
        authority = Authority.create(self.folder / "certificates")
        authority.issue("apiserver", "kube-apiserver", addresses=("IP:127.0.0.1", "DNS:localhost"))
        lines = (f'{token},{user},{user},"{",".join(self._users[user])}"\n' for user, token in self._tokens.items())
        (self.folder / "tokens.csv").write_text("".join(lines))
        (self.folder / "audit-policy.json").write_text(json.dumps(AUDIT_POLICY))
        for user, token in self._tokens.items():
            self.kubeconfig_of(user).write_text(authority.kubeconfig_with_token(token, self.url))

    def _command(self, etcd_port: int, port: int) -> list[str]:
        authority = Authority(self.folder / "certificates")
        return [
            str(binaries.binary("kube-apiserver")),
            f"--etcd-servers=http://127.0.0.1:{etcd_port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            f"--secure-port={port}",
            f"--tls-cert-file={authority.certificate('apiserver')}",
            f"--tls-private-key-file={authority.key('apiserver')}",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.99.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={authority.key('service-accounts')}",
            f"--service-account-signing-key-file={authority.key('service-accounts')}",
            *(() if self._service_accounts else ("--disable-admission-plugins=ServiceAccount",)),
            f"--audit-policy-file={self.folder / 'audit-policy.json'}",
            f"--audit-log-path={self.audit_log}",
            "--profiling=false",
            *self._flags,
        ]

    def _launch(self, name: str, command: Sequence[str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            tied = ["setpriv", "--pdeathsig", "KILL", *command]
            process = subprocess.Popen(tied, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._started.append(process)

    def _is_ready(self) -> bool:
        for process in self._started:
            if process.poll() is not None:
                name = Path(str(process.args[3])).name if isinstance(process.args, list) else "?"
                tail = (self.folder / f"{name}.log").read_text(errors="replace")[-1500:]
                raise ClusterError(f"{name} ended with {process.returncode}:\n{tail}")
        context = ssl.create_default_context(cafile=str(self.certificate_authority))
        handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        try:
            with urllib.request.build_opener(*handlers).open(f"{self.url}/readyz", timeout=2) as response:
                return bool(response.status == 200)
        except OSError:
            return False


def _free_ports(count: int) -> list[int]:
    # All are held at once, so that no two are the same.
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
