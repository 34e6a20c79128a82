"""The active revision, believed only as far as the operator's own records vouch for it."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from lockstep.api.modeldeployment import ModelDeployment, RevisionStatus
from lockstep.controller.cluster.ports import Object
from lockstep.controller.records.store import Records
from lockstep.rollout.candidate import short
from lockstep.rollout.objects.revision import Snapshot
from lockstep.rollout.observed.observed import Observed


@dataclass(frozen=True)
class Active:
    """What serves: its status and what its pods are made of."""

    status: RevisionStatus
    snapshot: Snapshot


def snapshots_of(observed: Observed) -> dict[str, Snapshot]:
    """Read the snapshots that ControllerRevisions hold; one that does not have its own hash is none.

    They serve for revisions that get no traffic. What gets traffic is read from the operator's own records.
    """
    found: dict[str, Snapshot] = {}
    for revision, raw in observed.revisions.items():
        snapshot = _from_text((raw.get("data") or {}).get("snapshot"))
        if snapshot is not None and snapshot.revision == revision:
            found[revision] = snapshot
    return found


async def active_of(owner: ModelDeployment, observed: Observed, records: Records) -> Active | None:
    """Return the active revision; None when nothing was ever promoted.

    A status that names no recorded promotion of this very object is not believed; one that was emptied is restored from
    the newest record.

    Raises:
        ClusterError: the API server did not answer.
    """
    stated = owner.status.active
    record = await records.promotion(owner, stated.record, stated.revision) if stated is not None else None
    if record is None and (stated is not None or observed.service is not None):
        record = await records.newest_promotion(owner)
        stated = _status_from_record(record) if record is not None else None
    if record is None or stated is None or stated.revision is None:
        return None
    snapshot = _from_record(record)
    return Active(stated, snapshot) if snapshot is not None else None


def _status_from_record(record: Object) -> RevisionStatus:
    spec = record["spec"]
    return RevisionStatus(
        revision=spec["revision"],
        model_version=spec["version"],
        run_id=spec["runID"],
        image=spec["image"],
        image_digest=spec["imageDigest"],
        short_digest=short(spec["imageDigest"]),
        environment_digest=spec.get("environmentDigest"),
        policy_hash=spec["policyHash"],
        record=record["metadata"]["name"],
        start_time=datetime.fromisoformat(spec["decidedAt"]),
    )


def _from_record(record: Object) -> Snapshot | None:
    return _from_text(record["spec"].get("snapshot"), known_as=str(record["spec"]["revision"]))


def _from_text(text: Any, *, known_as: str | None = None) -> Snapshot | None:
    try:
        return Snapshot.parse(json.loads(text), known_as=known_as)
    except (ValueError, KeyError, TypeError, ValidationError):
        return None
