"""Work that runs beside the reconciliations."""

import asyncio

from lockstep.controller.background import Background


async def test_what_runs_is_counted_by_what_it_is_about_until_it_ends() -> None:
    background, free = Background(), asyncio.Event()

    async def work() -> None:
        await free.wait()

    for about in ("iris", "iris", "other"):
        background.start(about, work())
    assert (background.running("iris"), background.running("other"), background.running("nobody")) == (2, 1, 0)
    free.set()
    for _ in range(3):
        await asyncio.sleep(0)
    assert (background.running("iris"), background.running("other")) == (0, 0)


async def test_stopping_ends_what_still_runs() -> None:
    background, ended = Background(), False

    async def work() -> None:
        nonlocal ended
        try:
            await asyncio.Event().wait()
        finally:
            ended = True

    background.start("iris", work())
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await background.stop()
    assert ended
    assert background.running("iris") == 0
