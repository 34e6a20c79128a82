"""The pinned requirements from which a serving image with the recorded environment is built."""

import re

from packaging.version import InvalidVersion, Version

from lockstep.environment.comparison.companions import companions
from lockstep.environment.document import EnvironmentDocument, Package, RequiredProof, System

_TOOLS = {"pip", "setuptools", "wheel", "uv", "lockstep-gate"}
"""What installs packages or records them is no part of the model."""


def lock(document: EnvironmentDocument, *, source: str) -> str:
    """Return a requirements file (pip's format) that pins what the training environment had.

    With a proven set of required packages it is that set with the accelerators, plugins and start-up hooks in it, else
    every package. Python, platform and system packages stand above as comments, since no requirements file can pin them.
    """
    proven = document.required is not None and document.required_proof is RequiredProof.PROVEN
    names = _names_to_pin(document) if proven else {package.name for package in document.packages}
    lines = [
        f"# Environment of {source}, recorded by Lockstep ({document.digest}).",
        f"# {'What the model needs' if proven else 'Every package: which ones the model needs was not proven'}.",
        f"# Python {document.python.version} ({document.python.implementation})",
        f"# Platform {document.platform.os}/{document.platform.machine}"
        + (f", {document.platform.libc}" if document.platform.libc else ""),
    ]
    if document.system.distribution:
        lines.append(f"# System {document.system.distribution}")
    packages = [package for package in document.packages if package.name in names and package.name not in _TOOLS]
    lines += [_line(package, document.system) for package in packages]
    return "\n".join(lines) + "\n"


def _names_to_pin(document: EnvironmentDocument) -> set[str]:
    """Return what a comparison asks of the image: what the model needs, and what changes that unasked (`projection.scope`)."""
    required = set(document.required or ())
    unasked = companions(required, {package.name: package for package in document.packages})
    return required | unasked | {package.name for package in document.packages if package.startup}


def _line(package: Package, system: System) -> str:
    origin = package.origin
    if origin is None and (theirs := _system_package(package, system)) is not None:
        return f"# {package.name}=={package.version} came with the system's package {theirs}, and no index may have it"
    if origin is None and not _is_version(package.version):
        return f"# {package.name}=={package.version} is no version that an index can have (PEP 440)"
    if origin is None:
        return f"{package.name}=={package.version}"
    if origin.kind == "vcs" and origin.commit:
        return f"{package.name} @ git+{origin.url}@{origin.commit}"
    if origin.kind == "archive" and origin.url.startswith(("http://", "https://")):
        fragment = f"#{origin.hash}" if origin.hash else ""
        return f"{package.name} @ {origin.url}{fragment}"
    # A path of the training machine is of no use elsewhere: who builds the image has to bring the package.
    return f"# {package.name}=={package.version} was installed from {origin.url} ({origin.kind})"


def _system_package(package: Package, system: System) -> str | None:
    """Return the distribution's package that brought a Python package: one without a wheel's tags, of the same version."""
    if package.tags:
        return None
    for name in (f"python3-{package.name.removeprefix('python-')}", f"python3-{package.name}", f"py3-{package.name}"):
        version = system.packages.get(name, "").rpartition(":")[2]
        if re.match(rf"{re.escape(package.version)}(?!\.?[0-9])", version):
            return name
    return None


def _is_version(text: str) -> bool:
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True
