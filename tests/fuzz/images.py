"""Readers of what a registry delivers: manifests, configurations, layers."""

import io
import tarfile
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar, cast

import zstandard

from lockstep.environment.catalogue.describe import describe
from lockstep.formats.canonical import sha256_of
from lockstep.images.image import Descriptor
from lockstep.images.layers.decompress import open_tar_stream
from lockstep.images.layers.interest import Interest, interest
from lockstep.images.layers.keep import Keep
from lockstep.images.layers.layer import read_layer
from lockstep.images.layers.record import InvalidLayerRecordError, LayerRecord, dump, load
from lockstep.images.layers.squash import Squash
from lockstep.images.layers.tar import TarEntry, entries
from lockstep.images.limits import MIB, Limits
from lockstep.images.reference import parse_reference, repository_of
from lockstep.images.registry.credentials import parse_docker_config
from lockstep.images.scan.worker.describe import launch_of
from tests.fakes.images import END, INDEX, LINUX, MEDIA_TYPES, Item, MemorySource, entry, header, octal, padded, text
from tests.fakes.images import layer as made
from tests.fakes.roots import debian, items, venv

LIMITS = Limits(
    manifest=MIB, config=MIB, layers=16, compressed=MIB, uncompressed=8 * MIB, entries=5000, kept=4 * MIB, zstd_window=MIB
)
"""Small, so that an input which takes more than they allow shows as memory or time."""
SETTINGS = {"Entrypoint": ["/opt/venv/bin/python"], "Env": ["PATH=/opt/venv/bin:/usr/bin"]}
_BLOCK = 512
Result = TypeVar("Result")
_BASE = made(*items(debian() | venv()), kind="")


def summed(data: bytes) -> bytes:
    """Return an archive whose headers all have the right checksum: no fuzzer would get past the first one otherwise.

    Owners and times, which Lockstep does not read or reads with indulgence, are made such as any program takes; so is the
    version of the format, without which the standard library reads a prefix that is none.
    """
    blocks = bytearray(data[: MIB // 2])
    for at in range(0, len(blocks) - _BLOCK + 1, _BLOCK):
        if blocks[at + 257 : at + 262] == b"ustar":
            blocks[at + 257 : at + 265] = b"ustar\00000"
            blocks[at + 108 : at + 124] = b"0000000\0" * 2
            blocks[at + 136 : at + 148] = b"00000000000\0"
            if blocks[at + 156] in b"xgLK":
                blocks[at + 100 : at + 108] = b"0000644\0"
            if blocks[at + 156] not in b"34":
                blocks[at + 329 : at + 345] = bytes(16)
            total = sum(blocks[at : at + _BLOCK]) - sum(blocks[at + 148 : at + 156]) + 8 * 0x20
            blocks[at + 148 : at + 156] = b"%06o\0 " % total
    return bytes(blocks)


def tar(data: bytes) -> None:
    """Where our reader takes an archive, the standard library's sees the same in it."""
    archive = summed(data)
    found = list(entries(io.BytesIO(archive), lambda name, size: Keep(Interest(body=MIB), size), LIMITS))
    ours = [(_name(one.name), one.type in "07", one.size if one.type in "07" else 0, _body(one)) for one in found]
    theirs = _theirs(archive)
    assert theirs is None or ours == theirs


def _name(name: str) -> str:
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _body(one: TarEntry[Keep]) -> bytes | None:
    return one.sink.body if one.sink is not None else None


def _theirs(archive: bytes) -> list[tuple[str, bool, int, bytes | None]] | None:
    """Return what the standard library sees in an archive; None where it can't read all of it."""
    if not archive or not archive.strip(b"\0"):
        # The standard library takes an archive without any block for none at all.
        return []
    try:
        opened = tarfile.TarFile(fileobj=io.BytesIO(archive), encoding="utf-8", errors="surrogateescape")
        members = list(opened)
    except tarfile.ReadError:
        return None
    with opened:
        found = []
        for member in members:
            file = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
            # Read in place: a hard link's body would be its target's.
            body = archive[member.offset_data : member.offset_data + member.size] if file else None
            found.append((_name(member.name), file, member.size if file else 0, body))
        # It takes a header that it can't read for the end.
        return None if archive[opened.offset : opened.offset + _BLOCK].strip(b"\0") else found


def pax(data: bytes) -> None:
    """Read extended headers: a pax one that is all of the input, and GNU names."""
    kind, body = chr(data[0]) if data[:1] in (b"g", b"x", b"L", b"K") else "x", data[1 : MIB // 2]
    archive = header(b"extended", kind, octal(len(body))) + padded(body) + entry(Item("good", b"body")) + END
    list(entries(io.BytesIO(archive), lambda name, size: Keep(Interest(9), size), LIMITS))


def layer(data: bytes) -> None:
    """Put a layer on an image and describe the result: all that a scan does with it."""
    kind = ("", "gzip", "zstd")[data[0] % 3] if data else ""
    blob = data[1:] if kind else summed(data[1:])
    squash = Squash(LIMITS)
    squash.apply(_record(_BASE.blob, ""))
    squash.apply(_record(blob, kind))
    image = finished(_image(SETTINGS).resolved(limits=LIMITS))
    describe(squash.tree(), launch_of(image.config), machine="x86_64", collector="fuzz")


def _record(blob: bytes, kind: str) -> LayerRecord:
    diff_id = sha256_of(b"".join(_read(blob, kind)))
    descriptor = Descriptor(MEDIA_TYPES[kind], sha256_of(blob), len(blob))
    found = read_layer(io.BytesIO(blob), descriptor, diff_id, interest, LIMITS)
    assert load(dump(found), 1 << 30) == found, "a record survives being written down"
    return found


def layerrecord(data: bytes) -> None:
    """A record that a cache gives back is one, or it is refused."""
    with suppress(InvalidLayerRecordError):
        load(data, MIB)
    load(zstandard.ZstdCompressor().compress(data), MIB)


def _read(blob: bytes, kind: str) -> list[bytes]:
    stream, pieces, size = open_tar_stream(io.BytesIO(blob), MEDIA_TYPES[kind], LIMITS), [], 0
    while size <= LIMITS.uncompressed and (piece := stream.read(65536)):
        # A piece is never more than was asked for: memory is bounded by who reads.
        assert len(piece) <= 65536
        pieces.append(piece)
        size += len(piece)
    return pieces


def decompress(data: bytes) -> None:
    """Read a compressed stream to its end or to the limit."""
    _read(data[1:], ("", "gzip", "zstd")[data[0] % 3] if data else "")


def manifest(data: bytes) -> None:
    """Resolve an image whose manifest is the input."""
    source = _image(SETTINGS)
    source.put(data, "1")
    finished(source.resolved(limits=LIMITS))


def index(data: bytes) -> None:
    """Resolve an image by an index whose list of manifests is the input."""
    source = _image(SETTINGS)
    source.put(b'{"schemaVersion":2,"mediaType":"%s","manifests":%s}' % (INDEX.encode(), data), "1")
    finished(source.resolved(limits=LIMITS))


def config(data: bytes) -> None:
    """Resolve an image whose configuration is the input; what it starts is read, and it can be shown."""
    source = _image(SETTINGS)
    stated = source.describe(data, "application/vnd.oci.image.config.v1+json")
    source.image([_BASE], manifest={"config": stated})
    launch = launch_of(finished(source.resolved(limits=LIMITS)).config)
    assert isinstance(launch.env, dict)


def _image(settings: dict[str, Any]) -> MemorySource:
    source = MemorySource()
    source.image([_BASE], settings=settings)
    return source


def index_of_one() -> bytes:
    """Return the list of manifests that leads to the image of these targets."""
    source = _image(SETTINGS)
    return text([source.child(source.tags["1"], LINUX)])


def manifest_of_one() -> bytes:
    """Return the manifest of the image of these targets."""
    source = _image(SETTINGS)
    return source.blobs[source.tags["1"]]


def reference(data: bytes) -> None:
    """A reference is written back as it was read, whatever its repository is taken to be before."""
    written = data.decode("utf-8", "surrogateescape")
    repository_of(written)
    assert str(parse_reference(written)) == written
    assert repository_of(written) == parse_reference(written).name


def dockerconfig(data: bytes) -> None:
    """Credentials are found for a reference, and not shown."""
    parse_docker_config(data).candidates(parse_reference("registry.example.com/team/iris:1"))


def finished(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine that waits for nobody."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return cast(Result, end.value)
    raise AssertionError("it waits")
