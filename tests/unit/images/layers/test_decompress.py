"""Layers as streams of tar bytes."""

import gzip
import io
import os
import struct

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from lockstep.api.reasons import Reason
from lockstep.images.image import ImageError
from lockstep.images.layers.decompress import HashedReader, open_tar_stream
from lockstep.images.layers.zstdframes import Frames
from lockstep.images.limits import Limits
from tests.fakes.images import MEDIA_TYPES

DATA = b"".join(os.urandom(64) + bytes(200) for _ in range(2000))
GZIP, ZSTD, PLAIN = MEDIA_TYPES["gzip"], MEDIA_TYPES["zstd"], MEDIA_TYPES[""]
GZ = gzip.compress(DATA)
ZS = zstandard.ZstdCompressor(write_checksum=True).compress(DATA)


class Drip:
    """Gives one byte at a time, whatever is asked for."""

    def __init__(self, body: bytes) -> None:
        self._inner = io.BytesIO(body)

    def read(self, size: int = -1, /) -> bytes:
        return self._inner.read(min(size, 1) if size >= 0 else 1)


def plain(blob: bytes, media_type: str) -> bytes:
    stream = open_tar_stream(io.BytesIO(blob), media_type, Limits())
    parts = []
    while chunk := stream.read(1000):
        assert len(chunk) <= 1000
        parts.append(chunk)
    return b"".join(parts)


def refused(blob: bytes, media_type: str) -> Reason:
    with pytest.raises(ImageError) as caught:
        plain(blob, media_type)
    return caught.value.reason


@pytest.mark.parametrize(
    ("blob", "media_type"),
    [
        (DATA, PLAIN),
        (DATA, "application/vnd.docker.image.rootfs.diff.tar"),
        (GZ, GZIP),
        (GZ, "application/vnd.docker.image.rootfs.diff.tar.gzip"),
        (ZS, ZSTD),
        (zstandard.ZstdCompressor().compressobj().compress(b"") + ZS, ZSTD),
    ],
)
def test_all_compressions_give_the_same_bytes(blob: bytes, media_type: str) -> None:
    assert plain(blob, media_type) == DATA


def test_members_and_frames_follow_one_another() -> None:
    assert plain(GZ + GZ, GZIP) == DATA + DATA
    assert plain(ZS + ZS, ZSTD) == DATA + DATA
    small = zstandard.ZstdCompressor().compress(b"x" * 40)
    assert plain(small * 20_000, ZSTD) == b"x" * 800_000


def test_zstd_frames_that_are_to_be_skipped_are() -> None:
    skippable = b"\x50\x2a\x4d\x18" + struct.pack("<I", 5) + b"hello"
    assert plain(skippable + ZS + skippable, ZSTD) == DATA


@pytest.mark.parametrize(("blob", "media_type"), [(GZ, GZIP), (ZS, ZSTD), (DATA[:2000], PLAIN)])
def test_bytes_may_arrive_one_by_one(blob: bytes, media_type: str) -> None:
    stream = open_tar_stream(Drip(blob), media_type, Limits())
    assert b"".join(iter(lambda: stream.read(65536), b"")) == (DATA if media_type != PLAIN else DATA[:2000])


@pytest.mark.parametrize("cut", [1, 3, 8, 1000, len(ZS) // 2])
def test_a_truncated_stream_is_refused(cut: int) -> None:
    assert refused(GZ[:-cut], GZIP) is Reason.LAYER_CORRUPT
    assert refused(ZS[:-cut], ZSTD) is Reason.LAYER_CORRUPT


def test_data_after_the_end_is_refused() -> None:
    assert refused(GZ + b"garbage", GZIP) is Reason.LAYER_CORRUPT
    assert refused(ZS + b"garbage", ZSTD) is Reason.LAYER_CORRUPT


def test_a_wrong_checksum_is_refused() -> None:
    assert refused(GZ[:-8] + b"\0\0\0\0" + GZ[-4:], GZIP) is Reason.LAYER_CORRUPT
    assert refused(ZS[:-4] + b"\0\0\0\0", ZSTD) is Reason.LAYER_CORRUPT


@pytest.mark.parametrize(
    ("blob", "media_type"), [(GZ, ZSTD), (ZS, GZIP), (DATA, GZIP), (DATA, ZSTD), (GZ, PLAIN), (ZS, PLAIN), (b"", GZIP)]
)
def test_bytes_that_are_not_what_the_media_type_says_are_refused(blob: bytes, media_type: str) -> None:
    assert refused(blob, media_type) is Reason.LAYER_CORRUPT


@pytest.mark.parametrize("media_type", ["", "text/plain", "application/vnd.oci.image.layer.v1.tar+bzip2", GZIP + "+encrypted"])
def test_other_media_types_are_refused(media_type: str) -> None:
    assert refused(GZ, media_type) is Reason.MANIFEST_INVALID


def test_a_deflate_stream_that_is_none_is_refused() -> None:
    # The decompressor has an error of its own for that, which is no zlib.error.
    broken = gzip.compress(b"one" * 99, mtime=0)[:10] + b"\xcb\xcf\x4b\xcd\x1f\x45\x44\x20" * 4
    assert refused(broken, GZIP) is Reason.LAYER_CORRUPT


def test_a_large_zstd_window_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=28)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    blob = compressor.compress(DATA) + compressor.flush()
    assert refused(blob, ZSTD) is Reason.LAYER_CORRUPT


def test_a_reader_counts_hashes_and_stops() -> None:
    reader = HashedReader(io.BytesIO(b"abc"), 3, "it")
    assert reader.read(10) == b"abc"
    assert reader.digest == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(ImageError, match="it has more than 2 bytes"):
        HashedReader(io.BytesIO(b"abc"), 2, "it").read(10)


@given(
    st.lists(st.tuples(st.binary(max_size=400), st.booleans(), st.integers(1, 300)), min_size=1, max_size=4), st.integers(1, 50)
)
def test_a_zstd_stream_may_end_after_each_of_its_frames_and_nowhere_else(
    parts: list[tuple[bytes, bool, int]], step: int
) -> None:
    stream, ends = b"", {0}
    for body, checksum, times in parts:
        stream += zstandard.ZstdCompressor(write_checksum=checksum).compress(body * times)
        ends.add(len(stream))
        stream += b"\x55\x2a\x4d\x18" + len(body).to_bytes(4, "little") + body
        ends.add(len(stream))
    for cut in {*ends, *range(0, len(stream), 1 + len(stream) // 60)}:
        frames = Frames()
        for at in range(0, cut, step):
            frames.take(stream[at : min(at + step, cut)])
        assert frames.complete is (cut in ends)
