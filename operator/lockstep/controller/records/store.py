"""The records in the operator's own namespace: immutable, written by it alone, and therefore evidence.

PromotionRecords hold verdicts, LineagePins what a version declared when it was first seen, EnvironmentRecords the scan of
one image digest, so that neither a restart nor another replica scans twice.
"""

import logging
from datetime import datetime
from typing import Any

from lockstep.api.modeldeployment import CandidateStatus, ModelDeployment
from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.api.records import RecordOutcome
from lockstep.bounded import Bounded
from lockstep.controller.cluster import ports
from lockstep.controller.cluster.ports import Cluster, ConflictError, Kind, Object
from lockstep.controller.records.refusals import Refusals
from lockstep.formats.canonical import canonical_json, sha256_of
from lockstep.formats.modelfiles import ModelFiles
from lockstep.gates.evidence import LineagePins
from lockstep.gates.verdict import Verdict
from lockstep.images.scan.record import InvalidRecordError, scan_from_record, scan_to_record
from lockstep.images.scan.result import ImageScan
from lockstep.rollout.objects import labels
from lockstep.rollout.objects.revision import Snapshot, short_hash
from lockstep.rollout.status.conditions import shorten
from lockstep.rollout.status.results import gate_status

_CACHED = 512
_MAX_DIFFERENCES = 1000
_MAX_RELEASES = 1000
_log = logging.getLogger(__name__)


class Records:
    """Reads and writes records. What was read once is kept, since it can't change.

    Every method lets ClusterError through: the API server did not answer, or refused.
    """

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._cache: Bounded[tuple[str, str], Object] = Bounded(_CACHED)
        self._refusals = Refusals()

    async def _get(self, kind: Kind, name: str) -> Object | None:
        key = (kind.kind, name)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        found = await self._cluster.get(kind, self._namespace, name)
        if found is not None:
            self._cache[key] = found
        return found

    async def _write(self, kind: Kind, name: str, spec: dict[str, Any], marks: dict[str, str]) -> Object:
        existing = await self._get(kind, name)
        if existing is not None:
            # Records are named by what they say: the one that exists says the same, or said it first.
            return existing
        body = {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": {
                "name": name,
                "namespace": self._namespace,
                "labels": {labels.MANAGED_BY: labels.MANAGER} | marks,
            },
            "spec": spec,
        }
        try:
            created = await self._cluster.create(kind, self._namespace, body)
        except ConflictError:
            # Somebody was quicker, perhaps ourselves before an answer was lost.
            existing = await self._get(kind, name)
            if existing is None:
                raise
            return existing
        self._cache[kind.kind, name] = created
        return created

    # --- promotions ----------------------------------------------------------------------------------------------

    async def promotion(self, owner: ModelDeployment, name: str | None, revision: str | None) -> Object | None:
        """Return the record of a promotion of exactly this object and revision; None when there is none."""
        if name is None or revision is None:
            return None
        record = await self._get(ports.PROMOTION_RECORD, name)
        return record if record is not None and _is_promotion(record, owner, revision) else None

    async def newest_promotion(self, owner: ModelDeployment) -> Object | None:
        """Return the newest promotion of this object, for a status that somebody has emptied."""
        found = await self._cluster.list(ports.PROMOTION_RECORD, self._namespace, labels={labels.UID: owner.uid})
        promoted = [r for r in found if _is_promotion(r, owner, str(r["spec"].get("revision")))]
        return max(promoted, key=lambda record: str(record["spec"]["decidedAt"]), default=None)

    async def write_verdict(
        self,
        owner: ModelDeployment,
        *,
        candidate: CandidateStatus,
        snapshot: Snapshot,
        verdict: Verdict,
        policy: PromotionPolicy,
        document_digest: str | None,
        outcome: RecordOutcome,
    ) -> str:
        """Record a verdict in full and return the record's name. The same verdict is recorded once.

        Of refusals that come thick and fast not all are recorded (`Refusals`); of promotions all are.
        """
        name = record_name(owner, candidate, verdict, outcome)
        if outcome is RecordOutcome.REFUSED and not await self._may_record_refusal(owner, name, verdict):
            return name
        differences = [d for result in verdict.results for d in result.differences]
        spec: dict[str, Any] = {
            "namespace": owner.namespace,
            "name": owner.name,
            "uid": owner.uid,
            "generation": owner.generation,
            "revision": snapshot.revision,
            "outcome": str(outcome),
            "decidedAt": timestamp(verdict.decided_at),
            "model": snapshot.model,
            "version": snapshot.version,
            "runID": snapshot.run_id,
            "image": snapshot.image,
            "imageDigest": snapshot.digest,
            "policyName": policy.name,
            "policyHash": verdict.policy_hash,
            "environmentDigest": verdict.environment_digest,
            "documentDigest": document_digest,
            "configurationDigest": sha256_of(canonical_json(snapshot.payload())),
            "gates": [gate_status(result).payload() for result in verdict.results],
            "holds": [gate_status(hold).payload() for hold in verdict.holds],
            "differences": [shorten(d.sentence) for d in differences[:_MAX_DIFFERENCES]],
            "snapshot": snapshot.text(),
        }
        spec = {key: value for key, value in spec.items() if value is not None}
        marks = {
            labels.UID: owner.uid,
            labels.INSTANCE: owner.name,
            labels.NAMESPACE: owner.namespace,
            labels.OUTCOME: str(outcome),
        }
        await self._write(ports.PROMOTION_RECORD, name, spec, marks)
        return name

    async def _may_record_refusal(self, owner: ModelDeployment, name: str, verdict: Verdict) -> bool:
        """Return whether a refusal is recorded already or may be now."""
        if await self._get(ports.PROMOTION_RECORD, name) is not None:
            return True
        if self._refusals.permit(owner.uid, owner.namespace, verdict.decided_at):
            return True
        why = verdict.blocking.message if verdict.blocking is not None else ""
        _log.warning(
            "%s/%s has too many refusals in a short time, this one is not recorded: %s", owner.namespace, owner.name, why
        )
        return False

    # --- lineage pins --------------------------------------------------------------------------------------------

    async def pins(self, tracking_uri: str, model: str, version: str) -> LineagePins | None:
        """Return what a version declared when it was first seen, or since a pin was lifted; None when it has not been seen."""
        name, record, _ = await self._follow_releases(tracking_uri, model, version)
        if record is None:
            return None
        with_files = record if "filesDeflated" in record["spec"] else await self._get(ports.LINEAGE_PIN, _files_name(name))
        spec, files = record["spec"], with_files["spec"] if with_files is not None else {}
        return LineagePins(
            run_id=spec.get("runID"),
            model_id=spec.get("modelID"),
            document_digest=spec.get("documentDigest"),
            mlmodel_sha256=spec.get("mlmodelSHA256"),
            first_seen=datetime.fromisoformat(spec["firstSeen"]),
            files=ModelFiles.unpack(files["filesDeflated"]) if files else None,
            files_first_seen=datetime.fromisoformat(files["firstSeen"]) if files else None,
            name=name,
        )

    async def pin(self, tracking_uri: str, model: str, version: str, pins: LineagePins) -> None:
        """Keep what a version declares now; it outlives every ModelDeployment. Files that a pin lacks are kept beside it."""
        name, record, release = await self._follow_releases(tracking_uri, model, version)
        files = pins.files
        spec = {
            "trackingURI": tracking_uri,
            "model": model,
            "version": version,
            "runID": pins.run_id,
            "modelID": pins.model_id,
            "documentDigest": pins.document_digest,
            "mlmodelSHA256": pins.mlmodel_sha256,
            "modelDigest": files.digest if files is not None else None,
            "fileCount": len(files.files) if files is not None else None,
            "byteCount": files.size if files is not None else None,
            "filesDeflated": files.pack() if files is not None else None,
            "firstSeen": timestamp(pins.first_seen),
            "replaces": release["metadata"]["name"] if release is not None else None,
            "releasedBy": release["spec"]["by"] if release is not None else None,
            "releaseReason": release["spec"]["reason"] if release is not None else None,
        }
        spec = {key: value for key, value in spec.items() if value is not None}
        await self._write(ports.LINEAGE_PIN, name if record is None else _files_name(name), spec, {})

    async def _follow_releases(self, tracking_uri: str, model: str, version: str) -> tuple[str, Object | None, Object | None]:
        """Follow the pins that were lifted; return name and record of the one that holds, and what lifted the one before.

        Which one holds follows from names alone, so that nobody can put another in its place but by a LineageRelease.
        """
        first = name = pin_name(tracking_uri, model, version)
        release: Object | None = None
        for number in range(2, _MAX_RELEASES):
            record = await self._get(ports.LINEAGE_PIN, name)
            lifted = await self._cluster.get(ports.LINEAGE_RELEASE, self._namespace, name) if record is not None else None
            if lifted is None:
                return name, record, release
            name, release = f"{first}-{number}", lifted
        return name, await self._get(ports.LINEAGE_PIN, name), release

    # --- scans ---------------------------------------------------------------------------------------------------

    async def scan(self, digest: str, analyser: str) -> ImageScan | None:
        """Return the recorded scan of an image digest by this analyser; None when there is none that can be read."""
        record = await self._get(ports.ENVIRONMENT_RECORD, scan_name(digest, analyser))
        if record is None:
            return None
        try:
            scan = scan_from_record(record["spec"])
        except InvalidRecordError as error:
            _log.warning("EnvironmentRecord %s is scanned anew: %s", record["metadata"]["name"], error)
            return None
        return scan if scan.digest == digest and scan.analyser == analyser else None

    async def keep_scan(self, scan: ImageScan) -> None:
        """Record a scan."""
        await self._write(ports.ENVIRONMENT_RECORD, scan_name(scan.digest, scan.analyser), scan_to_record(scan), {})


def _is_promotion(record: Object, owner: ModelDeployment, revision: str) -> bool:
    spec = record["spec"]
    return bool(spec["uid"] == owner.uid and spec["revision"] == revision and spec["outcome"] == RecordOutcome.PROMOTED)


def record_name(owner: ModelDeployment, candidate: CandidateStatus, verdict: Verdict, outcome: RecordOutcome) -> str:
    """Name a verdict by what it is about, so that a crash between two writes doesn't record it twice."""
    blocking = verdict.blocking
    about = {
        "uid": owner.uid,
        "revision": candidate.revision,
        "since": timestamp(candidate.start_time) if candidate.start_time else None,
        "policy": verdict.policy_hash,
        "outcome": str(outcome),
        "why": [blocking.gate, str(blocking.reason)] if blocking else None,
    }
    return f"{owner.name}-{candidate.revision}-{short_hash(about)}"


def pin_name(tracking_uri: str, model: str, version: str) -> str:
    """Name the pin of a model version."""
    return "pin-" + sha256_of(canonical_json([tracking_uri, model, version])).removeprefix("sha256:")[:40]


def _files_name(pin: str) -> str:
    """Name the pin that completes another one."""
    return f"{pin}-files"


def scan_name(digest: str, analyser: str) -> str:
    """Name the record of one image digest's scan by one analyser."""
    return f"{digest.replace(':', '-')}-{short_hash(analyser)}"


def timestamp(moment: datetime) -> str:
    """Write a time as Kubernetes does (RFC 3339, seconds, Z)."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
