"""Bombs are refused by what becomes of few bytes, long before the limit of a layer's size; what is honest and large is read."""

import gzip
import io
import os
import random
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import pytest
import zstandard

from lockstep.api.reasons import Reason
from lockstep.controller.settings import Settings
from lockstep.formats.canonical import sha256_of
from lockstep.images.image import Descriptor, ImageError
from lockstep.images.layers.interest import interest
from lockstep.images.layers.layer import read_layer
from lockstep.images.limits import MIB, Limits, parse_limits

TYPE = "application/vnd.oci.image.layer.v1.tar+"
ROOT = Path(__file__).resolve().parents[3]


KINDS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 9),
    "zstd": zstandard.ZstdCompressor(3).compress,
}


def blob(kind: str, pieces: Sequence[bytes]) -> bytes:
    """Compress a tar archive with one large file, each piece of it as a member or frame of its own."""
    about = tarfile.TarInfo("model.bin")
    about.size = sum(map(len, pieces))
    compress = cache(KINDS[kind])
    end = bytes(-about.size % 512 + 1024)
    return b"".join(map(compress, (about.tobuf(tarfile.GNU_FORMAT), *pieces, end)))


def read(kind: str, body: bytes, limits: Limits, diff_id: str = "") -> ImageError | None:
    """Read a layer whose diff_id is not known; None when nothing but that is wrong."""
    descriptor = Descriptor(TYPE + kind, sha256_of(body), len(body))
    try:
        read_layer(io.BytesIO(body), descriptor, diff_id, interest, limits)
    except ImageError as error:
        return None if "does not have the diff_id" in error.message else error
    return None


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_beyond_a_gigabyte_are_refused_within_seconds_and_the_limit_is_named(kind: str) -> None:
    bomb = blob(kind, [bytes(MIB)] * 4096)
    before = time.process_time()
    error = read(kind, bomb, Limits())
    assert error is not None
    assert error.reason is Reason.LIMIT_EXCEEDED
    assert not error.retry
    assert "the limit is 200 times" in error.message
    assert "scan.limits.ratio or scan.limits.ratioFrom" in error.message
    assert len(error.message) < 400
    assert time.process_time() - before < 20, "a quarter of it was read"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("allowed", [{"ratio": 40_000}, {"ratioFrom": 64 * MIB}, {}])
def test_what_is_honestly_full_of_zeros_can_be_allowed(kind: str, allowed: dict[str, int]) -> None:
    body = blob(kind, [bytes(MIB)] * 48)
    small = {"ratioFrom": 16 * MIB} | allowed
    error = read(kind, body, parse_limits(str(small).replace("'", '"')))
    assert (error is None) == bool(allowed), error


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_which_most_are_zero_are_read(kind: str) -> None:
    chance = random.Random(7)
    pieces = [b"".join(chance.randbytes(4) if chance.random() < 0.02 else bytes(4) for _ in range(MIB // 4)) for _ in range(8)]
    body = blob(kind, pieces)
    assert read(kind, body, Limits(ratio_from=MIB)) is None


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_among_much_else_are_read(kind: str) -> None:
    chance = random.Random(7)
    pieces = [chance.randbytes(MIB) if number % 64 == 0 else bytes(MIB) for number in range(192)]
    assert read(kind, blob(kind, pieces), Limits(ratio_from=16 * MIB)) is None


def test_padding_does_not_hide_a_bomb_that_comes_before_it() -> None:
    chance = random.Random(7)
    pieces = [bytes(MIB)] * 64 + [chance.randbytes(MIB) for _ in range(8)]
    error = read("gzip", blob("gzip", pieces), Limits(ratio_from=32 * MIB))
    assert error is not None
    assert error.reason is Reason.LIMIT_EXCEEDED


def test_the_command_line_takes_the_limits_of_the_chart(tmp_path: Path) -> None:
    stated = '{"ratio": 2000, "ratioFrom": 5}'
    assert Settings.from_environment({"LOCKSTEP_SCAN_LIMITS": stated}).limits == parse_limits(stated)
    for text, reason in (('{"ration": 1}', "SettingInvalid: LOCKSTEP_SCAN_LIMITS"), (stated, "ImageNotFound")):
        done = subprocess.run(
            [sys.executable, "-m", "lockstep.cli.main", "environment", "scan", f"oci:{tmp_path / 'nowhere'}"],
            env=os.environ | {"PYTHONPATH": str(ROOT / "operator"), "LOCKSTEP_SCAN_LIMITS": text},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stderr.splitlines()[-1].startswith(reason)
