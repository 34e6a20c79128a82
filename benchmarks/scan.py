"""How long a scan of a large image takes, and how much memory, against what no scan can do without.

    python -m benchmarks.scan [megabytes]

Makes an OCI layout of about 500 MB in a temporary directory, and measures, each in a process of its own: the scan, and
the floor, which is to read the same layers, decompress them (isal, zstandard) and take sha256 of both sides.
"""

import asyncio
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import zstandard
from isal import igzip

from lockstep.canonical import sha256_of
from lockstep.images.image import ImagePlatform
from lockstep.images.layout import LayoutSource
from lockstep.images.limits import Limits
from lockstep.images.resolve import resolve
from lockstep.images.scan import Scanner
from tests.fakes.images import MEDIA_TYPES, Item, Layer, MemorySource, tar
from tests.fakes.roots import VENV_SITE, debian, distribution, items, venv

PLATFORM = ImagePlatform("linux", "amd64")
LAYERS = 4
RUNS = 3


def content(rng: random.Random, size: int) -> bytes:
    """Return bytes that compress about as well as installed packages do (to a third)."""
    words = [rng.randbytes(rng.randint(8, 40)) for _ in range(64)]
    parts, length = [], 0
    while length < size:
        part = rng.randbytes(48) if rng.random() < 0.3 else rng.choice(words)
        parts.append(part)
        length += len(part)
    return b"".join(parts)[:size]


def files(rng: random.Random, layer: int, megabytes: int) -> Iterator[Item]:
    """Yield files until they have that many megabytes: many small ones, some of several megabytes."""
    blocks = [content(rng, 1 << 20) for _ in range(8)]
    left = megabytes << 20
    number = 0
    while left > 0:
        size = rng.choice((600, 3000, 12_000, 40_000, 200_000) * 40 + (8 << 20,))
        block = rng.choice(blocks)
        at = rng.randrange(len(block))
        body = (block[at:] + block * (size // len(block) + 1))[:size]
        number += 1
        left -= size
        yield Item(f"{VENV_SITE[1:]}/package{number % 80}/module{layer}_{number}.py", body)


def stored(data: bytes, kind: str) -> Layer:
    """Compress a layer as image builders do."""
    blob = igzip.compress(data, 2, mtime=0) if kind == "gzip" else zstandard.ZstdCompressor(3, threads=-1).compress(data)
    return Layer(blob, MEDIA_TYPES[kind], sha256_of(data))


def make(folder: Path, megabytes: int, kind: str) -> tuple[int, int, int]:
    """Write the layout; return its uncompressed and compressed bytes and its number of files."""
    rng = random.Random(7)
    source = MemorySource()
    layers, plain, count = [], 0, 0
    for number in range(LAYERS):
        entries = list(files(rng, number, megabytes // LAYERS))
        if number == 0:
            root = debian() | venv()
            for one in range(80):
                root |= distribution(VENV_SITE, f"package{one}", "1.0.0")
            entries = [*items(root), *entries]
        data = tar(*entries)
        layers.append(stored(data, kind))
        plain, count = plain + len(data), count + len(entries)
    source.image(layers, settings={"Entrypoint": ["/opt/venv/bin/python", "-m", "server"]})
    source.write(folder)
    return plain, sum(len(one.blob) for one in layers), count


async def scanned(folder: Path) -> str:
    """Scan the layout as the operator does."""
    layout = LayoutSource.directory(folder)
    image = await resolve(layout, f"oci:{folder}", "1", PLATFORM, Limits())
    return f"{len((await Scanner(Limits()).scan(layout, image)).document.packages)} packages"


async def floor(folder: Path) -> str:
    """Do what every reader of the layers has to do."""
    layout = LayoutSource.directory(folder)
    image = await resolve(layout, f"oci:{folder}", "1", PLATFORM, Limits())
    size = 0
    for layer in image.layers:
        path = folder / "blobs/sha256" / layer.digest.removeprefix("sha256:")
        size += await asyncio.to_thread(_read, path, layer.media_type.endswith("gzip"))
    return f"{size >> 20} MB"


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


def _read(path: Path, gzip: bool) -> int:
    blob, plain, size = _Hashing(path), hashlib.sha256(), 0
    stream = igzip.IGzipFile(fileobj=blob, mode="rb") if gzip else zstandard.ZstdDecompressor().stream_reader(blob)  # type: ignore[arg-type, no-untyped-call]
    while chunk := stream.read(1 << 20):
        plain.update(chunk)
        size += len(chunk)
    return size


def measure(what: str, folder: Path) -> tuple[float, int]:
    """Run one of the two in a process of its own; return seconds and its peak of resident memory in MB."""
    command = [sys.executable, "-m", "benchmarks.scan", what, str(folder)]
    ran = [json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout) for _ in range(RUNS)]
    return sorted(one[0] for one in ran)[RUNS // 2], max(one[1] for one in ran)


def child(what: str, folder: Path) -> None:
    """Measure in this process and print `[seconds, megabytes]`."""
    began = time.perf_counter()
    asyncio.run(scanned(folder) if what == "scan" else floor(folder))
    seconds = time.perf_counter() - began
    # Not getrusage: its peak includes that of the process that started this one.
    status = Path("/proc/self/status").read_text()
    print(json.dumps([seconds, int(status.partition("VmHWM:")[2].split()[0]) // 1024]))


def main() -> None:
    """Print the table."""
    if len(sys.argv) == 3:
        child(sys.argv[1], Path(sys.argv[2]))
        return
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    print(f"{'layers':8}{'files':>8}{'MB':>7}{'stored':>8}{'floor s':>9}{'MB RSS':>8}{'scan s':>8}{'MB RSS':>8}{'ratio':>7}")
    for kind in ("gzip", "zstd"):
        with tempfile.TemporaryDirectory() as folder:
            layout = Path(folder) / "layout"
            plain, blobs, count = make(layout, megabytes, kind)
            (least, least_rss), (took, rss) = measure("floor", layout), measure("scan", layout)
            sizes = f"{kind:8}{count:8}{plain >> 20:7}{blobs >> 20:8}"
            print(f"{sizes}{least:9.2f}{least_rss:8}{took:8.2f}{rss:8}{took / least:7.2f}")


if __name__ == "__main__":
    main()
