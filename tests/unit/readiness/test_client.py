"""Bodies as servers encode them for clients that take it."""

import gzip
import zlib

import pytest

from lockstep.readiness.client import CLIENTS, decode_content

PLAIN = b'{"predictions": [0]}' * 100
RAW = zlib.compressobj(wbits=-15)
BARE_DEFLATE = RAW.compress(PLAIN) + RAW.flush()


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (PLAIN, ""),
        (PLAIN, "identity"),
        (gzip.compress(PLAIN), "gzip"),
        (gzip.compress(PLAIN), " GZIP "),
        (zlib.compress(PLAIN), "deflate"),
        (BARE_DEFLATE, "deflate"),
    ],
)
def test_every_encoding_that_is_asked_for_is_read(body: bytes, encoding: str) -> None:
    assert decode_content(body, encoding, 10_000) == PLAIN


def test_an_empty_body_is_empty_whatever_its_encoding() -> None:
    assert decode_content(b"", "gzip", 10_000) == b""


def test_a_body_is_not_blown_up_beyond_its_limit() -> None:
    assert len(decode_content(gzip.compress(bytes(50_000_000)), "gzip", 10_000)) == 10_001


@pytest.mark.parametrize(
    ("body", "encoding", "says"),
    [
        (PLAIN, "br", "has the content encoding br, which nobody asked for"),
        (PLAIN, "gzip", "gzip stream is broken"),
        (gzip.compress(PLAIN)[:-12], "gzip", "gzip stream is broken"),
        (PLAIN, "deflate", "deflate stream is broken"),
    ],
)
def test_what_can_not_be_read_is_refused(body: bytes, encoding: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        decode_content(body, encoding, 10_000)


def test_clients_ask_for_encodings_that_are_read_only() -> None:
    for client in CLIENTS:
        for encoding in client.headers.get("Accept-Encoding", "").split(","):
            assert encoding.strip() in ("", "gzip", "deflate")
