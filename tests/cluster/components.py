"""The programs that make up the node, in the order in which they are started."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.binaries import binary
from tests.cluster.certificates import Authority
from tests.cluster.configuration import file
from tests.cluster.paths import AUDIT_LOG, BRIDGE, DATA, LOGS, NODE_NAME, SERVICE_CIDR

_ETCD_PORT = 2379


@dataclass(frozen=True)
class Component:
    """One program of the node."""

    name: str
    command: Sequence[str]
    needs_api: bool = False
    """It gives up without an API server, so it is started after it."""


def components(authority: Authority) -> list[Component]:
    """Return every component with its command line."""
    return [
        Component("etcd", etcd(DATA / "etcd", _ETCD_PORT, _ETCD_PORT + 1)),
        Component("kube-apiserver", _api_server(authority)),
        Component("containerd", ["containerd", "--config", str(file("containerd.toml"))]),
        Component("docker-registry", ["docker-registry", "serve", str(file("registry.json"))]),
        Component("kube-controller-manager", _controller_manager(authority), needs_api=True),
        Component("kube-scheduler", _scheduler(), needs_api=True),
        Component("kubelet", _kubelet(), needs_api=True),
        Component("kube-proxy", [str(binary("kube-proxy")), f"--config={file('kube-proxy.json')}"], needs_api=True),
        Component("coredns", [str(binary("coredns")), "-conf", str(file("Corefile"))], needs_api=True),
    ]


def log_file(name: str) -> str:
    """Return where a component's output goes."""
    return str(LOGS / f"{name}.log")


def etcd(data: Path, client_port: int, peer_port: int) -> list[str]:
    """Return etcd's command line, on loopback."""
    clients = f"http://127.0.0.1:{client_port}"
    return [
        str(binary("etcd")),
        f"--data-dir={data}",
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
        "--log-level=warn",
        # The data dies with the node, so nothing is gained by waiting for the disk.
        "--unsafe-no-fsync",
    ]


def _api_server(authority: Authority) -> list[str]:
    return [
        str(binary("kube-apiserver")),
        f"--etcd-servers=http://127.0.0.1:{_ETCD_PORT}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged",
        f"--advertise-address={BRIDGE}",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        f"--client-ca-file={authority.certificate('ca')}",
        f"--tls-cert-file={authority.certificate('apiserver')}",
        f"--tls-private-key-file={authority.key('apiserver')}",
        f"--kubelet-client-certificate={authority.certificate('apiserver-kubelet')}",
        f"--kubelet-client-key={authority.key('apiserver-kubelet')}",
        f"--kubelet-certificate-authority={authority.certificate('ca')}",
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={authority.key('service-accounts')}",
        f"--service-account-signing-key-file={authority.key('service-accounts')}",
        f"--audit-policy-file={file('audit-policy.json')}",
        f"--audit-log-path={AUDIT_LOG}",
        "--profiling=false",
    ]


def _controller_manager(authority: Authority) -> list[str]:
    kubeconfig = file("controller-manager.kubeconfig")
    return [
        str(binary("kube-controller-manager")),
        *(f"--{use}kubeconfig={kubeconfig}" for use in ("", "authentication-", "authorization-")),
        f"--root-ca-file={authority.certificate('ca')}",
        f"--service-account-private-key-file={authority.key('service-accounts')}",
        f"--cluster-signing-cert-file={authority.certificate('ca')}",
        f"--cluster-signing-key-file={authority.key('ca')}",
        "--use-service-account-credentials",
        "--allocate-node-cidrs=false",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
    ]


def _scheduler() -> list[str]:
    kubeconfig = file("scheduler.kubeconfig")
    return [
        str(binary("kube-scheduler")),
        *(f"--{use}kubeconfig={kubeconfig}" for use in ("", "authentication-", "authorization-")),
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
    ]


def _kubelet() -> list[str]:
    return [
        str(binary("kubelet")),
        f"--config={file('kubelet.json')}",
        f"--kubeconfig={file('kubelet.kubeconfig')}",
        f"--hostname-override={NODE_NAME}",
        f"--node-ip={BRIDGE}",
        f"--root-dir={DATA / 'kubelet'}",
    ]
