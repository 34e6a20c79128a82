"""How common HTTP clients present themselves, so that a server can't recognise the audit among the traffic it will get."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

_KEEP_ALIVE = {"Connection": "keep-alive"}


@dataclass(frozen=True)
class Client:
    """One HTTP client: the headers that it sends with a JSON body, in its order, and how it writes JSON."""

    headers: Mapping[str, str]
    compact: bool
    """Whether its JSON has no spaces."""


CLIENTS = (
    Client({"User-Agent": "curl/7.88.1", "Accept": "*/*"}, compact=True),
    Client(
        {"User-Agent": "python-requests/2.32.3", "Accept-Encoding": "gzip, deflate", "Accept": "*/*"} | _KEEP_ALIVE,
        compact=False,
    ),
    Client(
        {"Accept": "*/*", "Accept-Encoding": "gzip, deflate"} | _KEEP_ALIVE | {"User-Agent": "python-httpx/0.28.1"},
        compact=True,
    ),
    Client({"Accept": "*/*", "Accept-Encoding": "gzip, deflate", "User-Agent": "Python/3.12 aiohttp/3.11.18"}, compact=False),
    Client({"User-Agent": "Go-http-client/1.1", "Accept-Encoding": "gzip"}, compact=True),
    Client({"Connection": "Keep-Alive", "Accept-Encoding": "gzip", "User-Agent": "okhttp/4.12.0"}, compact=True),
)


def decode_content(body: bytes, encoding: str, limit: int) -> bytes:
    """Return a body without its content encoding, at most `limit` bytes and one more.

    Raises:
        ValueError: it has an encoding that was not asked for, or is broken.
    """
    encoding = encoding.strip().lower()
    if not body or encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ValueError(f"it has the content encoding {encoding[:40]}, which nobody asked for")
    # 47: gzip and zlib alike. Some servers send "deflate" without zlib's frame (RFC 9110, 8.4.1.2).
    for window in (47, -15) if encoding == "deflate" else (47,):
        reader = zlib.decompressobj(window)
        try:
            plain = reader.decompress(body, limit + 1)
        except zlib.error:
            continue
        if not reader.eof and len(plain) <= limit:
            break
        return plain
    raise ValueError(f"its {encoding} stream is broken")
