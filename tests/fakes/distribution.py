"""The real docker-registry (CNCF distribution) as a process of its own, and how an image is put into it."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from lockstep.images.source import media_type_of
from tests.fakes.images import MemorySource

BINARY = shutil.which("docker-registry")
WHY_ABSENT = "the docker-registry binary is not installed (Debian: apt install docker-registry)"


@asynccontextmanager
async def docker_registry(folder: Path) -> AsyncIterator[str]:
    """Serve `folder` on a free port of the loopback device and yield `host:port`."""
    assert BINARY is not None, WHY_ABSENT
    config = {
        "version": 0.1,
        "log": {"level": "info", "formatter": "json"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": "127.0.0.1:0"},
    }
    file = folder / "config.json"
    await asyncio.to_thread(file.write_text, json.dumps(config))
    process = await asyncio.create_subprocess_exec(
        BINARY, "serve", str(file), stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    assert process.stderr is not None
    draining = None
    try:
        async with asyncio.timeout(20):
            while "listening on" not in (line := (await process.stderr.readline()).decode()):
                assert line, "docker-registry ended before it listened"
        draining = asyncio.create_task(process.stderr.read())
        yield json.loads(line)["msg"].rpartition(" ")[2]
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        if draining is not None:
            await draining


async def push(host: str, name: str, source: MemorySource, tag: str) -> None:
    """Upload every blob and manifest of a source by the distribution API."""
    top = source.tags[tag]
    manifests = [digest for digest, body in source.blobs.items() if digest != top and _is_manifest(body)]
    base = f"http://{host}/v2/{name}"
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        for digest, body in source.blobs.items():
            async with session.post(f"{base}/blobs/uploads/") as started:
                location = started.headers["Location"]
            glue = "&" if "?" in location else "?"
            target = location if location.startswith("http") else f"http://{host}{location}"
            async with session.put(f"{target}{glue}digest={digest}", data=body):
                pass
        for digest in (*manifests, top):
            body = source.blobs[digest]
            where = tag if digest == top else digest
            async with session.put(f"{base}/manifests/{where}", data=body, headers={"Content-Type": media_type_of(body)}):
                pass


def _is_manifest(body: bytes) -> bool:
    return body.startswith(b'{"schemaVersion"')
