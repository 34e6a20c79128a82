"""The weaker baseline: what stock MLflow stores with a model (`requirements.txt`, `python_env.yaml`), as a document."""

import re

import yaml
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from pydantic import ValidationError

from lockstep.environment.document import EnvironmentDocument, Interpreter, Package, RequiredProof

COLLECTOR = "mlflow requirements"
_MAX_BYTES = 1024 * 1024


class InvalidRequirementsError(ValueError):
    """MLflow's files hold no environment that could be compared."""


def baseline(requirements: bytes, python_env: bytes | None, image: EnvironmentDocument) -> EnvironmentDocument:
    """Read MLflow's inferred pins as the training environment. What they do not know (platform) is taken as the image's.

    Raises:
        InvalidRequirementsError: nothing is pinned, or the files can't be read.
    """
    if len(requirements) > _MAX_BYTES:
        raise InvalidRequirementsError(f"requirements.txt has {len(requirements)} bytes")
    pins = _pins(requirements.decode("utf-8", "replace"))
    if not pins:
        raise InvalidRequirementsError("requirements.txt pins no package with ==")
    try:
        return EnvironmentDocument(
            python=Interpreter(implementation="cpython", version=_python(python_env) or image.python.version),
            platform=image.platform,
            packages=tuple(Package(name=name, version=version) for name, version in sorted(pins.items())),
            required=tuple(sorted(pins)),
            required_proof=RequiredProof.PROVEN,
            collector=COLLECTOR,
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InvalidRequirementsError(f"{str(first['input'])[:100]!r} is no name or version: {first['msg']}") from error


def _pins(text: str) -> dict[str, str]:
    pins: dict[str, str] = {}
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        bare = re.split(r"\s+(?:#|--hash)", line.strip())[0]
        if not bare or bare.startswith(("#", "-")):
            continue
        try:
            requirement = Requirement(bare)
        except InvalidRequirement:
            continue
        exact = [s.version for s in requirement.specifier if s.operator in ("==", "===") and not s.version.endswith(".*")]
        # A marker belongs to a lock for many platforms: such a line is a hint, no pin.
        if exact and requirement.marker is None:
            pins[canonicalize_name(requirement.name)] = exact[0]
    return pins


def _python(python_env: bytes | None) -> str | None:
    if python_env is None or len(python_env) > _MAX_BYTES:
        return None
    try:
        # Every scalar as text: 3.10 is no number.
        stated = yaml.load(python_env, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError, UnicodeDecodeError):
        return None
    version = stated.get("python") if isinstance(stated, dict) else None
    return version if isinstance(version, str) else None
