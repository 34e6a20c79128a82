"""Starts worker processes, feeds them, and takes their answers."""

import asyncio
import fcntl
import logging
import sys
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import lockstep
from lockstep.api.reasons import Reason
from lockstep.fairslots import FairSlots
from lockstep.images.image import ImageError
from lockstep.images.scan.worker.answer import REFUSED, refusal_of

_PIPE = 1024 * 1024
_READ = 256 * 1024
_ERRORS = 16 * 1024
_SOURCE_ROOT = str(Path(lockstep.__file__).parents[1])
_log = logging.getLogger(__name__)


class Processes:
    """Runs workers. Implements `Workers`.

    Args:
        limit: bytes that an answer may have.
        at_once: how many of one module may run at a time for one party: one that waits for what others find keeps none of
            them waiting. As many again are kept for parties of which none runs: a registry that delivers slowly holds a
            process for minutes.
        path: PYTHONPATH of the workers: where their modules are imported from.
    """

    def __init__(self, limit: int, *, at_once: int = 2, path: str = _SOURCE_ROOT) -> None:
        self._limit = limit
        self._path = path
        self._slots: defaultdict[str, FairSlots] = defaultdict(lambda: FairSlots(2 * at_once, each=at_once))

    async def run(self, module: str, worker_input: AsyncGenerator[bytes, None], party: str = "") -> bytes:
        """See `Workers.run`."""
        async with self._slots[module].held(party):
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                # Neither the working directory nor a user's packages may bring code into it.
                *("-P", "-s", "-B", "-m", module),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                # The operator's variables hold credentials.
                env={"PYTHONPATH": self._path},
                cwd="/",
            )
            try:
                return await self._talk(process, worker_input)
            finally:
                await _end(process)

    async def _talk(self, process: asyncio.subprocess.Process, worker_input: AsyncGenerator[bytes, None]) -> bytes:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        feeding = asyncio.create_task(_feed(process.stdin, worker_input))
        complaints = asyncio.create_task(_read(process.stderr, _ERRORS))
        try:
            answer = await self._answer(process.stdout, feeding)
            status = await process.wait()
            said = (await complaints).decode("utf-8", "replace")
        finally:
            for task in (feeding, complaints):
                task.cancel()
            await asyncio.gather(feeding, complaints, return_exceptions=True)
        if status == 0:
            return answer
        if status == REFUSED:
            raise refusal_of(answer)
        _log.warning("a process that reads images ended with %s: %s", status, said.strip())
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        raise ImageError(Reason.SCAN_FAILED, f"the process that reads the image {how}", retry=True)

    async def _answer(self, stream: asyncio.StreamReader, feeding: asyncio.Task[None]) -> bytes:
        """Read the answer; what keeps the worker from being fed comes first, since the answer is about a part only then."""
        reading = asyncio.create_task(_read(stream, self._limit + 1))
        try:
            await asyncio.wait((reading, feeding), return_when=asyncio.FIRST_COMPLETED)
            if feeding.done():
                feeding.result()
            answer = await reading
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        if len(answer) > self._limit:
            raise ImageError(Reason.LIMIT_EXCEEDED, f"what was found in the image has more than {self._limit} bytes")
        return answer


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    # asyncio waits for the end of the pipes as well, which it does not see while it holds back what nobody reads.
    for stream in (process.stdout, process.stderr):
        while stream is not None and await stream.read(_READ):
            pass
    await process.wait()


async def _feed(stream: asyncio.StreamWriter, worker_input: AsyncGenerator[bytes, None]) -> None:
    # A pipe of 64 KiB would wake the loop sixteen times as often.
    fcntl.fcntl(stream.transport.get_extra_info("pipe").fileno(), fcntl.F_SETPIPE_SZ, _PIPE)
    async with aclosing(worker_input):
        try:
            async for chunk in worker_input:
                stream.write(chunk)
                await stream.drain()
            stream.close()
        except (BrokenPipeError, ConnectionResetError):
            # It has seen enough, and its answer says why.
            return


async def _read(stream: asyncio.StreamReader, limit: int) -> bytes:
    """Read to the end, or until there is more than is allowed."""
    parts = bytearray()
    while len(parts) < limit and (chunk := await stream.read(min(_READ, limit - len(parts)))):
        parts += chunk
    return bytes(parts)
