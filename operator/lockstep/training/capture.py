"""Captures the environment of the running process with the same catalogue that reads images."""

import os
import platform
import sys
from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from lockstep import __version__
from lockstep.environment.catalogue.describe import invalid_document_error
from lockstep.environment.catalogue.native.cuda import cuda
from lockstep.environment.catalogue.native.libc import libc
from lockstep.environment.catalogue.native.libraries import Libraries
from lockstep.environment.catalogue.packages.distributions import find_distributions
from lockstep.environment.catalogue.packages.ownership import Ownership
from lockstep.environment.catalogue.packages.packages import packages
from lockstep.environment.catalogue.python.startup import startup, with_hooks
from lockstep.environment.catalogue.system.system import system
from lockstep.environment.document import EnvironmentDocument, Interpreter, Platform, RequiredProof
from lockstep.training.gpu import gpu
from lockstep.training.host import HostTree
from lockstep.training.path import current_path

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def capture_environment(
    *,
    required: Sequence[str] | None = None,
    proof: RequiredProof | None = None,
    code: Mapping[str, str] | None = None,
) -> EnvironmentDocument:
    """Return the document of this process: what is on its `sys.path`, its interpreter, platform and system packages.

    Args:
        required: names of the distributions that the model needs, where that is known: their files are compared with what
            their RECORDs claim, which takes seconds for gigabytes; those of all distributions where it is not known.
        proof: how far `required` is proven.
        code: digests of the modules outside any distribution that the model needs, by import path.

    Raises:
        CatalogueError, UnreadableFileError: the environment could not be determined (two versions of one package installed).
    """
    tree = HostTree()
    path = current_path()
    machine = platform.machine()
    try:
        found = find_distributions(tree, path.entries)
        hooks = startup(tree, path, Ownership(tree, found))
        libraries = Libraries(tree, sys.executable or "", os.environ, machine=machine)
        described = with_hooks(packages(tree, found, libraries, hashed=required), hooks)
        return EnvironmentDocument(
            python=Interpreter(
                implementation=platform.python_implementation().lower(), version=platform.python_version().rstrip("+")
            ),
            platform=Platform(os=platform.system().lower(), machine=machine, libc=_libc() or libc(tree, machine)),
            packages=described,
            system=system(tree, sys.base_prefix),
            cuda=cuda(tree, described, sys.base_prefix, machine),
            required=tuple(sorted(set(required))) if required is not None else None,
            required_proof=proof,
            code=dict(code or {}),
            startup=dict(hooks.digests),
            hardware=_hardware(),
            collector=f"lockstep {__version__}",
        )
    except ValidationError as error:
        raise invalid_document_error(error) from error


def _libc() -> str | None:
    family, version = platform.libc_ver()
    return f"{family} {version}".strip() or None


def _hardware() -> dict[str, str | None]:
    """Describe the machine, for people: it is never compared."""
    threads = {name.lower(): os.environ[name] for name in _THREADS if name in os.environ}
    return {"cpu": _cpu(), "gpu": gpu(), **threads}


def _cpu() -> str | None:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            lines = (line.partition(":") for line in file)
            return next((value.strip() for key, _, value in lines if key.strip() == "model name"), None)
    except OSError:
        return platform.processor() or None
