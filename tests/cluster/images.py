"""Images for the node without Docker: a Debian base, builds of ordinary Dockerfiles, and pushes to the node's registry."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import kind
from tests.cluster.paths import CACHE
from tests.cluster.paths import REGISTRY as _SANDBOX_REGISTRY
from tests.cluster.processes import run, stacks, succeeds
from tests.cluster.say import ClusterError, step

BASE = "localhost/debian:bookworm"
"""The base image of every image that tests build: Python 3.11 with venv, libgomp and CA certificates."""

_PACKAGES = "python3,python3-venv,libgomp1,ca-certificates"
_STORE = CACHE / "images"
_CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
# Nothing at run time reads these, and they are half of the base image.
_SUPERFLUOUS = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info")


def registry() -> str:
    """Return the registry's name in references that this machine, the node and its pods all understand."""
    return kind.REGISTRY if kind.chosen() else _SANDBOX_REGISTRY


def base_image() -> str:
    """Make the Debian base image, once, and return its name.

    Raises:
        ClusterError: debootstrap or buildah is missing or failed.
    """
    if kind.chosen():
        return kind.BASE
    if exists(BASE):
        return BASE
    CACHE.mkdir(parents=True, exist_ok=True)
    with step("base image from Debian bookworm (about 60 s, once)"), tempfile.TemporaryDirectory(dir=CACHE) as folder:
        root = Path(folder) / "root"
        run("debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", root)
        for name in _SUPERFLUOUS:
            shutil.rmtree(root / name, ignore_errors=True)
        (root / "var/lib/apt/lists/partial").mkdir(parents=True)
        (root / "var/cache/apt/archives/partial").mkdir(parents=True)
        container = _buildah("from", "scratch").strip()
        try:
            _buildah("add", "--quiet", container, root, "/")
            _buildah("config", "--cmd", "/bin/bash", "--env", "LANG=C.UTF-8", container)
            _buildah("commit", "--quiet", container, BASE)
        finally:
            _buildah("rm", container)
    return BASE


def build(tag: str, dockerfile: Path, context: Path, build_args: Mapping[str, str] | None = None) -> None:
    """Build a Dockerfile, with the base image as its BASE argument unless told otherwise; layers are cached.

    Raises:
        ClusterError: the build failed.
    """
    if kind.chosen():
        return kind.build(tag, dockerfile, context, dict(build_args or {}))
    arguments = {"BASE": BASE} | dict(build_args or {})
    if arguments["BASE"] == BASE:
        base_image()
    words = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
    # Behind a proxy that intercepts TLS, pip in the build trusts what this machine trusts.
    trust = ["-v", f"{_CA_BUNDLE}:{_CA_BUNDLE}:ro"] if _CA_BUNDLE.exists() else []
    isolated = ("--layers", "--isolation", "chroot", "--network", "host", "--pull=false")
    _buildah("bud", *isolated, *words, *trust, "--tag", tag, "--file", dockerfile, context)


def push(tag: str, reference: str) -> str:
    """Push a built image to a registry without TLS and return its digest there.

    Raises:
        ClusterError: the image or the registry is missing.
    """
    if kind.chosen():
        return kind.push(tag, reference)
    with tempfile.NamedTemporaryFile("r") as digest:
        _buildah("push", "--quiet", "--tls-verify=false", "--digestfile", digest.name, tag, f"docker://{reference}")
        return Path(digest.name).read_text().strip()


def save(tag: str, folder: Path, name: str = "latest") -> None:
    """Write a built image as an OCI layout, or beside the other images of one.

    Raises:
        ClusterError: the image is missing.
    """
    _buildah("push", "--quiet", tag, f"oci:{folder}:{name}")


@contextmanager
def mounted(tag: str) -> Iterator[Path]:
    """Mount a built image's root file system, as a container would see it.

    Raises:
        ClusterError: the image is missing.
    """
    container = _buildah("from", "--pull=false", tag).strip()
    try:
        yield Path(_buildah("mount", container).strip())
    finally:
        _buildah("umount", container)
        _buildah("rm", container)


def exists(tag: str) -> bool:
    """Return whether an image of this name was built."""
    return succeeds("buildah", *_options(), "inspect", "--type", "image", tag)


def _options() -> list[str]:
    # A store of its own: nothing of the user's images is touched, and removing the cache removes it all.
    _STORE.mkdir(parents=True, exist_ok=True)
    driver = "overlay" if stacks(_STORE) else "vfs"
    return ["--root", str(_STORE / "root"), "--runroot", str(_STORE / "run"), "--storage-driver", driver]


def _buildah(*arguments: str | Path) -> str:
    if shutil.which("buildah") is None:
        raise ClusterError("buildah is needed to build images: `make cluster-up` installs it on Debian")
    return run("buildah", *_options(), *arguments)
