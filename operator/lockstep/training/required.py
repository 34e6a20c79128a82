"""Which distributions a logged model needs: proven by reloading it in a fresh process and predicting its input example."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from lockstep.environment.comparison.closure import closure
from lockstep.environment.document import RequiredProof
from lockstep.training.code import own_code_of
from lockstep.training.host import HostTree
from lockstep.training.imports import PICKLE
from lockstep.training.path import current_path

# The distributions any of which brings each flavor's framework; a model of a flavor can't be loaded without it.
FRAMEWORKS: Mapping[str, tuple[str, ...]] = {
    "catboost": ("catboost",),
    "keras": ("keras",),
    "lightgbm": ("lightgbm",),
    "onnx": ("onnx",),
    "prophet": ("prophet",),
    "pytorch": ("torch",),
    "sentence_transformers": ("sentence-transformers",),
    "sklearn": ("scikit-learn",),
    "spacy": ("spacy",),
    "statsmodels": ("statsmodels",),
    "tensorflow": ("tensorflow", "tensorflow-cpu", "tensorflow-gpu"),
    "transformers": ("transformers",),
    "xgboost": ("xgboost", "xgboost-cpu"),
}
_NAMED = 5
_MLFLOW = {"mlflow", "mlflow-skinny", "mlflow-tracing"}
_NEVER_NEEDED = _MLFLOW | {"lockstep-gate"}
"""Distributions that log and record a model; a requirements.txt that names them says nothing of the model."""
# What records and loads the model asks for much that the model does not need.
_TOOLS = {"lockstep", "mlflow"}
# Restores the modules that code within a pickle uses by importing them itself.
_PICKLES = {PICKLE, "cloudpickle"}


@dataclass(frozen=True)
class RequiredSet:
    """Names of the distributions that a model needs, how far that is proven, and what stood in the way."""

    names: tuple[str, ...]
    proof: RequiredProof
    why: str | None = None
    code: Mapping[str, str] = field(default_factory=dict)
    """Digests of the modules outside any distribution that the reload imported, by import path."""


def required_set(
    model_uri: str, flavors: Sequence[str], requirements: str, extra: Iterable[str], *, seconds: float
) -> RequiredSet:
    """Find out what a model needs.

    Args:
        model_uri: `models:/m-…`, readable by MLflow in this process's environment.
        flavors: names of the model's flavors (MLmodel).
        requirements: text of its requirements.txt; the names in it are hints.
        extra: names that the caller adds.
        seconds: how long the reload may take.
    """
    installed = _installed()
    frameworks = {name for flavor in flavors for name in FRAMEWORKS.get(flavor, ()) if name in installed}
    roots = frameworks | (_names(requirements) - _NEVER_NEEDED) | {canonicalize_name(name) for name in extra}
    missing = [flavor for flavor in flavors if flavor in FRAMEWORKS and not set(FRAMEWORKS[flavor]) & installed.keys()]
    seen = _reload(model_uri, seconds)
    own = own_code_of(HostTree(), current_path(), seen.files)
    why = seen.why
    if own.unread:
        why = why or f"the files of modules that the model imports can't be read: {', '.join(own.unread[:_NAMED])}"
    roots |= _owners(seen.modules, seen.asked, own.digests) - _NEVER_NEEDED
    names = tuple(name for name in closure(roots, installed) if name not in _NEVER_NEEDED)
    if missing:
        return RequiredSet(
            names, RequiredProof.INCOMPLETE, f"the framework of {', '.join(missing)} is not installed", own.digests
        )
    return RequiredSet(names, RequiredProof.UNPROVEN if why else RequiredProof.PROVEN, why, own.digests)


def _installed() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            found.setdefault(canonicalize_name(name), list(distribution.requires or []))
    return found


def _names(requirements: str) -> set[str]:
    names: set[str] = set()
    for line in requirements.splitlines():
        bare = line.split("#")[0].split("--hash")[0].strip().rstrip("\\").strip()
        if not bare or bare.startswith("-"):
            continue
        try:
            names.add(canonicalize_name(Requirement(bare).name))
        except InvalidRequirement:
            continue
    return names


def _owners(modules: Iterable[str], asked: Iterable[Sequence[str]], code: Iterable[str]) -> set[str]:
    """Return the distributions of what a reload imported, and of what the model's own code and its pickles ask for."""
    owners = metadata.packages_distributions()
    own = {path.partition("/")[0].partition(".")[0] for path in code}
    # Code that a pickle brings along goes by the name of its module, which is installed nowhere.
    known = owners.keys() | sys.stdlib_module_names
    theirs = {wanted for asker, wanted in asked if asker in own | _PICKLES or asker not in known | _TOOLS}
    return {canonicalize_name(name) for module in {*modules, *theirs} - _TOOLS for name in owners.get(module, ())}


@dataclass(frozen=True)
class _Reloaded:
    """What a reload imported, and why it failed if it did."""

    modules: Sequence[str] = ()
    """Top-level names."""
    asked: Sequence[Sequence[str]] = ()
    """Who asked for what, as top-level names."""
    files: Sequence[Sequence[str | None]] = ()
    """Import path, file and digest."""
    why: str | None = None


def _reload(model_uri: str, seconds: float) -> _Reloaded:
    """Load the model in a process of its own and predict."""
    with tempfile.TemporaryDirectory(prefix="lockstep-reload-") as folder:
        answer = Path(folder) / "modules.json"
        command = [sys.executable, "-m", "lockstep.training.reload", model_uri, str(answer)]
        environment = os.environ | {
            "MLFLOW_TRACKING_URI": _tracking_uri(),
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        try:
            done = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return _Reloaded(why=f"reloading the model took longer than {seconds:.0f} s")
        if not answer.exists():
            lines = done.stderr.strip().splitlines()
            return _Reloaded(why=f"reloading the model failed: {lines[-1] if lines else f'exit status {done.returncode}'}")
        stated = json.loads(answer.read_text())
        return _Reloaded(stated["modules"], stated["asked"], stated["files"], stated["why"])


def _tracking_uri() -> str:
    import mlflow

    return str(mlflow.get_tracking_uri())
