"""Captures the environment of the running process with the same catalogue that reads images."""

import os
import platform
import sys
from collections.abc import Sequence

from pydantic import ValidationError

from lockstep import __version__
from lockstep.environment.catalogue.describe import unfit
from lockstep.environment.catalogue.distributions import distributions
from lockstep.environment.catalogue.system import system
from lockstep.environment.document import EnvironmentDocument, Interpreter, Platform, RequiredProof
from lockstep.training.host import HostTree

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def capture_environment(*, required: Sequence[str] | None = None, proof: RequiredProof | None = None) -> EnvironmentDocument:
    """Return the document of this process: what is on its `sys.path`, its interpreter, platform and system packages.

    Args:
        required: names of the distributions that the model needs, where that is known.
        proof: how far `required` is proven.

    Raises:
        CatalogueError, UnreadableFileError: the environment can't be told (two versions of one package installed).
    """
    tree = HostTree()
    paths = list(dict.fromkeys(os.path.realpath(path or os.getcwd()) for path in sys.path if os.path.isdir(path or ".")))
    try:
        return EnvironmentDocument(
            python=Interpreter(
                implementation=platform.python_implementation().lower(), version=platform.python_version().rstrip("+")
            ),
            platform=Platform(os=platform.system().lower(), machine=platform.machine(), libc=_libc()),
            packages=distributions(tree, paths),
            system=system(tree),
            required=tuple(sorted(set(required))) if required is not None else None,
            required_proof=proof,
            hardware=_hardware(),
            collector=f"lockstep {__version__}",
        )
    except ValidationError as error:
        raise unfit(error) from error


def _libc() -> str | None:
    family, version = platform.libc_ver()
    return f"{family} {version}".strip() or None


def _hardware() -> dict[str, str | None]:
    """Describe the machine, for people: it is never compared."""
    threads = {name.lower(): os.environ[name] for name in _THREADS if name in os.environ}
    return {"cpu": _cpu(), **threads}


def _cpu() -> str | None:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            lines = (line.partition(":") for line in file)
            return next((value.strip() for key, _, value in lines if key.strip() == "model name"), None)
    except OSError:
        return platform.processor() or None
