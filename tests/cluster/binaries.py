"""Builds Kubernetes, etcd, CoreDNS, helm, kwok and cosign from Go modules into the user's cache, once per version."""

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.paths import CACHE
from tests.cluster.say import ClusterError, step

KUBERNETES = "v1.36.3"
_STAGING = "v0.36.3"
_COMMANDS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")


@dataclass(frozen=True)
class Tool:
    """A program that one Go module builds."""

    name: str
    package: str
    version: str
    about_seconds: int

    @property
    def path(self) -> Path:
        """Return where the built program is kept."""
        return CACHE / f"{self.name}-{self.version}" / self.name


ETCD = Tool("etcd", "go.etcd.io/etcd/server/v3", "v3.6.16", 45)
COREDNS = Tool("coredns", "github.com/coredns/coredns", "v1.14.1", 95)
HELM = Tool("helm", "helm.sh/helm/v3/cmd/helm", "v3.22.0", 115)
KWOK = Tool("kwok", "sigs.k8s.io/kwok/cmd/kwok", "v0.8.0", 60)
COSIGN = Tool("cosign", "github.com/sigstore/cosign/v2/cmd/cosign", "v2.6.5", 240)
TOOLS = (ETCD, HELM, COREDNS)
SCALE_TOOLS = (KWOK,)


def kubernetes(command: str) -> Path:
    """Return the path of a Kubernetes program in the cache."""
    return CACHE / f"kubernetes-{KUBERNETES}" / command


def binary(name: str) -> Path:
    """Return the path of a built program by its name, building nothing.

    Raises:
        ClusterError: it has not been built yet.
    """
    tools = {tool.name: tool.path for tool in (*TOOLS, *SCALE_TOOLS, COSIGN)}
    path = tools[name] if name in tools else kubernetes(name)
    if not path.exists():
        raise ClusterError(f"{name} has not been built yet: run `make cluster-binaries`")
    return path


def build(*, scale: bool = False) -> None:
    """Build whatever is not in the cache yet.

    Raises:
        ClusterError: Go is missing or a build failed.
    """
    _make(_missing(scale=scale))


def build_cosign() -> None:
    """Build cosign, which only the tests of signatures use, if it is not in the cache yet.

    Raises:
        ClusterError: Go is missing or the build failed.
    """
    if not COSIGN.path.exists():
        _make([_named(COSIGN)])


def _make(missing: list[tuple[str, int, "_Make"]]) -> None:
    if not missing:
        return
    if shutil.which("go") is None:
        raise ClusterError(
            "Go is needed to build the programs that the tests use: install Go 1.24 or newer (https://go.dev/dl)"
        )
    for name, about, make in missing:
        with step(f"build {name} (about {about} s on 2 cores, once)"):
            make()


def _missing(*, scale: bool) -> list[tuple[str, int, "_Make"]]:
    tools = (*TOOLS, *SCALE_TOOLS) if scale else TOOLS
    found = [_named(tool) for tool in tools if not tool.path.exists()]
    commands = [command for command in _COMMANDS if not kubernetes(command).exists()]
    if commands:
        found.insert(0, (f"Kubernetes {KUBERNETES}", 380, _Make(None)))
    return found


def _named(tool: Tool) -> tuple[str, int, "_Make"]:
    return f"{tool.name} {tool.version}", tool.about_seconds, _Make(tool)


@dataclass(frozen=True)
class _Make:
    """One build: a tool's, or that of Kubernetes."""

    tool: Tool | None

    def __call__(self) -> None:
        with tempfile.TemporaryDirectory(prefix="lockstep-build-") as folder:
            if self.tool is None:
                _build_kubernetes(Path(folder))
            else:
                _build_tool(self.tool, Path(folder))


def _build_tool(tool: Tool, folder: Path) -> None:
    module = tool.package.partition("/cmd/")[0]
    (folder / "go.mod").write_text(f"module build\n\ngo 1.24\n\nrequire {module} {tool.version}\n")
    (folder / "tools.go").write_text(f'//go:build tools\n\npackage build\n\nimport _ "{tool.package}"\n')
    _go(folder, "mod", "tidy", "-e")
    _go(folder, "build", "-trimpath", "-ldflags", "-s -w", "-o", str(folder / tool.name), tool.package)
    _keep(folder / tool.name, tool.path)


def _build_kubernetes(folder: Path) -> None:
    # k8s.io/kubernetes points to its own staging folders, which the module proxy leaves out: the same
    # modules, as they are published, take their place.
    (folder / "go.mod").write_text("module build\n\ngo 1.24\n")
    downloaded = _go(folder, "mod", "download", "-json", f"k8s.io/kubernetes@{KUBERNETES}")
    found = re.search(r'"GoMod": "([^"]+)"', downloaded)
    if found is None:
        raise ClusterError(f"Go could not download k8s.io/kubernetes {KUBERNETES}")
    staged = re.findall(r"^\s*(k8s\.io/\S+) => \./staging/", Path(found[1]).read_text(), re.MULTILINE)
    replaces = "\n".join(f"replace {module} => {module} {_STAGING}" for module in staged)
    (folder / "go.mod").write_text(f"module build\n\ngo 1.24\n\nrequire k8s.io/kubernetes {KUBERNETES}\n\n{replaces}\n")
    imports = "\n".join(f'import _ "k8s.io/kubernetes/cmd/{command}"' for command in _COMMANDS)
    (folder / "tools.go").write_text(f"//go:build tools\n\npackage build\n\n{imports}\n")
    _go(folder, "mod", "tidy", "-e")
    stamp = "-X k8s.io/component-base/version."
    flags = f"-s -w {stamp}gitVersion={KUBERNETES} {stamp}gitMajor=1 {stamp}gitMinor={KUBERNETES.split('.')[1]}"
    for command in _COMMANDS:
        if kubernetes(command).exists():
            continue
        with step(f"  {command}"):
            package = f"k8s.io/kubernetes/cmd/{command}"
            _go(folder, "build", "-trimpath", "-ldflags", flags, "-o", str(folder / command), package)
            _keep(folder / command, kubernetes(command))


def _go(folder: Path, *arguments: str) -> str:
    environment = os.environ | {"GOFLAGS": "-mod=mod -buildvcs=false", "CGO_ENABLED": "0", "GOWORK": "off"}
    done = subprocess.run(["go", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"go {arguments[0]} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def _keep(built: Path, target: Path) -> None:
    # Renamed into place, so that a build that was interrupted leaves nothing that looks finished.
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    shutil.copy2(built, partial)
    partial.rename(target)
