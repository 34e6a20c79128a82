"""What a candidate's pods can be asked, judged before any of them starts: nobody gets past the audit by leaving it nothing."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from lockstep.api.imagesspec import InImage
from lockstep.api.promotionpolicy import PredictBody, PromotionPolicy, ReadinessPolicy
from lockstep.api.reasons import Reason
from lockstep.api.server import CustomServer, field_of
from lockstep.gates.evidence import Evidence, Unknown

_REGISTER = "log the model with an input_example (MLflow stores serving_input_example.json, of at most 1 MiB) and register it"


@dataclass(frozen=True)
class Obstacle:
    """Why what may be asked would prove nothing, and who can change that."""

    reason: Reason
    message: str
    step: str


def find_obstacle(evidence: Evidence) -> Obstacle | None:
    """Return why the candidate's pods can't be asked as the policy wants it; None where they can, or it is not known yet."""
    policy = evidence.policy
    if isinstance(policy, Unknown):
        return None
    server, rules = evidence.spec.server, policy.spec.readiness
    if server.kind not in rules.servers:
        allowed = ", ".join(field_of(kind) for kind in rules.servers)
        return Obstacle(
            Reason.SERVER_NOT_ALLOWED,
            f"the policy {policy.name} does not allow {field_of(server.kind)}",
            f"Next step: use {allowed}, or the platform team adds {server.kind} to readiness.servers",
        )
    if server.custom is not None and (refused := _custom_obstacle(server.custom, policy)) is not None:
        return refused
    return _example_obstacle(evidence, server.custom, rules)


def _custom_obstacle(server: CustomServer, policy: PromotionPolicy) -> Obstacle | None:
    if server.predict_path is None:
        return Obstacle(
            Reason.NOTHING_TO_ASK,
            f"server.custom has no predictPath, and the policy {policy.name} wants "
            f"{policy.spec.readiness.requests} predictions of each pod",
            "Next step (manifest): set server.custom.predictPath, and predictBody where the server does not take the "
            "registered input example",
        )
    if server.predict_body is not None and policy.spec.readiness.predict_body is PredictBody.DENY:
        return Obstacle(
            Reason.PREDICT_BODY_NOT_ALLOWED,
            f"the policy {policy.name} does not count server.custom.predictBody",
            "Next step: remove it, so that the registered input example is sent, "
            "or the platform team sets readiness.predictBody: Allow",
        )
    return None


def _example_obstacle(evidence: Evidence, custom: CustomServer | None, rules: ReadinessPolicy) -> Obstacle | None:
    lineage = evidence.lineage
    if isinstance(lineage, Unknown) or lineage.input_example is not None:
        return None
    model = f"{lineage.name} {lineage.version}"
    if rules.input_example is InImage.REQUIRED:
        return Obstacle(
            Reason.INPUT_EXAMPLE_MISSING,
            f"{model} has no registered input example",
            f"Next step (who trains): {_REGISTER}, or the platform team sets readiness.inputExample: IfPresent",
        )
    if custom is not None and custom.predict_body is None:
        return Obstacle(
            Reason.NOTHING_TO_ASK,
            f"{model} has no registered input example, and server.custom has no predictBody",
            f"Next step: set server.custom.predictBody, or (who trains) {_REGISTER}",
        )
    return None


def asks_nothing(evidence: Evidence) -> bool:
    """Return whether the pods are asked for no prediction: the model has no example, and the policy lets such models pass.

    Who deploys can't bring it about: a registered version has its example or has not, and a custom server needs a body.
    """
    lineage = evidence.lineage
    return not isinstance(lineage, Unknown) and lineage.input_example is None and evidence.spec.server.custom is None


def is_listed(model: str, patterns: list[str]) -> bool:
    """Return whether a list of the policy names a registered model."""
    return any(fnmatchcase(model, pattern) for pattern in patterns)
