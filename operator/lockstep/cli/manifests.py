"""Reads the manifests that commands take, as the API server would."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from lockstep.api.modeldeployment import KIND as MODEL_DEPLOYMENT
from lockstep.api.modeldeployment import ModelDeployment
from lockstep.api.promotionpolicy import KIND as PROMOTION_POLICY
from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.api.reasons import Reason
from lockstep.cli.status import CommandError


def read_policy(path: str) -> PromotionPolicy:
    """Read the one PromotionPolicy of a file.

    Raises:
        CommandError: it holds none or many, or it can't be understood.
    """
    found = _objects(path, PROMOTION_POLICY, Reason.POLICY_INVALID)
    if len(found) != 1:
        raise CommandError(Reason.POLICY_MISSING, f"{path} holds {len(found)} PromotionPolicies, not one")
    try:
        return PromotionPolicy.from_object(found[0])
    except (ValidationError, AttributeError) as error:
        raise CommandError(Reason.POLICY_INVALID, f"{path}: {_sentence(error)}") from error


def read_deployments(path: str) -> list[ModelDeployment]:
    """Read the ModelDeployments of a file, at least one.

    Raises:
        CommandError: it holds none, or one can't be understood.
    """
    found = _objects(path, MODEL_DEPLOYMENT, Reason.SPEC_INVALID)
    if not found:
        raise CommandError(Reason.SPEC_INVALID, f"{path} holds no ModelDeployment")
    try:
        return [ModelDeployment.from_object(raw) for raw in found]
    except (ValidationError, AttributeError) as error:
        raise CommandError(Reason.SPEC_INVALID, f"{path}: {_sentence(error)}") from error


def _objects(path: str, kind: str, reason: Reason) -> list[dict[str, Any]]:
    try:
        documents = list(yaml.safe_load_all(Path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise CommandError(reason, f"{path}: {error}") from error
    return [one for one in documents if isinstance(one, dict) and one.get("kind") == kind]


def _sentence(error: ValidationError | AttributeError) -> str:
    """Return the first thing that is wrong as one sentence."""
    if isinstance(error, AttributeError):
        return "metadata and spec have to be mappings"
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])
