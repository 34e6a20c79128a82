"""The status as this controller wrote it: what somebody else writes there is put right and never read as a fact."""

from pydantic import ValidationError

from lockstep.api.modeldeployment import ModelDeployment, ModelDeploymentStatus
from lockstep.bounded import Bounded
from lockstep.controller.cluster.ports import Object

_KEPT = 20_000


class TrustedStatus:
    """Remembers, by uid, what was written last. After a restart the records vouch for what counts (see `active`)."""

    def __init__(self) -> None:
        self._written: Bounded[str, ModelDeploymentStatus] = Bounded(_KEPT)

    def read(self, raw: Object) -> tuple[ModelDeployment, bool]:
        """Return the object with the status that can be trusted, and whether somebody else has changed it.

        Raises:
            pydantic.ValidationError: the spec can't be understood.
        """
        try:
            owner = ModelDeployment.from_object(raw)
        except ValidationError:
            # A status that can't be read was not written by us: the spec alone may be.
            owner = ModelDeployment.from_object({**raw, "status": {}})
        last = self._written.get(owner.uid)
        if last is None or last.payload() == owner.status.payload():
            return owner, False
        return owner.model_copy(update={"status": last}), True

    def keep(self, uid: str, status: ModelDeploymentStatus) -> None:
        """Remember what was written."""
        self._written[uid] = status

    def forget(self, uid: str) -> None:
        """Forget what was written: the object is gone, or a write may or may not have arrived."""
        self._written.pop(uid, None)
