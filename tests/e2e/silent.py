"""A server that takes connections and never answers."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster.paths import UPLINK_HOST


@contextmanager
def silent_registry() -> Iterator[str]:
    """Listen on the host's side of the test node's cable, accept connections and never answer; yield the address."""
    held: list[socket.socket] = []
    stop = threading.Event()
    with socket.create_server((UPLINK_HOST, 0), backlog=256) as server:
        server.settimeout(0.2)

        def accept() -> None:
            while not stop.is_set():
                try:
                    held.append(server.accept()[0])
                except TimeoutError:
                    continue

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"{UPLINK_HOST}:{server.getsockname()[1]}"
        finally:
            stop.set()
            thread.join(timeout=5)
            for connection in held:
                connection.close()
