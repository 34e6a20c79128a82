"""A real API server with the whole chart installed, and the people and machines who talk to it."""

import itertools
import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes.aio import config

from lockstep.controller.cluster.client import Fence, KubernetesCluster
from lockstep.controller.cluster.ports import Object
from tests.cluster.apiserver import ApiServer
from tests.cluster.binaries import KUBERNETES, binary
from tests.cluster.paths import REPOSITORY
from tests.cluster.say import ClusterError
from tests.cluster.wait import until

SYSTEM = "lockstep-system"
ADMIN = "lockstep-admin"
OPERATOR = f"system:serviceaccount:{SYSTEM}:lockstep"
BREAK_GLASS = "rescuer"
"""Is in the group that the chart's values let past the guards."""
VIRTUAL_KUBELET = "system:serviceaccount:kube-system:virtual-kubelet"
"""Reports the status of pods without being a node; the chart's values name it."""
STRANGER = "stranger"
"""May do nothing at all."""
UNREACHABLE = "http://127.0.0.1:9"
"""Where no MLflow listens."""

_USERS = {
    OPERATOR: ("system:serviceaccounts", f"system:serviceaccounts:{SYSTEM}"),
    BREAK_GLASS: ("system:masters", "sre"),
    STRANGER: (),
}
_POLICY_KIND = "lockstep.dev/v1alpha1/PromotionPolicy"


@dataclass(frozen=True)
class Said:
    """What kubectl said."""

    code: int
    out: str
    error: str

    @property
    def object(self) -> Object:
        """The object that it printed as JSON."""
        found: Object = json.loads(self.out)
        return found


@dataclass(frozen=True)
class Write:
    """One write that the API server's audit log holds."""

    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    status: int

    def __str__(self) -> str:
        return f"{self.verb} {self.resource} {self.namespace}/{self.name} ({self.status})"


class Installation:
    """The chart's objects in a real API server; the controller itself is started by who needs it."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server
        self._numbers = itertools.count(1)
        self.settings: dict[str, str] = {}
        """The variables that the chart gives the controller."""

    @classmethod
    @contextmanager
    def started(cls, *, flags: Sequence[str] = ()) -> Iterator["Installation"]:
        """Start an API server and install the chart."""
        with ApiServer(users=_USERS, flags=flags) as server:
            found = cls(server)
            found._install()
            yield found

    @property
    def guard_bindings(self) -> str:
        """The names of the guards' bindings, as the controller is given them."""
        return self.settings["LOCKSTEP_GUARD_BINDINGS"]

    # --- the chart -------------------------------------------------------------------------------------------------

    def _install(self) -> None:
        self.kubectl("create", "namespace", SYSTEM)
        documents = rendered()
        kinds = [one for one in documents if one["kind"] == "CustomResourceDefinition"]
        self.apply(*kinds)
        self.kubectl(
            "wait", "--for=condition=Established", "--timeout=30s", *(f"crd/{one['metadata']['name']}" for one in kinds)
        )
        # Its Deployment stays an object: nothing here runs pods.
        self.apply(*(one for one in documents if one["kind"] != "CustomResourceDefinition"))
        (controller,) = (one for one in documents if one["kind"] == "Deployment")
        variables = controller["spec"]["template"]["spec"]["containers"][0]["env"]
        self.settings = {one["name"]: one["value"] for one in variables if one.get("value")}
        self.apply(model_deployment("probe"))
        until(self._guarded, 30, "every guard refuses", every=0.2)
        self.clear("default")

    def _guarded(self) -> bool:
        # A policy guards as soon as the API server has compiled it, a moment after it was applied.
        said = self.kubectl("create", "-f", "-", "--dry-run=server", stdin=yaml.safe_dump_all(PROBES), check=False)
        # The last one that is applied, so that the guard of namespaces stands with it.
        status = self.kubectl("patch", "mdep", "probe", *_A_STATUS, "--dry-run=server", check=False)
        return (said.error + status.error).count("denied request") == len(PROBES) + 1

    # --- who talks to it -------------------------------------------------------------------------------------------

    def kubectl(
        self,
        *words: str,
        user: str = ADMIN,
        stdin: str | None = None,
        check: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> Said:
        """Run kubectl as a user, with some variables."""
        command = [str(binary("kubectl")), "--kubeconfig", str(self.kubeconfig(user)), *words]
        # Without a cache of its own it would keep what it discovers in the home directory.
        command += ["--cache-dir", str(self.server.folder / "kubectl-cache")]
        variables = os.environ | dict(environment or {})
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=60, env=variables)
        if check and done.returncode:
            raise ClusterError(f"kubectl {' '.join(words)}: {done.stderr.strip()}")
        return Said(done.returncode, done.stdout, done.stderr)

    def apply(self, *documents: Mapping[str, Any], user: str = ADMIN, check: bool = True) -> Said:
        """Run kubectl apply."""
        return self.kubectl("apply", "-f", "-", user=user, stdin=yaml.safe_dump_all(documents), check=check)

    def get(self, resource: str, name: str, namespace: str | None = None) -> Object:
        """Return an object as the administrator sees it."""
        where = ("--namespace", namespace) if namespace else ()
        return self.kubectl("get", resource, name, *where, "-o", "json").object

    def find(self, resource: str, namespace: str, *words: str) -> list[Object]:
        """Return all objects of a kind in a namespace."""
        found: list[Object] = self.kubectl("get", resource, "--namespace", namespace, *words, "-o", "json").object["items"]
        return found

    @asynccontextmanager
    async def cluster(self, user: str = OPERATOR, fence: Fence = lambda: 60.0) -> AsyncIterator[KubernetesCluster]:
        """Return the controller's own client, for a user."""
        client = await config.new_client_from_config(config_file=str(self.kubeconfig(user)))  # type: ignore[no-untyped-call]
        async with client:
            yield KubernetesCluster(client, fence)

    def kubeconfig(self, user: str) -> Path:
        """Return a user's kubeconfig under a name without colons, which separate files in KUBECONFIG."""
        target = self.server.folder / f"{user.rpartition(':')[2]}.config"
        if not target.exists():
            target.write_text(self.server.kubeconfig_of(user).read_text())
        return target

    # --- objects ---------------------------------------------------------------------------------------------------

    def namespace(self, *, policy: str | None = None) -> str:
        """Make a namespace and return its name."""
        name = f"team-{next(self._numbers)}"
        labels = {"lockstep.dev/policy": policy} if policy else {}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        return name

    def policy(self, name: str, tracking_uri: str) -> str:
        """Make a policy that asks one MLflow and return its name."""
        registry = {"trackingURI": tracking_uri}
        self.apply({**_HEAD, "kind": "PromotionPolicy", "metadata": {"name": name}, "spec": {"registry": registry}})
        return name

    def clear(self, namespace: str) -> None:
        """Delete the ModelDeployments of a namespace; namespaces themselves never go here."""
        self.kubectl("delete", "mdep", "--all", "--namespace", namespace, "--wait=false")

    # --- the audit log ---------------------------------------------------------------------------------------------

    def mark(self) -> int:
        """Return where the audit log ends now."""
        return self.server.audit_log.stat().st_size

    def writes(
        self, since: int = 0, *, user: str = OPERATOR, matching: Callable[[Write], bool] = lambda _: True
    ) -> list[Write]:
        """Return what a user has written after a mark, Leases left out."""
        with self.server.audit_log.open("rb") as log:
            log.seek(since)
            whole = log.read().rpartition(b"\n")[0]
        found = (_write(json.loads(line)) for line in whole.splitlines())
        return [one for one in found if one.user == user and one.resource != "leases" and matching(one)]


def rendered(*values: str) -> list[Object]:
    """Return the chart's objects."""
    image = "image.repository=registry.example.com/lockstep"
    settings = (image, f"policies.trackingURI={UNREACHABLE}", "guards.breakGlassGroups={sre}", *values)
    settings += (f"guards.kubelets={{{VIRTUAL_KUBELET}}}",)
    command = [str(binary("helm")), "template", "lockstep", str(REPOSITORY / "charts" / "lockstep"), "--namespace", SYSTEM]
    command += ["--kube-version", KUBERNETES, "--api-versions", _POLICY_KIND]
    command += [*(word for value in settings for word in ("--set", value))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise ClusterError(f"helm template: {done.stderr.strip()}")
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def _write(event: Mapping[str, Any]) -> Write:
    about = event.get("objectRef") or {}
    resource = about.get("resource", "") + (f"/{about['subresource']}" if "subresource" in about else "")
    user = (event.get("impersonatedUser") or event["user"])["username"]
    status = int((event.get("responseStatus") or {}).get("code", 0))
    return Write(user, event["verb"], resource, about.get("namespace", ""), about.get("name", ""), status)


_HEAD = {"apiVersion": "lockstep.dev/v1alpha1"}


def model_deployment(name: str = "iris", /, **spec: Any) -> Object:
    """Return a ModelDeployment's manifest; parts of its spec are given by name, None takes one away."""
    parts: Object = {
        "model": {"name": "iris", "version": "3"},
        "image": "registry.example.com/team/iris:2026-11",
        "replicas": 2,
        "server": {"port": 8080, "mlflow": {}},
    }
    found = {key: value for key, value in (parts | spec).items() if value is not None}
    return {**_HEAD, "kind": "ModelDeployment", "metadata": {"name": name}, "spec": found}


def _reserved(name: str) -> Object:
    return {"name": name, "namespace": "default", "labels": {"lockstep.dev/model-deployment": "probe"}}


_A_STATUS = ("--subresource=status", "--type=merge", "--patch", '{"status": {"observedGeneration": 1}}')
_POD = {"containers": [{"name": "c", "image": "registry.example.com/probe"}]}
_APP = {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": _POD}}

PROBES: tuple[Object, ...] = (
    {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": _reserved("probe"), "spec": _APP},
    {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": _reserved("probe"), "spec": _APP},
    {"apiVersion": "v1", "kind": "Pod", "metadata": _reserved("probe"), "spec": _POD},
    {"apiVersion": "v1", "kind": "Service", "metadata": _reserved("probe"), "spec": {"ports": [{"port": 80}]}},
    {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "probe", "namespace": "default", "labels": {"kubernetes.io/service-name": "probe"}},
        "addressType": "IPv4",
        "endpoints": [],
    },
    {
        **_HEAD,
        "kind": "LineagePin",
        "metadata": {"name": "probe", "namespace": SYSTEM},
        "spec": {
            "trackingURI": "http://mlflow",
            "model": "iris",
            "version": "3",
            "runID": "r",
            "firstSeen": "2026-11-20T12:00:00Z",
        },
    },
)
"""One object for each guard of what nobody but the operator creates; the EndpointSlice is asked of each ModelDeployment."""
