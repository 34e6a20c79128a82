"""Worker processes: what they can't do, and what becomes of those that end before their time."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from lockstep.api.reasons import Reason
from lockstep.images.image import Descriptor, ImageError
from lockstep.images.limits import MIB, Limits
from lockstep.images.scan.layers import Layers, NoCache
from lockstep.images.scan.scan import Scanner
from lockstep.images.scan.worker import layer as reads_layer
from lockstep.images.scan.worker.processes import Processes
from tests.fakes.images import Item, MemorySource, layer, raw_layer
from tests.fakes.roots import Files, debian, items
from tests.fakes.workers import InProcess
from tests.unit.environment.catalogue.packages.test_eggs import archive

SETTINGS = {"Entrypoint": ["python3"]}
MISUSE = "tests.unit.images.misuse"
PATH = os.pathsep.join(filter(None, sys.path))


def source(*more: Item) -> MemorySource:
    made = MemorySource()
    made.image([layer(*items(debian())), layer(*more, kind="zstd"), layer(Item("x"), kind="")], settings=SETTINGS)
    return made


async def fed(*chunks: bytes) -> AsyncGenerator[bytes, None]:
    for chunk in chunks:
        yield chunk


def children() -> set[int]:
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


async def test_processes_find_what_is_found_without_them() -> None:
    image = source(Item("app/MLmodel", b"run_id: 1\n"))
    resolved = await image.resolved()
    alone = await Scanner(Limits()).scan(image, resolved)
    assert alone == await Scanner(Limits(), workers=InProcess()).scan(image, resolved)
    assert alone.models[0].path == "/app"


async def test_a_reason_comes_back_from_the_process() -> None:
    image = source(Item("x/.wh."))
    with pytest.raises(ImageError) as caught:
        await Scanner(Limits()).scan(image, await image.resolved())
    assert caught.value.reason is Reason.LAYER_AMBIGUOUS
    assert not caught.value.retry


async def test_no_process_is_left() -> None:
    before = children()
    image = source()
    await Scanner(Limits()).scan(image, await image.resolved())
    assert children() == before


@pytest.mark.parametrize("act", ["open", "socket", "fork", "write"])
async def test_a_worker_can_not_do_what_it_need_not(act: str) -> None:
    request = reads_layer.request(Descriptor("", "", 0), "", Limits())
    answer = await Processes(MIB, path=PATH).run(MISUSE, fed(request, act.encode()))
    assert answer == b"refused"


async def test_a_worker_has_none_of_the_operators_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "s3cret")
    request = reads_layer.request(Descriptor("", "", 0), "", Limits())
    assert b"s3cret" not in await Processes(MIB, path=PATH).run(MISUSE, fed(request, b"variables"))


async def test_a_worker_that_takes_too_much_memory_is_refused_with_the_limit() -> None:
    request = reads_layer.request(Descriptor("", "", 0), "", Limits(memory=200 * MIB))
    with pytest.raises(ImageError) as caught:
        await Processes(MIB, path=PATH).run(MISUSE, fed(request, b"memory"))
    assert caught.value.reason is Reason.LIMIT_EXCEEDED
    assert str(200 * MIB) in caught.value.message


async def test_a_worker_that_answers_too_much_is_refused() -> None:
    request = reads_layer.request(Descriptor("", "", 0), "", Limits())
    with pytest.raises(ImageError) as caught:
        await Processes(1000, path=PATH).run(MISUSE, fed(request, b"flood"))
    assert caught.value.reason is Reason.LIMIT_EXCEEDED


@pytest.mark.parametrize("act", ["killed", "raised", "busy"])
async def test_a_worker_that_ends_before_its_time_is_tried_again(act: str) -> None:
    request = reads_layer.request(Descriptor("", "", 0), "", Limits(seconds=0))
    with pytest.raises(ImageError) as caught:
        await Processes(MIB, path=PATH).run(MISUSE, fed(request, act.encode()))
    assert caught.value.reason is Reason.SCAN_FAILED
    assert caught.value.retry


async def test_a_process_that_is_killed_from_outside_is_tried_again_and_nothing_hangs() -> None:
    started = asyncio.Event()

    async def slowly() -> AsyncGenerator[bytes, None]:
        yield reads_layer.request(Descriptor("", "", 0), "", Limits())
        started.set()
        await asyncio.Event().wait()

    before = children()
    running = asyncio.create_task(Processes(MIB, path=PATH).run(MISUSE, slowly()))
    await started.wait()
    (worker,) = children() - before
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(ImageError) as caught:
        await running
    assert caught.value.reason is Reason.SCAN_FAILED


async def test_who_gives_up_takes_the_process_along() -> None:
    started, closed = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncGenerator[bytes, None]:
        try:
            yield reads_layer.request(Descriptor("", "", 0), "", Limits())
            started.set()
            await asyncio.Event().wait()
        finally:
            closed.set()

    before = children()
    running = asyncio.create_task(Processes(MIB, path=PATH).run(MISUSE, slowly()))
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    gc.collect()
    assert closed.is_set()
    assert children() == before


async def test_what_keeps_the_bytes_from_coming_is_the_reason() -> None:
    async def broken() -> AsyncGenerator[bytes, None]:
        yield reads_layer.request(Descriptor("", "", 0), "", Limits())
        raise ImageError(Reason.IMAGE_REGISTRY_UNREACHABLE, "gone", retry=True)

    with pytest.raises(ImageError) as caught:
        await Processes(MIB).run(reads_layer.__name__, broken())
    assert caught.value.reason is Reason.IMAGE_REGISTRY_UNREACHABLE


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
async def test_a_bomb_ends_in_the_process_with_the_limit(kind: str) -> None:
    bomb = raw_layer(bytes(64 * MIB), kind)
    made = MemorySource()
    made.image([bomb], settings=SETTINGS)
    limits = Limits(uncompressed=8 * MIB)
    with pytest.raises(ImageError) as caught:
        await Scanner(limits).scan(made, await made.resolved())
    assert caught.value.reason is Reason.LIMIT_EXCEEDED
    assert str(8 * MIB) in caught.value.message


async def test_a_layer_that_two_images_share_is_read_once() -> None:
    shared, other = layer(*items(debian())), layer(Item("y"))
    made = MemorySource()
    made.image([shared], tag="1", settings=SETTINGS)
    made.image([shared, other], tag="2", settings=SETTINGS)
    scanner = Scanner(Limits(), workers=InProcess())
    one, two = await made.resolved("1"), await made.resolved("2")
    made.read.clear()
    await asyncio.gather(scanner.scan(made, one), scanner.scan(made, two))
    assert made.read.count(shared.descriptor.digest) == 1


async def test_a_shared_reading_goes_on_when_the_first_who_asked_gives_up() -> None:
    shared = layer(*items(debian()))
    made = MemorySource()
    made.image([shared], settings=SETTINGS)
    scanner = Scanner(Limits(), workers=InProcess())
    image = await made.resolved()
    first, second = (asyncio.create_task(scanner.scan(made, image)) for _ in range(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).document.python.version == "3.11.2"


class Hanging:
    """Never ends by itself, and takes its time when it is ended. Implements `Workers`."""

    def __init__(self) -> None:
        self.asked = 0
        self.begun, self.let_go = asyncio.Event(), asyncio.Event()

    async def run(self, module: str, worker_input: AsyncGenerator[bytes, None], party: str) -> bytes:
        self.asked += 1
        if self.asked > 1:
            return b"record"
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await self.let_go.wait()
        return b""


async def test_who_asks_while_a_reading_is_being_ended_begins_a_new_one() -> None:
    one, workers = layer(Item("x")), Hanging()
    layers = Layers(workers, NoCache(), Limits())
    first = asyncio.create_task(layers.get(MemorySource(), one.descriptor, one.diff_id))
    await workers.begun.wait()
    first.cancel()
    await asyncio.sleep(0)
    assert await layers.get(MemorySource(), one.descriptor, one.diff_id) == b"record"
    workers.let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_what_is_loaded_late_is_loaded_before_the_doors_close() -> None:
    """Codecs and modules that Python loads at their first use: a path file is read with one, an archive with another."""
    site = "/usr/lib/python3/dist-packages"
    files: Files = {
        f"{site}/more.pth": "old.egg\n",
        f"{site}/old.egg": archive(("EGG-INFO/PKG-INFO", "Name: Old\nVersion: 1.0\n")),
    }
    made = MemorySource()
    made.image([layer(*items(debian() | files))], settings=SETTINGS)
    found = await Scanner(Limits()).scan(made, await made.resolved())
    assert [package.name for package in found.document.packages] == ["old"]
