"""Reads the manifests that commands take, as the API server would: what it refuses is refused here."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lockstep.api.kinds import GROUP, MODEL_DEPLOYMENT, PROMOTION_POLICY
from lockstep.api.modeldeployment import ModelDeployment
from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.api.reasons import Reason
from lockstep.cli.admission.admission import problems_of
from lockstep.cli.admission.problem import Problem
from lockstep.cli.admission.text import documents, parts
from lockstep.cli.exit import CommandError

_SUFFIXES = (".yaml", ".yml", ".json")
_SHOWN = 5


@dataclass(frozen=True)
class Manifest:
    """One ModelDeployment or PromotionPolicy as it was written."""

    kind: str
    name: str
    namespace: str
    where: str
    """The file."""
    problems: tuple[Problem, ...]
    """Why the API server would refuse it."""
    deployment: ModelDeployment | None = None
    """None for a policy, and for what would be refused."""
    policy: PromotionPolicy | None = None

    @property
    def refusal(self) -> str:
        """Return the first problems as one sentence."""
        said = "; ".join(str(problem) for problem in self.problems[:_SHOWN])
        more = len(self.problems) - _SHOWN
        return f"{said}; and {more} more" if more > 0 else said


def read_policy(path: str) -> PromotionPolicy:
    """Read the one PromotionPolicy of a file, or of standard input (`-`).

    Raises:
        CommandError: it holds none or many, or the API server would refuse it.
    """
    found = [one for one in _manifests([path], Reason.POLICY_INVALID) if one.kind == PROMOTION_POLICY.kind]
    if len(found) != 1:
        message = f"{path} holds {len(found)} PromotionPolicies, not one; kubectl get ppol NAME -o yaml prints a cluster's"
        raise CommandError(Reason.POLICY_MISSING, message)
    if found[0].policy is None:
        raise CommandError(Reason.POLICY_INVALID, f"{path}: {found[0].refusal}")
    return found[0].policy


def read_manifests(paths: list[str], *, recursive: bool = False) -> list[Manifest]:
    """Read the ModelDeployments and PromotionPolicies of files, folders and standard input (`-`); other kinds are passed over.

    Raises:
        CommandError: there is no ModelDeployment, or a file can't be read.
    """
    found = list(_manifests(paths, Reason.SPEC_INVALID, recursive=recursive))
    if not any(one.kind == MODEL_DEPLOYMENT.kind for one in found):
        raise CommandError(Reason.SPEC_INVALID, f"{', '.join(paths)} holds no ModelDeployment")
    return found


def _manifests(paths: list[str], reason: Reason, *, recursive: bool = False) -> Iterator[Manifest]:
    for path in paths:
        for where, text in _texts(path, reason, recursive):
            try:
                read = [part for document in documents(text) for part in parts(document)]
            except ValueError as error:
                raise CommandError(reason, f"{where}: {error}") from error
            yield from (_manifest(raw, where) for raw in read if _is_ours(raw))


def _texts(path: str, reason: Reason, recursive: bool) -> Iterator[tuple[str, str]]:
    """Yield files and their content; of folders what kubectl takes, in its order."""
    if path == "-":
        yield "standard input", sys.stdin.read()
        return
    try:
        for file in _files(Path(path), recursive):
            yield str(file), file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise CommandError(reason, f"{path}: {error}") from error


def _files(path: Path, recursive: bool) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = path.rglob("*") if recursive else path.iterdir()
    return sorted(one for one in found if one.suffix in _SUFFIXES and one.is_file())


def _is_ours(raw: Any) -> bool:
    """Return whether an object is of Lockstep's kinds, of any version; without any apiVersion it is refused, not overlooked."""
    if not isinstance(raw, dict) or raw.get("kind") not in (MODEL_DEPLOYMENT.kind, PROMOTION_POLICY.kind):
        return False
    return str(raw.get("apiVersion") or GROUP).partition("/")[0] == GROUP


def _manifest(raw: dict[str, Any], where: str) -> Manifest:
    metadata = raw.get("metadata") if isinstance(raw.get("metadata"), dict) else {}
    assert isinstance(metadata, dict)
    problems = tuple(problems_of(raw))
    deployment, policy = None, None
    if not problems:
        try:
            if raw["kind"] == MODEL_DEPLOYMENT.kind:
                deployment = ModelDeployment.from_object(raw)
            else:
                policy = PromotionPolicy.from_object(raw)
        except ValidationError as error:
            problems = tuple(_problems_in_spec(error))
    name, namespace = str(metadata.get("name") or ""), str(metadata.get("namespace") or "default")
    return Manifest(raw["kind"], name, namespace, where, problems, deployment, policy)


def _problems_in_spec(error: ValidationError) -> Iterator[Problem]:
    """Yield what the API server takes and the operator can't use, such as a key that is no key."""
    for one in error.errors(include_url=False):
        path = ".".join(["spec", *(str(part) for part in one["loc"])])
        yield Problem(path, str(one["msg"]))
