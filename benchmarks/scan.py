"""How long a scan of a large image takes, and how much memory, against what no scan can do without, and against peers.

    python -m benchmarks.scan [megabytes]

Makes an OCI layout of about 1.5 GB in a temporary directory, out of the packages that are installed beside the running
interpreter, and measures, each in a process of its own and one after another:

- floor: read the layers, decompress them (isal, zstandard), take sha256 of both sides, one layer after another;
- the scan of an image that nothing is known of; of one whose layers but the last are known; of one whose layers are all
  known; of one whose scan is recorded;
- syft (python and dpkg catalogers) and umoci unpack, where they are installed.
"""

import asyncio
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import zstandard
from isal import igzip

from benchmarks.common import machine
from lockstep.formats.canonical import sha256_of
from lockstep.images.image import ImagePlatform, ResolvedImage
from lockstep.images.layout import LayoutSource
from lockstep.images.limits import Limits
from lockstep.images.resolve import resolve
from lockstep.images.scan.layers import LayerKey
from lockstep.images.scan.record import scan_from_record, scan_to_record
from lockstep.images.scan.scan import Scanner
from tests.fakes.images import MEDIA_TYPES, Item, Layer, MemorySource, tar
from tests.fakes.roots import VENV_SITE, debian, items, venv

PLATFORM = ImagePlatform("linux", "amd64")
SHARES = (0.40, 0.25, 0.20, 0.10, 0.05)
"""Of the packages, by layer: in real images one layer holds most."""
RUNS = 3
OURS = ("cold", "known base", "known layers", "recorded")


def packages(megabytes: int) -> Iterator[Item]:
    """Yield the files of the installed packages until they have that many megabytes; twice if once is not enough."""
    left = megabytes << 20
    for target in (VENV_SITE, "/opt/other/lib/python3.11/site-packages"):
        root = Path(sysconfig.get_paths()["purelib"])
        for path in sorted(root.rglob("*")):
            if path.is_symlink() or not path.is_file():
                continue
            body = path.read_bytes()
            left -= len(body)
            if left < 0:
                return
            yield Item(f"{target[1:]}/{path.relative_to(root)}", body)


def stored(data: bytes, kind: str) -> Layer:
    """Compress a layer as image builders do."""
    blob = igzip.compress(data, 2, mtime=0) if kind == "gzip" else zstandard.ZstdCompressor(3, threads=-1).compress(data)
    return Layer(blob, MEDIA_TYPES[kind], sha256_of(data))


def make(folder: Path, megabytes: int, kind: str) -> tuple[int, int, int]:
    """Write the layout; return its uncompressed and compressed bytes and its number of files."""
    files = packages(megabytes)
    source = MemorySource()
    layers, plain, count = [], 0, 0
    for number, share in enumerate(SHARES):
        entries = items(debian() | venv()) if number == 0 else []
        size = 0
        while size < share * (megabytes << 20) and (one := next(files, None)) is not None:
            entries.append(one)
            size += len(one.body)
        data = tar(*entries)
        layers.append(stored(data, kind))
        plain, count = plain + len(data), count + len(entries)
    source.image(layers, settings={"Entrypoint": ["/opt/venv/bin/python", "-m", "server"]})
    source.write(folder)
    return plain, sum(len(one.blob) for one in layers), count


class Known:
    """A cache of layers in memory. Implements `LayerCache`."""

    def __init__(self) -> None:
        self.records: dict[LayerKey, bytes] = {}

    async def get(self, key: LayerKey) -> bytes | None:
        """See `LayerCache.get`."""
        return self.records.get(key)

    async def put(self, key: LayerKey, record: bytes) -> None:
        """See `LayerCache.put`."""
        self.records[key] = record


async def ours(what: str, folder: Path) -> float:
    """Scan the layout as the operator does, and return the seconds that it took; what is to be known is learned before."""
    layout = LayoutSource.directory(folder)
    cache = Known()
    scanner = Scanner(Limits(), cache=cache)
    image = await resolve(layout, "1", PLATFORM, Limits())
    found = None if what == "cold" else scan_to_record(await scanner.scan(layout, image))
    await scanner.wait_for_cache()
    if what == "known base":
        last = image.layers[-1].digest
        cache.records = {key: record for key, record in cache.records.items() if key.digest != last}
    began = time.perf_counter()
    image = await resolve(layout, "1", PLATFORM, Limits())
    if what == "recorded" and found is not None:
        scan_from_record(found)
    else:
        await scanner.scan(layout, image)
    return time.perf_counter() - began


async def pause(folder: Path) -> float:
    """Return the longest time for which the event loop did nothing else during a cold scan, in seconds."""
    layout = LayoutSource.directory(folder)
    image: ResolvedImage = await resolve(layout, "1", PLATFORM, Limits())
    measuring = asyncio.create_task(_longest_pause())
    await Scanner(Limits()).scan(layout, image)
    measuring.cancel()
    return max(await measuring)


async def _longest_pause() -> list[float]:
    found = [0.0]
    try:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            found.append(time.perf_counter() - before - 0.001)
    except asyncio.CancelledError:
        return found


class _Hashing:
    """A file whose bytes are hashed as they are read."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self.hash = hashlib.sha256()

    def readinto(self, buffer: memoryview) -> int:
        size = self._file.readinto(buffer)
        self.hash.update(buffer[:size])
        return int(size)

    def read(self, size: int = -1) -> bytes:
        chunk = self._file.read(size)
        self.hash.update(chunk)
        return chunk

    def seekable(self) -> bool:
        return False


async def floor(folder: Path) -> float:
    """Do what every reader of the layers has to do; return the seconds that it took."""
    layout = LayoutSource.directory(folder)
    image = await resolve(layout, "1", PLATFORM, Limits())
    began = time.perf_counter()
    for layer in image.layers:
        path = folder / "blobs/sha256" / layer.digest.removeprefix("sha256:")
        blob, plain = _Hashing(path), hashlib.sha256()
        gzip = layer.media_type.endswith("gzip")
        stream = igzip.IGzipFile(fileobj=blob, mode="rb") if gzip else zstandard.ZstdDecompressor().stream_reader(blob)  # type: ignore[arg-type, no-untyped-call]
        while chunk := stream.read(1 << 20):
            plain.update(chunk)
    return time.perf_counter() - began


def peer(what: str, folder: Path) -> float:
    """Run a peer on the layout; return the seconds that it took."""
    with tempfile.TemporaryDirectory() as target:
        commands = {
            "syft": [_tool("syft"), f"oci-dir:{folder}", "-q", "-o", f"json={target}/found.json"],
            "umoci": [_tool("umoci"), "unpack", "--image", f"{folder}:1", f"{target}/bundle"],
        }
        variables = os.environ | {"SYFT_CHECK_FOR_APP_UPDATE": "false"}
        began = time.perf_counter()
        subprocess.run(commands[what], check=True, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return time.perf_counter() - began


def _tool(name: str) -> str:
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name) or ""


def measure(what: str, folder: Path, runs: int = RUNS) -> tuple[float, int]:
    """Run one thing in processes of its own; return the median of its seconds and its peak of resident memory in MB."""
    command = [sys.executable, "-m", "benchmarks.scan", what, str(folder)]
    ran = [json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout) for _ in range(runs)]
    return sorted(one[0] for one in ran)[runs // 2], max(one[1] for one in ran)


def child(what: str, folder: Path) -> None:
    """Measure in this process and print `[seconds, megabytes]`."""
    asked = {"floor": floor, "pause": pause}
    if what in ("syft", "umoci"):
        seconds = peer(what, folder)
    else:
        seconds = asyncio.run(asked[what](folder) if what in asked else ours(what, folder))
    # Of whoever read the layers: processes of its own, where there were any. Not getrusage of this process: its peak
    # includes that of the process that started it.
    own = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
    print(json.dumps([seconds, (own if what == "floor" else resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) // 1024]))


def main() -> None:
    """Print the table."""
    if len(sys.argv) == 3:
        child(sys.argv[1], Path(sys.argv[2]))
        return
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 1500
    print(machine())
    for kind in ("gzip", "zstd"):
        with tempfile.TemporaryDirectory() as folder:
            layout = Path(folder) / "layout"
            plain, blobs, count = make(layout, megabytes, kind)
            print(f"\n{kind}: {count} files, {plain >> 20} MB in {len(SHARES)} layers, {blobs >> 20} MB compressed")
            print(f"{'':14}{'seconds':>9}{'of floor':>10}{'peak MB':>9}", flush=True)
            least, memory = measure("floor", layout)
            print(f"{'floor':14}{least:9.2f}{1:10.2f}{memory:9}", flush=True)
            # umoci 0.4 reads no zstd.
            peers = [name for name in ("umoci", "syft") if _tool(name) and (name, kind) != ("umoci", "zstd")]
            for what in (*OURS, *peers):
                took, memory = measure(what, layout, RUNS if what in OURS else 1)
                print(f"{what:14}{took:9.3f}{took / least:10.2f}{memory if memory else '-':>9}", flush=True)
            print(
                f"longest pause of the event loop during a cold scan: {measure('pause', layout, 1)[0] * 1000:.0f} ms",
                flush=True,
            )


if __name__ == "__main__":
    main()
