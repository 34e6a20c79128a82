"""Records of layers: each layer is read once at a time from one registry, whoever asks."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import pytest

from lockstep.api.reasons import Reason
from lockstep.images.image import Descriptor, ImageError
from lockstep.images.limits import MIB, Limits
from lockstep.images.scan.layers import Layers, NoCache
from lockstep.images.scan.worker import layer as reads_layer
from lockstep.images.scan.worker.processes import Processes
from tests.fakes.images import Item, MemorySource, layer
from tests.unit.images.scan.test_worker import MISUSE, PATH

ONE = layer(Item("x"))


@dataclass
class Readings:
    """Reads layers when a test says so. Implements `Workers`."""

    parties: list[str] = field(default_factory=list)
    ends: dict[str, "asyncio.Future[bytes]"] = field(default_factory=dict)

    async def run(self, module: str, worker_input: AsyncGenerator[bytes, None], party: str) -> bytes:
        self.parties.append(party)
        self.ends[party] = asyncio.get_running_loop().create_future()
        return await self.ends[party]


class Registry(MemorySource):
    """A repository of a registry."""

    def __init__(self, repository: str) -> None:
        super().__init__()
        self._named = repository

    @property
    def repository(self) -> str:
        return self._named


def reading(layers: Layers, repository: str, party: str) -> "asyncio.Task[bytes]":
    return asyncio.create_task(layers.get(Registry(repository), ONE.descriptor, ONE.diff_id, party))


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_images_of_one_registry_share_what_is_being_read() -> None:
    readings = Readings()
    layers = Layers(readings, NoCache(), Limits())
    first, second = reading(layers, "r.example/a", "ours"), reading(layers, "r.example/b", "theirs")
    await settled()
    assert readings.parties == ["ours"]
    readings.ends["ours"].set_result(b"record")
    assert (await first, await second) == (b"record", b"record")


async def test_nobody_waits_for_what_another_registry_delivers() -> None:
    readings = Readings()
    layers = Layers(readings, NoCache(), Limits())
    slow, quick = reading(layers, "slow.example/a", "noisy"), reading(layers, "r.example/a", "ours")
    await settled()
    assert readings.parties == ["noisy", "ours"]
    readings.ends["ours"].set_result(b"record")
    assert await quick == b"record"
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)


async def test_what_another_failed_to_read_is_read_with_ones_own_credentials() -> None:
    readings = Readings()
    layers = Layers(readings, NoCache(), Limits())
    first, second = reading(layers, "r.example/a", "noisy"), reading(layers, "r.example/a", "ours")
    await settled()
    readings.ends["noisy"].set_exception(ImageError(Reason.IMAGE_UNAUTHORIZED, "no"))
    await settled()
    assert readings.parties == ["noisy", "ours"]
    readings.ends["ours"].set_result(b"record")
    assert await second == b"record"
    with pytest.raises(ImageError):
        await first


async def test_a_party_whose_registry_delivers_nothing_keeps_no_other_from_its_process() -> None:
    processes = Processes(MIB, at_once=1, path=PATH)
    begun = asyncio.Event()

    async def nothing() -> AsyncGenerator[bytes, None]:
        begun.set()
        await asyncio.Event().wait()
        yield b""

    async def request() -> AsyncGenerator[bytes, None]:
        yield reads_layer.request(Descriptor("", "", 0), "", Limits())
        yield b"variables"

    waiting = [asyncio.create_task(processes.run(MISUSE, nothing(), "noisy")) for _ in range(5)]
    try:
        async with asyncio.timeout(60):
            await begun.wait()
            assert await processes.run(MISUSE, request(), "ours")
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
