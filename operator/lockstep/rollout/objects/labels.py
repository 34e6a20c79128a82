"""Labels of what Lockstep owns. The chart's guards reserve them; nothing here is ever evidence."""

MANAGED_BY = "app.kubernetes.io/managed-by"
INSTANCE = "app.kubernetes.io/instance"
MANAGER = "lockstep"
MODEL_DEPLOYMENT = "lockstep.dev/model-deployment"
REVISION = "lockstep.dev/revision"
POLICY = "lockstep.dev/policy"
"""On a Namespace: the name of the PromotionPolicy that governs it."""
UID = "lockstep.dev/uid"
"""On records: uid of the ModelDeployment that they are about."""
NAMESPACE = "lockstep.dev/namespace"
"""On PromotionRecords: namespace of the ModelDeployment. With the outcome it says, without reading them, which may go."""
OUTCOME = "lockstep.dev/outcome"
"""On PromotionRecords: Promoted or Refused."""
FIELD_MANAGER = "lockstep"


def of_object(name: str) -> dict[str, str]:
    """Return the labels of every object owned for the ModelDeployment `name`."""
    return {MANAGED_BY: MANAGER, INSTANCE: name, MODEL_DEPLOYMENT: name}


def of_revision(name: str, revision: str) -> dict[str, str]:
    """Return the labels of a revision's objects."""
    return of_object(name) | {REVISION: revision}


def selector(name: str, revision: str) -> dict[str, str]:
    """Return what selects the pods of one revision."""
    return {MODEL_DEPLOYMENT: name, REVISION: revision}


def selector_text(name: str, revision: str) -> str:
    """Return the selector in the form of the scale subresource."""
    return ",".join(f"{key}={value}" for key, value in sorted(selector(name, revision).items()))
