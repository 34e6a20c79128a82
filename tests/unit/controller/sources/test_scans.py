"""Scans in the background: one for each digest, recorded, tried again after a failure and not too soon."""

import asyncio

import pytest

from lockstep.api.reasons import Reason
from lockstep.controller.cluster.ports import Kind, Object
from lockstep.controller.records.store import Records
from lockstep.controller.sources.scans import EACH, Scans
from lockstep.gates.evidence import Fact, Unknown
from lockstep.images.image import ImageError, ResolvedImage
from lockstep.images.scan.result import ImageScan
from tests.fakes import builders as build
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster
from tests.fakes.connection import Connection

SYSTEM, TEAM = "lockstep-system", "team"


class Reader:
    """Scans one image, with the outcome that a test asks for."""

    def __init__(self, error: Exception | None = None) -> None:
        self.clock = FakeClock()
        self.connection = Connection(FakeCluster(self.clock))
        self.scans = self.fresh()
        self.error = error
        self.read = 0
        self.woken = asyncio.Event()
        self.took: list[float] = []

    def fresh(self) -> Scans:
        return Scans(Records(self.connection, SYSTEM), "1", lambda seconds: self.took.append(seconds), self.clock)

    async def scan(self, image: ResolvedImage) -> ImageScan:
        self.read += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return build.scan(digest=image.digest)

    async def ask(self, namespace: str = TEAM) -> Fact[ImageScan] | None:
        return await self.scans.get(build.image(), namespace, self.scan, self.woken.set)

    async def ended(self) -> None:
        async with asyncio.timeout(10):
            await self.woken.wait()
        self.woken.clear()


async def test_a_scan_runs_in_the_background_and_wakes_who_asked() -> None:
    reader = Reader()
    assert await reader.ask() is None
    assert await reader.ask() is None, "it runs still"
    await reader.ended()
    assert await reader.ask() == build.scan()
    assert (reader.read, len(reader.took)) == (1, 1)


async def test_a_restart_reads_the_record_and_no_layer() -> None:
    reader = Reader()
    await reader.ask()
    await reader.ended()
    reader.scans = reader.fresh()
    assert await reader.ask() == build.scan()
    assert reader.read == 1


async def test_a_failure_stands_until_a_later_try_has_found_something_else() -> None:
    reader = Reader(ImageError(Reason.IMAGE_REGISTRY_UNREACHABLE, "no answer", retry=True))
    await reader.ask()
    await reader.ended()
    failure = Unknown(Reason.IMAGE_REGISTRY_UNREACHABLE, "no answer", retry=True)
    assert await reader.ask() == failure
    assert reader.read == 1, "not at once"
    reader.clock.advance(11)
    reader.error = None
    assert await reader.ask() == failure, "while it is read again"
    await reader.ended()
    assert await reader.ask() == build.scan()


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (ImageError(Reason.IMAGE_REGISTRY_RATE_LIMITED, "slow down", retry=True, retry_after=120.0), 120),
        (ImageError(Reason.IMAGE_UNAUTHORIZED, "refused"), 60),
        (ImageError(Reason.INTERPRETER_NOT_FOUND, "no python"), 3600),
    ],
    ids=["as the registry asks", "what people may put right", "what the digest names"],
)
async def test_each_failure_has_its_own_patience(error: ImageError, seconds: int) -> None:
    reader = Reader(error)
    await reader.ask()
    await reader.ended()
    reader.clock.advance(seconds - 1)
    await reader.ask()
    assert reader.read == 1
    reader.clock.advance(2)
    await reader.ask()
    await reader.ended()
    assert reader.read == 2


async def test_a_defect_of_ours_is_unknown_and_never_a_pass() -> None:
    reader = Reader(ZeroDivisionError("secret"))
    await reader.ask()
    await reader.ended()
    found = await reader.ask()
    assert isinstance(found, Unknown)
    assert (found.reason, found.retry) == (Reason.INTERNAL_ERROR, True)
    assert "secret" not in found.message


async def test_a_scan_that_can_not_be_recorded_is_no_answer() -> None:
    reader = Reader()
    cluster = FakeCluster(reader.clock)

    def refuse(verb: str, kind: Kind, body: Object) -> str | None:
        return "no" if verb == "create" else None

    cluster.admission.append(refuse)
    reader.connection = Connection(cluster)
    reader.scans = reader.fresh()
    await reader.ask()
    await reader.ended()
    found = await reader.ask()
    assert isinstance(found, Unknown)
    assert found.reason is Reason.INTERNAL_ERROR


async def test_two_images_are_two_scans_and_stopping_ends_both() -> None:
    reader = Reader()
    await reader.ask()
    await reader.scans.get(build.image(digest=build.OTHER_DIGEST), TEAM, reader.scan, reader.woken.set)
    await reader.scans.stop()
    assert not reader.woken.is_set()


class Layers:
    """Layers that come when a test lets them, by namespace."""

    def __init__(self) -> None:
        self.reader = Reader()
        self.begun: list[str] = []
        self.come: dict[str, asyncio.Event] = {}

    async def ask(self, namespace: str, digest: str = build.DIGEST) -> Fact[ImageScan] | None:
        come = self.come.setdefault(namespace, asyncio.Event())

        async def scan(image: ResolvedImage) -> ImageScan:
            self.begun.append(namespace)
            await come.wait()
            return await self.reader.scan(image)

        found = await self.reader.scans.get(build.image(digest=digest), namespace, scan, self.reader.woken.set)
        await asyncio.sleep(0)
        return found


async def test_a_registry_that_delivers_no_layers_keeps_nobody_else_from_the_same_image() -> None:
    layers = Layers()
    await layers.ask("noisy")
    await layers.ask(TEAM)
    assert layers.begun == ["noisy", TEAM]
    layers.come[TEAM].set()
    await layers.reader.ended()
    assert await layers.ask(TEAM) == build.scan()
    assert await layers.ask("noisy") == build.scan(), "what was found is the same for whoever may open the image"
    await layers.reader.scans.stop()


async def test_why_one_namespace_found_nothing_is_no_answer_to_another() -> None:
    layers = Layers()
    layers.reader.error = ImageError(Reason.IMAGE_UNAUTHORIZED, "noisy's credentials open nothing any more")
    await layers.ask("noisy")
    layers.come["noisy"].set()
    await layers.reader.ended()
    assert isinstance(await layers.ask("noisy"), Unknown)
    layers.reader.error = None
    assert await layers.ask(TEAM) is None
    layers.come[TEAM].set()
    await layers.reader.ended()
    assert await layers.ask(TEAM) == build.scan()


async def test_one_namespace_has_a_bounded_number_of_scans_and_others_theirs() -> None:
    layers = Layers()
    for number in range(100):
        await layers.ask("noisy", f"sha256:{number:064}")
    assert layers.begun == ["noisy"] * EACH
    await layers.ask(TEAM)
    assert layers.begun[EACH:] == [TEAM]
    await layers.reader.scans.stop()


async def test_a_scan_that_waited_for_its_turn_takes_what_another_has_found_meanwhile() -> None:
    layers = Layers()
    for number in range(EACH):
        await layers.ask("noisy", f"sha256:{number:064}")
    await layers.ask("noisy")
    await layers.ask(TEAM)
    layers.come[TEAM].set()
    await layers.reader.ended()
    layers.come["noisy"].set()
    await layers.reader.ended()
    async with asyncio.timeout(10):
        while await layers.ask("noisy") is None:
            await layers.reader.ended()
    assert layers.begun == ["noisy"] * EACH + [TEAM]
