"""A small serving image for tests: speaks MLflow's scoring protocol and misbehaves as the variable MODE says.

With MODE=tmp each answer goes through a file in /tmp; with MODE=data the server writes to /data before it starts.

On SIGTERM it closes its connections as well-behaved servers do: each answer from then on says `Connection: close`, and it
ends when none is open any more.
"""

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

MODE = os.environ.get("MODE", "good")
ANSWER = Path("/app/answer").read_text().strip()
DRAINING = threading.Event()
OPEN: set[int] = set()
NONE_OPEN = threading.Event()
IDLE_SECONDS = 10
TURNS_AFTER = 15.0
ASKED: list[float] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        OPEN.add(id(self))
        super().setup()

    def finish(self) -> None:
        OPEN.discard(id(self))
        if not OPEN:
            NONE_OPEN.set()

    def _reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if DRAINING.is_set():
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self._reply(503 if MODE == "unready" else 200, b"\n")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        ASKED.append(time.monotonic())
        status, answer = self._answer()
        self._reply(status, json.dumps(answer).encode())

    def _answer(self) -> tuple[int, object]:
        if MODE == "wrong":
            return 400, {"error_code": "BAD_REQUEST"}
        if MODE == "sly" and not self._looks_like_an_operator():
            return 500, {"message": "not for clients"}
        if MODE == "turncoat" and ASKED[-1] - ASKED[0] > TURNS_AFTER:
            return 500, {"message": "it was asked long enough"}
        if MODE == "tmp":
            return 200, {"predictions": [written_and_read(ANSWER)]}
        answers = {"error": {"error": "model not loaded"}, "null": [None], "nan": [float("nan")]}
        return 200, {"predictions": answers.get(MODE, [ANSWER])}

    def _looks_like_an_operator(self) -> bool:
        """Tell whether it is asked at the pod's own address by the HTTP client that operators in Python have."""
        own = str(self.request.getsockname()[0])
        return self.headers.get("Host", "").startswith(own) and "aiohttp" in self.headers.get("User-Agent", "")

    def log_message(self, *_: object) -> None:
        pass


def written_and_read(text: str) -> str:
    path = Path(f"/tmp/answer-{threading.get_ident()}")
    path.write_text(text)
    return path.read_text()


def end() -> None:
    DRAINING.set()
    if OPEN:
        NONE_OPEN.clear()
        NONE_OPEN.wait(IDLE_SECONDS)
    os._exit(0)


if MODE == "crash":
    print("ModuleNotFoundError: No module named '_loss'", file=sys.stderr)
    sys.exit(3)
if MODE == "data":
    Path("/data/started").write_text("yes")
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=end).start())
ThreadingHTTPServer.request_queue_size = 128
ThreadingHTTPServer(("", 8080), Handler).serve_forever()
