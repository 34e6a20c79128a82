"""A worker that tries what it may not: what to try stands behind the request."""

import os
import signal
import socket
from typing import Any, BinaryIO

from lockstep.images.limits import Limits
from lockstep.images.scan.worker.answer import serve


def work(asked: dict[str, Any], limits: Limits, stream: BinaryIO) -> bytes:
    act = stream.read().decode()
    if act == "variables":
        return repr(dict(os.environ)).encode()
    if act == "memory":
        return bytes(1 << 40)
    if act == "flood":
        return bytes(1_000_000)
    if act == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if act == "busy":
        while True:
            pass
    if act == "raised":
        raise RuntimeError("broken")
    return refused(act)


def refused(act: str) -> bytes:
    try:
        if act == "open":
            open("/etc/hostname").close()
        elif act == "socket":
            socket.socket().close()
        elif act == "fork":
            _fork()
        else:
            os.close(os.open("/dev/shm/lockstep-misuse", os.O_CREAT | os.O_WRONLY))
    except OSError:
        return b"refused"
    return b"done"


def _fork() -> None:
    # Root may fork beyond RLIMIT_NPROC; a program can be started by nobody, since its pipes are files.
    os.pipe()


if __name__ == "__main__":
    serve(work)
