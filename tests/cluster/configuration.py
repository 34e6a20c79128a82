"""Configuration files of the node's components, written anew at every start."""

import json
from pathlib import Path

from tests.cluster import pause
from tests.cluster.certificates import Authority
from tests.cluster.paths import (
    API_SERVER,
    BRIDGE,
    CGROUP,
    DATA,
    KUBECONFIG,
    NODE_NAME,
    POD_CIDR,
    REGISTRY,
    SERVICE_CIDR,
    STATE,
)
from tests.cluster.processes import stacks

FOLDER = DATA / "config"
PROCESSES = ("controller-manager", "scheduler", "kubelet", "kube-proxy", "coredns")
_MASTERS = "system:masters"
_NODES = "system:nodes"
_USERS = {
    "admin": ("lockstep-admin", _MASTERS),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "kubelet": (f"system:node:{NODE_NAME}", _NODES),
    "kube-proxy": ("system:kube-proxy", ""),
    # It only reads Services, and nobody but tests uses this node: no role of its own.
    "coredns": ("coredns", _MASTERS),
    "apiserver-kubelet": ("kube-apiserver", _MASTERS),
}

AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    # Reads are most of the traffic, and tests only count writes.
    "rules": [{"level": "None", "verbs": ["get", "list", "watch"]}, {"level": "Metadata"}],
}


def file(name: str) -> Path:
    """Return where a configuration file is kept."""
    return FOLDER / name


def certificate_authority() -> Path:
    """Return the certificate that the API server's own is signed by."""
    return Authority(STATE / "certificates").certificate("ca")


def write() -> Authority:
    """Write certificates, kubeconfigs and every component's configuration."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    authority = Authority.create(STATE / "certificates")
    for name, (user, group) in _USERS.items():
        # The kubelet serves with its certificate too.
        authority.issue(name, user, group, [f"DNS:{NODE_NAME}", f"IP:{BRIDGE}"] if name == "kubelet" else ())
    names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost")
    first_service = SERVICE_CIDR.replace(".0/16", ".1")
    addresses = (*(f"DNS:{name}" for name in names), *(f"IP:{ip}" for ip in (BRIDGE, first_service, "127.0.0.1")))
    authority.issue("apiserver", "kube-apiserver", addresses=addresses)
    for name in PROCESSES:
        file(f"{name}.kubeconfig").write_text(authority.kubeconfig(name, API_SERVER))
    KUBECONFIG.write_text(authority.kubeconfig("admin", API_SERVER))
    KUBECONFIG.chmod(0o600)
    _json("audit-policy.json", AUDIT_POLICY)
    _json("kubelet.json", _kubelet(authority))
    _json("kube-proxy.json", _kube_proxy())
    _json("net.d/10-lockstep.conflist", _cni())
    snapshotter = "overlayfs" if stacks(DATA) else "native"
    _text("containerd.toml", _CONTAINERD.replace("SNAPSHOTTER", snapshotter))
    _text("resolv.conf", f"nameserver {BRIDGE}\n")
    _text("Corefile", _COREFILE)
    _text("registry.json", json.dumps(_REGISTRY))
    _text(f"registries/{REGISTRY}/hosts.toml", _HOSTS)
    return authority


def _json(name: str, content: object) -> None:
    _text(name, json.dumps(content, indent=1))


def _text(name: str, content: str) -> None:
    file(name).parent.mkdir(parents=True, exist_ok=True)
    file(name).write_text(content)


def _oom_score() -> int:
    # Lowering it needs CAP_SYS_RESOURCE, which containers often lack: everything keeps what it inherits.
    return int(Path("/proc/self/oom_score_adj").read_text())


def _kubelet(authority: Authority) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": BRIDGE,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(authority.certificate("ca"))},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(authority.certificate("kubelet")),
        "tlsPrivateKeyFile": str(authority.key("kubelet")),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{CGROUP}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": _oom_score(),
        "clusterDNS": [BRIDGE],
        "clusterDomain": "cluster.local",
        "resolvConf": str(file("resolv.conf")),
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "podLogsDir": str(DATA / "pod-logs"),
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        "nodeStatusUpdateFrequency": "2s",
        "syncFrequency": "10s",
        "volumeStatsAggPeriod": "1m",
        # A developer's disk is often nearly full; that is no reason to evict a test's pods.
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "shutdownGracePeriod": "0s",
    }


def _kube_proxy() -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": POD_CIDR,
        "hostnameOverride": NODE_NAME,
        "clientConnection": {"kubeconfig": str(file("kube-proxy.kubeconfig"))},
        # Their sysctls belong to the host, and are not writable from a network namespace.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpCloseWaitTimeout": "0s", "tcpEstablishedTimeout": "0s"},
        "oomScoreAdj": _oom_score(),
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "iptables": {"minSyncPeriod": "200ms", "syncPeriod": "30s"},
    }


def _cni() -> dict[str, object]:
    prefix = POD_CIDR.removesuffix(".0.0/16")
    addresses = {"subnet": POD_CIDR, "gateway": BRIDGE, "rangeStart": f"{prefix}.1.1", "rangeEnd": f"{prefix}.254.254"}
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(DATA / "addresses"),
            "ranges": [[addresses]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "lockstep", "plugins": [bridge, portmap]}


_CONTAINERD = f"""\
version = 2
root = "{DATA}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause.IMAGE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "SNAPSHOTTER"
    default_runtime_name = "runc"
    discard_unpacked_layers = true
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{FOLDER}/net.d"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{FOLDER}/registries"
"""

_HOSTS = f"""\
server = "http://{REGISTRY}"
[host."http://{REGISTRY}"]
  capabilities = ["pull", "resolve"]
"""

_COREFILE = f"""\
.:53 {{
  bind {BRIDGE}
  errors
  ready {BRIDGE}:8181
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {FOLDER}/coredns.kubeconfig
    pods insecure
    ttl 2
  }}
  cache 2
}}
"""

_REGISTRY = {
    "version": 0.1,
    "log": {"accesslog": {"disabled": False}, "level": "info"},
    "storage": {"filesystem": {"rootdirectory": str(DATA / "registry")}, "delete": {"enabled": True}},
    "http": {"addr": REGISTRY},
}
