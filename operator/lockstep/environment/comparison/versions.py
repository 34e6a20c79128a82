"""Versions as they are compared: PEP 440 canonical form, local label and accelerator variant by policy."""

import re

from packaging.utils import canonicalize_version
from packaging.version import InvalidVersion, Version

from lockstep.api.environmentspec import AcceleratorRule, EnvironmentSpec, LocalVersions

_ACCELERATOR_LABEL = re.compile(r"^(cu\d+|cpu|rocm[\d.]*|xpu)$")
_VARIANTS = {
    "tensorflow-cpu": "tensorflow",
    "tensorflow-gpu": "tensorflow",
    "onnxruntime-gpu": "onnxruntime",
    "xgboost-cpu": "xgboost",
    "faiss-gpu": "faiss-cpu",
}


def compared_version(version: str, spec: EnvironmentSpec) -> str:
    """Return the form in which versions are compared; a version outside PEP 440 stands verbatim."""
    try:
        parsed = Version(version)
    except InvalidVersion:
        return version
    public = canonicalize_version(parsed.public)
    if parsed.local is None or spec.packages.local_versions is LocalVersions.IGNORE:
        return public
    if spec.accelerator is AcceleratorRule.ANY and _ACCELERATOR_LABEL.match(parsed.local):
        return public
    return f"{public}+{parsed.local}"


def compared_name(name: str, spec: EnvironmentSpec) -> str | None:
    """Return the name under which a package is compared; None when accelerators are equated and it is one."""
    if spec.accelerator is not AcceleratorRule.ANY:
        return name
    if name.startswith("nvidia-") or name in ("triton", "pytorch-triton", "pytorch-triton-rocm"):
        return None
    return _VARIANTS.get(name, name)
