"""Which PromotionRecords may be deleted: none that vouches for anything, and of the rest the oldest."""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lockstep.api.records import RecordOutcome
from lockstep.controller.cluster.ports import Object
from lockstep.rollout.objects import labels

_NEWEST_PROMOTIONS = 3
"""Of each living ModelDeployment. A status that was emptied is restored from the newest; two more, since who decided and who
stored a record have clocks of their own.
"""
_YOUNG = timedelta(hours=1)
"""A promotion is recorded before the status that names it, so a record this young may be about to be needed."""


@dataclass(frozen=True)
class Retention:
    """How many PromotionRecords are kept beside those that vouch for something, and for how long."""

    promotions: int = 2000
    """`LOCKSTEP_PROMOTION_RECORDS`: how many records of promotions that nothing needs any more."""
    promotion_days: int = 365
    """`LOCKSTEP_PROMOTION_DAYS`: after how many days such a record is deleted."""
    refusals: int = 1000
    """`LOCKSTEP_REFUSAL_RECORDS`: how many records of refusals beside the newest of each ModelDeployment."""
    refusal_days: int = 90
    """`LOCKSTEP_REFUSAL_DAYS`: after how many days such a record is deleted."""
    refusals_per_deployment: int = 10
    """`LOCKSTEP_REFUSALS_PER_DEPLOYMENT`: how many of its newest refusals a ModelDeployment keeps as long as it lives."""


@dataclass(frozen=True)
class Needed:
    """What may need a record of a promotion."""

    owners: frozenset[str] = frozenset()
    """uids of the ModelDeployments that there are."""
    records: frozenset[str] = frozenset()
    """Names of records that their statuses give: of what is active, was active before, or is a candidate."""
    revisions: frozenset[str] = frozenset()
    """Revisions that their statuses name, or of which there are snapshots (ControllerRevisions)."""


@dataclass(frozen=True)
class Kept:
    """One PromotionRecord, as far as its metadata says."""

    name: str
    uid: str
    created: datetime
    owner: str = ""
    """uid of the ModelDeployment."""
    namespace: str = ""
    """Namespace of the ModelDeployment."""
    revision: str = ""
    refused: bool = field(default=False)
    """False where an older version has not said so: then it is kept as a promotion is."""

    @classmethod
    def of(cls, raw: Object) -> "Kept":
        """Read a record's metadata."""
        metadata = raw["metadata"]
        marks: Mapping[str, str] = metadata.get("labels") or {}
        revision = str(metadata["name"]).removeprefix(marks.get(labels.INSTANCE, "") + "-").rpartition("-")[0]
        return cls(
            name=metadata["name"],
            uid=metadata["uid"],
            created=datetime.fromisoformat(metadata["creationTimestamp"]),
            owner=marks.get(labels.UID, ""),
            namespace=marks.get(labels.NAMESPACE, ""),
            revision=revision,
            refused=marks.get(labels.OUTCOME) == RecordOutcome.REFUSED,
        )


def superfluous(records: Iterable[Kept], needed: Needed, retention: Retention, now: datetime) -> list[Kept]:
    """Return the records to delete, the oldest first."""
    newest_first = sorted(records, key=lambda record: (record.created, record.name), reverse=True)
    promotions = [record for record in newest_first if not record.refused]
    refusals = [record for record in newest_first if record.refused]
    free = [record for record in promotions if not _may_be_needed(record, needed, now)]
    free = _beyond_newest(free, promotions, needed, _NEWEST_PROMOTIONS)
    rest = _beyond_newest(refusals, refusals, needed, retention.refusals_per_deployment)
    found = _too_many(free, retention.promotions, now - timedelta(days=retention.promotion_days))
    found += _too_many(rest, retention.refusals, now - timedelta(days=retention.refusal_days))
    return sorted(found, key=lambda record: (record.created, record.name))


def _may_be_needed(record: Kept, needed: Needed, now: datetime) -> bool:
    return record.name in needed.records or record.revision in needed.revisions or now - record.created < _YOUNG


def _beyond_newest(free: Sequence[Kept], of: Sequence[Kept], needed: Needed, number: int) -> list[Kept]:
    """Leave out the newest records of each ModelDeployment that there is."""
    seen: Counter[str] = Counter()
    newest: set[str] = set()
    for record in of:
        if record.owner in needed.owners and seen[record.owner] < number:
            seen[record.owner] += 1
            newest.add(record.name)
    return [record for record in free if record.name not in newest]


def _too_many(newest_first: Sequence[Kept], number: int, before: datetime) -> list[Kept]:
    """Return what is too old, and beyond the number the oldest of whichever namespace has most: nobody floods the others'."""
    old = [record for record in newest_first if record.created < before]
    by_namespace: dict[str, list[Kept]] = {}
    for record in newest_first:
        if record.created >= before:
            by_namespace.setdefault(record.namespace, []).append(record)
    largest = [(-len(kept), name) for name, kept in by_namespace.items()]
    heapq.heapify(largest)
    for _ in range(sum(map(len, by_namespace.values())) - number):
        size, name = heapq.heappop(largest)
        old.append(by_namespace[name].pop())
        heapq.heappush(largest, (size + 1, name))
    return old
