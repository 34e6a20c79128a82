"""The CUDA runtime and cuDNN that frameworks find: in wheels, in the interpreter's prefix (conda), or in the base image."""

import json
import re
from collections.abc import Iterable, Sequence

from lockstep.environment.catalogue.system.database import unverifiable_error
from lockstep.environment.document import Cuda, Package
from lockstep.environment.tree import FileTree

VERSION_FILE = "/usr/local/cuda/version.json"
_RUNTIME = re.compile(r"nvidia-cuda-runtime(?:-cu\d+)?|libcudart\.so\.(\d+\.\d+\.\d+)")
_CUDNN = re.compile(r"nvidia-cudnn(?:-cu\d+)?|libcudnn\.so\.(\d+\.\d+\.\d+)")
_VERSION = re.compile(r"\d{1,9}(?:\.\d{1,9}){1,5}")


def cuda(tree: FileTree, packages: Sequence[Package], prefix: str, machine: str) -> Cuda | None:
    """Return what is found first: wheels come before the interpreter's prefix, and that before the base image.

    Args:
        tree: the root file system.
        packages: the installed distributions.
        prefix: the interpreter's, `sys.base_prefix`.
        machine: as `uname -m` prints it (`x86_64`).

    Raises:
        CatalogueError: the toolkit's version.json can't be understood.
        UnreadableFileError: it can't be read.
    """
    own = tree.listdir(f"{prefix.rstrip('/')}/lib")
    base = [name for folder in _folders(tree, machine) for name in tree.listdir(folder)]
    runtime = (
        _version_in_packages(packages, _RUNTIME)
        or _version_in_names(own, _RUNTIME)
        or _toolkit_version(tree)
        or _version_in_names(base, _RUNTIME)
    )
    cudnn = _version_in_packages(packages, _CUDNN) or _version_in_names(own, _CUDNN) or _version_in_names(base, _CUDNN)
    return Cuda(runtime=runtime, cudnn=cudnn) if runtime or cudnn else None


def _folders(tree: FileTree, machine: str) -> list[str]:
    toolkits = [name for name in tree.listdir("/usr/local") if name.startswith("cuda")]
    # Where several stand side by side, the link without a version says which one is meant.
    chosen = ["cuda"] if "cuda" in toolkits else toolkits
    return [*(f"/usr/local/{name}/lib64" for name in chosen), f"/usr/lib/{machine}-linux-gnu", "/usr/lib64"]


def _version_in_packages(packages: Sequence[Package], pattern: re.Pattern[str]) -> str | None:
    return _join_versions(package.version for package in packages if pattern.fullmatch(package.name))


def _version_in_names(names: Sequence[str], pattern: re.Pattern[str]) -> str | None:
    return _join_versions(found[1] for name in names if (found := pattern.fullmatch(name)) and found[1])


def _join_versions(versions: Iterable[str]) -> str | None:
    """Cut to three numbers, since a wheel of cuDNN has a fourth and the library has not; more than one are all said."""
    return ", ".join(sorted({".".join(version.split(".")[:3]) for version in versions}))[:512] or None


def _toolkit_version(tree: FileTree) -> str | None:
    body = tree.read(VERSION_FILE)
    return runtime_version(body) if body is not None else None


def runtime_version(body: bytes) -> str | None:
    """Return the version of the CUDA runtime that a toolkit's version.json states; None when it names no runtime.

    Raises:
        CatalogueError: it is no JSON of that form.
    """
    try:
        runtime = json.loads(body).get("cuda_cudart")
        version = runtime["version"] if runtime is not None else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise unverifiable_error(VERSION_FILE, "it is not what a CUDA toolkit writes") from error
    if version is not None and not (isinstance(version, str) and _VERSION.fullmatch(version)):
        raise unverifiable_error(VERSION_FILE, f"it states the version {str(version)[:50]!r}")
    return version
