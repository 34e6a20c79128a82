"""Images made in memory: tar entries, layers, manifests and the source that serves them."""

import gzip
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard

from lockstep.api.reasons import Reason
from lockstep.formats.canonical import sha256_of
from lockstep.images.image import Descriptor, ImageError, ImagePlatform, ResolvedImage
from lockstep.images.limits import Limits
from lockstep.images.registry.referrers import limit_referrers, parse_referrers
from lockstep.images.resolve import resolve
from lockstep.images.source import Manifest, media_type_of

LINUX = ImagePlatform("linux", "amd64")
OCI = "application/vnd.oci.image."
MANIFEST, INDEX, CONFIG = f"{OCI}manifest.v1+json", f"{OCI}index.v1+json", f"{OCI}config.v1+json"
MEDIA_TYPES = {"": f"{OCI}layer.v1.tar", "gzip": f"{OCI}layer.v1.tar+gzip", "zstd": f"{OCI}layer.v1.tar+zstd"}
END = bytes(1024)


@dataclass(frozen=True)
class Item:
    """One tar entry; `size` and `number` fields may lie."""

    name: str
    body: bytes = b""
    type: str = "0"
    link: str = ""
    pax: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None
    device: tuple[int, int] | None = None
    mode: int = 0o755


def directory(name: str, **more: Any) -> Item:
    return Item(name.rstrip("/") + "/", type="5", **more)


def symlink(name: str, target: str) -> Item:
    return Item(name, type="2", link=target)


def hard_link(name: str, target: str) -> Item:
    return Item(name, type="1", link=target)


def header(
    name: bytes,
    type_: str,
    size: bytes,
    link: bytes = b"",
    device: tuple[bytes, bytes] = (b"", b""),
    prefix: bytes = b"",
    mode: int = 0o755,
) -> bytes:
    """Return one ustar header block with a right checksum; numbers are given as their raw bytes."""
    block = bytearray(512)
    for at, value in ((0, name[:100]), (100, b"%07o\0" % mode), (124, size), (157, link[:100]), (257, b"ustar\00000")):
        block[at : at + len(value)] = value
    for at, value in ((329, device[0]), (337, device[1]), (345, prefix)):
        block[at : at + len(value)] = value
    block[156] = ord(type_)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def octal(number: int) -> bytes:
    return b"%011o\0" % number


def padded(body: bytes) -> bytes:
    return body + bytes(-len(body) % 512)


def pax_record(key: str, value: str) -> bytes:
    rest = f" {key}={value}\n".encode("utf-8", "surrogateescape")
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length = len(str(length)) + len(rest)
    return str(length).encode() + rest


def pax_header(records: Mapping[str, str], type_: str = "x") -> bytes:
    body = b"".join(pax_record(key, value) for key, value in records.items())
    return header(b"pax", type_, octal(len(body))) + padded(body)


def gnu_long(name: bytes, type_: str = "L") -> bytes:
    return header(b"././@LongLink", type_, octal(len(name) + 1)) + padded(name + b"\0")


def entry(item: Item) -> bytes:
    name, link = (text.encode("utf-8", "surrogateescape") for text in (item.name, item.link))
    pax = dict(item.pax)
    if len(name) > 100:
        pax.setdefault("path", item.name)
    if len(link) > 100:
        pax.setdefault("linkpath", item.link)
    size = octal(len(item.body) if item.size is None else item.size)
    device = tuple(b"%07o\0" % number for number in item.device or (0, 0))
    front = pax_header(pax) if pax else b""
    return front + header(name, item.type, size, link, (device[0], device[1]), mode=item.mode) + padded(item.body)


def tar(*items: Item) -> bytes:
    return b"".join(entry(item) for item in items) + END


def compressed(data: bytes, kind: str) -> bytes:
    if kind == "gzip":
        return gzip.compress(data, 1, mtime=0)
    return zstandard.ZstdCompressor(1).compress(data) if kind == "zstd" else data


@dataclass(frozen=True)
class Layer:
    """A layer as it is stored."""

    blob: bytes
    media_type: str
    diff_id: str

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, sha256_of(self.blob), len(self.blob))


def layer(*items: Item, kind: str = "gzip") -> Layer:
    return raw_layer(tar(*items), kind)


def raw_layer(data: bytes, kind: str = "gzip") -> Layer:
    return Layer(compressed(data, kind), MEDIA_TYPES[kind], sha256_of(data))


def text(value: object) -> bytes:
    return json.dumps(value).encode()


class MemorySource:
    """Holds manifests and blobs as a registry's repository would, in memory."""

    def __init__(self, chunk: int = 65536) -> None:
        self.blobs: dict[str, bytes] = {}
        self.tags: dict[str, str] = {}
        self.read: list[str] = []
        self._chunk = chunk

    @property
    def repository(self) -> str:
        return "registry.example.com/team/iris"

    def put(self, body: bytes, tag: str | None = None) -> str:
        digest = sha256_of(body)
        self.blobs[digest] = body
        if tag is not None:
            self.tags[tag] = digest
        return digest

    def describe(self, body: bytes, media_type: str, **more: Any) -> dict[str, Any]:
        return {"mediaType": media_type, "digest": self.put(body), "size": len(body), **more}

    def image(
        self,
        layers: Sequence[Layer],
        *,
        tag: str | None = "1",
        platform: ImagePlatform = LINUX,
        settings: Mapping[str, Any] | None = None,
        config: Mapping[str, Any] | None = None,
        manifest: Mapping[str, Any] | None = None,
    ) -> str:
        """Store an image; `config` and `manifest` override what would be written."""
        written = {
            "os": platform.os,
            "architecture": platform.architecture,
            "config": dict(settings or {}),
            "rootfs": {"type": "layers", "diff_ids": [one.diff_id for one in layers]},
        } | dict(config or {})
        for one in layers:
            self.put(one.blob)
        body = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.describe(text(written), CONFIG),
            "layers": [
                {"mediaType": one.media_type, "digest": one.descriptor.digest, "size": one.descriptor.size} for one in layers
            ],
        } | dict(manifest or {})
        return self.put(text(body), tag)

    def index(self, *children: Mapping[str, Any], tag: str = "1") -> str:
        return self.put(text({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(children)}), tag)

    def child(self, digest: str, platform: ImagePlatform, **more: Any) -> dict[str, Any]:
        stated = {"os": platform.os, "architecture": platform.architecture}
        if platform.variant is not None:
            stated["variant"] = platform.variant
        size = len(self.blobs[digest])
        return {"mediaType": MANIFEST, "digest": digest, "size": size, "platform": stated, **more}

    async def manifest(self, wanted: str) -> Manifest:
        digest = self.tags.get(wanted, wanted)
        body = self.blobs.get(digest)
        if body is None:
            raise ImageError(Reason.IMAGE_NOT_FOUND, f"no {wanted}")
        if wanted.startswith("sha256:") and sha256_of(body) != wanted:
            raise ImageError(Reason.DIGEST_MISMATCH, f"other content under {wanted}", retry=True)
        return Manifest(media_type_of(body), sha256_of(body), body)

    @asynccontextmanager
    async def blob(self, descriptor: Descriptor) -> AsyncIterator[AsyncIterator[bytes]]:
        self.read.append(descriptor.digest)
        if descriptor.digest not in self.blobs:
            raise ImageError(Reason.IMAGE_NOT_FOUND, f"no {descriptor.digest}")
        yield self._chunks(self.blobs[descriptor.digest])

    async def referrers(self, digest: str, artifact_type: str) -> list[Descriptor]:
        """Find the manifests that name `digest` as their subject, as a registry with the referrers API does."""
        listed = text({"schemaVersion": 2, "mediaType": INDEX, "manifests": self.referring(digest)})
        return limit_referrers(parse_referrers(listed, artifact_type))

    def referring(self, digest: str) -> list[dict[str, Any]]:
        """Return the entries of all referrers."""
        found = []
        for name, body in self.blobs.items():
            stated = json.loads(body) if body.startswith(b"{") and b'"subject"' in body else {}
            if stated.get("subject", {}).get("digest") == digest and "layers" in stated:
                entry = {"mediaType": MANIFEST, "digest": name, "size": len(body)}
                found.append(entry | {"artifactType": stated.get("artifactType", "")})
        return found

    async def _chunks(self, body: bytes) -> AsyncIterator[bytes]:
        for at in range(0, len(body), self._chunk):
            yield body[at : at + self._chunk]

    async def resolved(self, wanted: str = "1", platform: ImagePlatform = LINUX, limits: Limits | None = None) -> ResolvedImage:
        return await resolve(self, wanted, platform, limits or Limits())

    def write(self, path: Path, tag: str = "1") -> None:
        """Write an OCI image layout to a directory."""
        (path / "blobs/sha256").mkdir(parents=True)
        (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        for digest, body in self.blobs.items():
            (path / "blobs/sha256" / digest.removeprefix("sha256:")).write_bytes(body)
        body = self.blobs[self.tags[tag]]
        top = {"mediaType": media_type_of(body), "digest": self.tags[tag], "size": len(body)}
        named = top | {"annotations": {"org.opencontainers.image.ref.name": tag}}
        (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
