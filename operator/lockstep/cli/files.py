"""Reads a registered model's files through MLflow, as the controller does in the background."""

import sys

from lockstep.api.promotionpolicy import PromotionPolicy
from lockstep.api.reasons import Reason
from lockstep.evidence.facts import place_to_read
from lockstep.gates.evidence import Fact, Unknown
from lockstep.lineage.lineage import Lineage, LineageError, ModelRegistry, Place
from lockstep.lineage.reading import Known, Progress, ReadingLimits, amount, listing, read
from lockstep.modelfiles import ModelFiles


async def registered_files(registry: ModelRegistry, policy: PromotionPolicy, lineage: Fact[Lineage]) -> Fact[ModelFiles] | None:
    """Return the digests of a version's files; None where the policy does not ask for them."""
    if isinstance(lineage, Unknown):
        return Unknown(Reason.WAITING, "the lineage has to be known first", retry=True)
    place = place_to_read(policy, lineage)
    if not isinstance(place, Place):
        return place
    limits = ReadingLimits()
    try:
        sizes = await listing(registry, place, limits)
        if sys.stderr.isatty():
            size = amount(sum(sizes.values()))
            print(f"reading {len(sizes)} files of {place.name} {place.version}, {size} …", file=sys.stderr)
        return await read(registry, place, sizes, limits, progress=Progress(), known=Known())
    except LineageError as error:
        return Unknown(error.reason, error.message, retry=error.retry)
